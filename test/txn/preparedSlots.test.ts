import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type ShardId, shardId } from "../../src/base/brands.ts";
import type { Fault } from "../../src/base/fault.ts";
import { gtrid } from "../../src/txn/gid.ts";
import { PreparedSlots } from "../../src/txn/preparedSlots.ts";
import { ManualEnvironment, settle } from "./manualEnvironment.ts";

const A = shardId("a");
const B = shardId("b");
const C = shardId("c");
const TIMEOUT_MS = 1_000;
const ONE = gtrid({ fleet: "f", coordinator: "c", epoch: 1, seq: 1 });

class Stage {
  readonly environment = new ManualEnvironment();
  readonly short: ShardId[] = [];
  readonly slots = new PreparedSlots({
    clock: this.environment.clock,
    onShort: (shard) => void this.short.push(shard),
  });
  readonly said: string[] = [];

  constructor(max: number, ...shards: readonly ShardId[]) {
    for (const shard of shards) this.slots.learn(shard, `server of ${shard}`, max, 0);
  }

  /** Asks in the name of `who`, and notes what comes of it. */
  ask(who: string, shards: readonly ShardId[], except = -1): void {
    this.slots.wait(shards, except, TIMEOUT_MS).then((refusal: Fault | null) => {
      this.said.push(refusal === null ? who : `${who} ${refusal.sqlstate}`);
    });
  }

  async heard(): Promise<readonly string[]> {
    await settle();
    return this.said.splice(0);
  }

  used(shard: ShardId): number {
    return this.slots.usage().find((one) => one.shard === shard)?.used ?? 0;
  }
}

test("slots are taken on all shards or on none", () => {
  const { slots } = new Stage(1, A, B, C);
  assert.equal(slots.take([B], -1), true);
  assert.equal(slots.take([A, B, C], -1), false);
  assert.equal(slots.take([A, C], -1), true);
});

test("an anchor needs no slot", () => {
  const { slots } = new Stage(1, A, B);
  assert.equal(slots.take([B], -1), true);
  assert.equal(slots.firstFull([A, B]), 1);
  assert.equal(slots.take([A, B], 1), true);
});

test("before a shard has answered nothing is withheld, and what was taken counts when it has", () => {
  const { slots } = new Stage(0);
  for (let i = 0; i < 3; i += 1) assert.equal(slots.take([A], -1), true);
  slots.learn(A, "1/1", 3, 0);
  assert.equal(slots.take([A], -1), false);
  slots.release([A]);
  assert.equal(slots.take([A], -1), true);
});

test("what others have prepared is not there to be taken", () => {
  const { slots } = new Stage(0);
  slots.learn(A, "1/1", 3, 2);
  assert.equal(slots.take([A], -1), true);
  assert.equal(slots.take([A], -1), false);
  slots.learn(A, "1/1", 3, 1);
  assert.equal(slots.take([A], -1), true);
});

test("shards that are databases of one server share its slots", () => {
  const { slots } = new Stage(0);
  assert.equal(slots.take([A, B], -1), true);
  slots.learn(A, "1/1", 3, 0);
  slots.learn(B, "1/1", 3, 0);
  assert.equal(slots.take([A, B], -1), false);
  assert.equal(slots.take([B], -1), true);
  slots.learn(B, "1/2", 3, 0); // failed over to a server of its own
  assert.equal(slots.take([A, A], -1), true);
  assert.equal(slots.take([A], -1), false);
  assert.equal(slots.take([B], -1), true);
});

test("who comes first is served first, and who wants other shards passes by", async () => {
  const stage = new Stage(1, A, B, C);
  stage.slots.take([A], -1);
  stage.ask("first", [A, B]);
  stage.ask("second", [A]);
  stage.ask("other", [B, C]);
  assert.deepEqual(await stage.heard(), ["other"]);
  stage.slots.release([B, C]);
  stage.slots.release([A]);
  assert.deepEqual(await stage.heard(), ["first"]);
  assert.equal(stage.slots.take([A], -1), false);
  stage.slots.release([A, B]);
  assert.deepEqual(await stage.heard(), ["second"]);
});

