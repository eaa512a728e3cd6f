import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Obstacle } from "../../src/routing/prepareObstacle.ts";
import { unpreparable } from "../../src/txn/obstacles.ts";
import { chooseAnchor } from "../../src/txn/shardLog/anchor.ts";
import { Transaction } from "../../src/txn/transaction.ts";

const TEMPORARY: Obstacle = { kind: "temporary object", done: "made the temporary object t" };
const NOTIFY: Obstacle = { kind: "notification", done: "executed NOTIFY c" };
const cursor = (name: string): Obstacle => ({ kind: "hold cursor", done: `declared ${name}`, cursor: name });

test("a return to a savepoint undoes cursors and notifications noted since then, and never the use of temporary objects", () => {
  const transaction = new Transaction("", false);
  transaction.noteObstacle(0, cursor("kept"));
  transaction.savepoint("a");
  transaction.noteObstacle(1, NOTIFY);
  transaction.noteObstacle(2, TEMPORARY);
  transaction.rollbackTo("a");
  assert.equal(transaction.obstacles?.on(0)?.kind, "hold cursor");
  assert.equal(transaction.obstacles?.on(1), null);
  assert.equal(transaction.obstacles?.on(2), TEMPORARY);
});

test("what was noted in a released savepoint is undone with the one around it", () => {
  const transaction = new Transaction("", false);
  transaction.savepoint("outer");
  transaction.savepoint("inner");
  transaction.noteObstacle(0, NOTIFY);
  transaction.addLocal("SET LOCAL a.b = 1");
  transaction.release("inner");
  transaction.savepoint("later");
  transaction.rollbackTo("later");
  assert.equal(transaction.obstacles?.on(0), NOTIFY);
  transaction.rollbackTo("outer");
  assert.equal(transaction.obstacles?.on(0), null);
});

test("an obstacle that is met again outside a savepoint outlives a return to it", () => {
  const transaction = new Transaction("", false);
  transaction.savepoint("a");
  transaction.noteObstacle(0, NOTIFY);
  transaction.release("a");
  transaction.savepoint("b");
  transaction.noteObstacle(0, NOTIFY);
  transaction.rollbackTo("b");
  assert.equal(transaction.obstacles?.on(0), NOTIFY);
});

test("a cursor that is closed is none any more, on its shard", () => {
  const transaction = new Transaction("", false);
  for (const shard of [0, 1]) for (const name of ["c", "d"]) transaction.noteObstacle(shard, cursor(name));
  transaction.obstacles?.close(0, "c");
  assert.equal(transaction.obstacles?.on(0)?.cursor, "d");
  transaction.obstacles?.close(0, null);
  assert.equal(transaction.obstacles?.on(0), null);
  assert.equal(transaction.obstacles?.on(1)?.cursor, "c");
});

const branches = fc.array(fc.record({ isWriter: fc.boolean(), isObstructed: fc.boolean() }), {
  maxLength: 5,
});

test("a commit is impossible only where two or more wrote, and then if more cannot be prepared than are spared it", () => {
  fc.assert(
    fc.property(branches, (all) => {
      const writers = all.filter(({ isWriter }) => isWriter);
      const bad = writers.filter(({ isObstructed }) => isObstructed).length;
      assert.equal(unpreparable(all, 0), writers.length < 2 ? 0 : bad);
      assert.equal(unpreparable(all, 1), writers.length < 2 ? 0 : Math.max(0, bad - 1));
    }),
  );
});

test("the anchor is a branch that cannot be prepared, if there is one", () => {
  assert.equal(chooseAnchor([{ lastWrite: 1, isObstructed: true }, { lastWrite: 3 }, { lastWrite: 2 }]), 0);
  assert.equal(chooseAnchor([{ lastWrite: 3 }, { lastWrite: 1, isObstructed: true }]), 1);
  const both = [1, 3, 2].map((lastWrite) => ({ lastWrite, isObstructed: true }));
  assert.equal(chooseAnchor([...both, { lastWrite: 9 }]), 1);
});