test("many slots of one server are not taken away by those who want few", async () => {
  const stage = new Stage(0);
  for (const shard of [A, B]) stage.slots.learn(shard, "1/1", 2, 0);
  stage.slots.take([A], -1);
  stage.ask("two", [A, B]);
  stage.ask("one", [A]);
  assert.deepEqual(await stage.heard(), []);
  stage.slots.release([A]);
  assert.deepEqual(await stage.heard(), ["two"]);
});

test("a wait ends with 53200 that names the shard and its limit", async () => {
  const stage = new Stage(1, A, B);
  stage.slots.take([B], -1);
  const waiting = stage.slots.wait([A, B], -1, TIMEOUT_MS);
  await stage.environment.pass(TIMEOUT_MS);
  const refusal = await waiting;
  assert.equal(refusal?.sqlstate, "53200");
  assert.match(refusal?.detail ?? "", /Shard "b" has max_prepared_transactions = 1/);
  assert.match(refusal?.hint ?? "", /max_prepared_transactions/);
  assert.equal(stage.used(A), 0);
  assert.equal(stage.environment.nextMs, null);
});

test("more than a server can ever give is refused at once", async () => {
  const stage = new Stage(0);
  for (const shard of [A, B]) stage.slots.learn(shard, "1/1", 1, 0);
  stage.ask("two", [A, B]);
  assert.deepEqual(await stage.heard(), ["two 53200"]);
  stage.ask("anchored", [A, B], 1);
  assert.deepEqual(await stage.heard(), ["anchored"]);
});

test("what is in doubt keeps its slot until it is known to be gone, and gives it back once", async () => {
  const stage = new Stage(1, A);
  stage.slots.take([A], -1);
  stage.slots.leave(A, ONE);
  assert.deepEqual(stage.slots.leftOn(A), [ONE]);
  stage.ask("next", [A]);
  assert.deepEqual(await stage.heard(), []);
  stage.slots.noteGone(A, ONE);
  assert.deepEqual(await stage.heard(), ["next"]);
  stage.slots.noteGone(A, ONE);
  assert.equal(stage.used(A), 1);
});

test("while somebody waits the shard that is short is counted again and again, and not afterwards", async () => {
  const stage = new Stage(1, A, B);
  stage.slots.learn(A, "1/1", 1, 1);
  stage.ask("one", [A, B]);
  await stage.environment.pass(600);
  assert.deepEqual(stage.short, [A, A]);
  stage.slots.learn(A, "1/1", 1, 0);
  assert.deepEqual(await stage.heard(), ["one"]);
  assert.equal(stage.environment.nextMs, null);
});

test("never more are taken than there are, nobody waits for what is free, and all is given back", async () => {
  const shards = [A, B, C];
  const wish = fc.subarray(shards, { minLength: 1 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 3, maxLength: 3 }),
      fc.array(fc.record({ wish, ends: fc.nat(20) }), { maxLength: 30 }),
      async (maxima, steps) => {
        const stage = new Stage(0);
        for (const [i, shard] of shards.entries()) stage.slots.learn(shard, `${i}`, maxima[i]!, 0);
        const holding: (readonly ShardId[])[] = [];
        const waiting = new Set<readonly ShardId[]>();
        const check = (): void => {
          for (const [i, shard] of shards.entries()) {
            const used = holding.filter((held) => held.includes(shard)).length;
            assert.equal(stage.used(shard), used);
            assert.ok(used <= maxima[i]!);
          }
          const [head] = waiting;
          const isShort = (shard: ShardId, i: number) =>
            stage.used(shard) === maxima[i] && head!.includes(shard);
          assert.ok(head === undefined || shards.some(isShort), "the first in turn waits for something");
        };
        for (const { wish: wanted, ends } of steps) {
          const mine = [...wanted];
          waiting.add(mine);
          stage.slots.wait(mine, -1, TIMEOUT_MS).then(() => {
            waiting.delete(mine);
            holding.push(mine);
          });
          await settle();
          check();
          const [ended] = ends < holding.length ? holding.splice(ends, 1) : [];
          if (ended !== undefined) stage.slots.release(ended);
          await settle();
          check();
        }
        while (holding.length > 0) {
          stage.slots.release(holding.pop()!);
          await settle();
          check();
        }
        assert.equal(waiting.size, 0);
      },
    ),
    { numRuns: 100 },
  );
});
