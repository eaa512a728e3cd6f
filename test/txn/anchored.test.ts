import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Fault } from "../../src/base/fault.ts";
import type { ControlReply } from "../../src/pool/controlReply.ts";
import { chooseAnchor } from "../../src/txn/shardLog/anchor.ts";
import {
  type Age,
  ANCHORED_TABLE,
  type AnchoredOwner,
  type Standing,
} from "../../src/txn/shardLog/anchoredTable.ts";
import { anchorReply } from "../../src/txn/vote.ts";

const OWNERS: readonly AnchoredOwner[] = ["self", "alive", "dead"];
const AGES: readonly Age[] = ["young", "old"];
const STANDINGS: readonly Standing[] = ["commit", "abort", "absent"];

test("the table is total, applies what stands and nothing else, and decides only where the owner is gone", () => {
  for (const owner of OWNERS) {
    for (const age of AGES) {
      for (const standing of STANDINGS) {
        const action = ANCHORED_TABLE[owner][age][standing];
        if (action === "commitPrepared") assert.equal(standing, "commit");
        if (action === "rollbackPrepared") assert.equal(standing, "abort");
        if (action === "decide") assert.ok(standing === "absent" && owner !== "alive");
        if (owner === "alive" && age === "young") assert.equal(action, "leave");
        if (owner === "self") assert.ok(action !== "leave" && action !== "wait");
      }
    }
  }
});

test("the anchor is the branch that was written to last, or the last of those that are alike", () => {
  const of = (...writes: number[]) => chooseAnchor(writes.map((lastWrite) => ({ lastWrite })));
  assert.equal(of(3, 1), 0);
  assert.equal(of(1, 3, 2), 1);
  assert.equal(of(0, 0, 0), 2);
  fc.assert(
    fc.property(fc.array(fc.nat(), { minLength: 2 }), (writes) => {
      assert.equal(writes[of(...writes)], Math.max(...writes));
    }),
  );
});

const complete = (...tags: string[]): ControlReply => ({ kind: "complete", tags, rows: [[""]], status: "I" });
const error = (sqlstate: string, rest: readonly (readonly [string, string])[] = []): ControlReply => ({
  kind: "error",
  status: "I",
  error: { severity: "ERROR", sqlstate, message: "no", rest: new Map(rest) },
});
const DECISION = [
  ["s", "pgxa"],
  ["t", "decision"],
  ["n", "decision_pkey"],
] as const;

test("an anchor has committed only if both its tags are what they are when all is well", () => {
  assert.equal(anchorReply(complete("INSERT 0 1", "COMMIT")).kind, "committed");
  assert.equal(anchorReply(complete("INSERT 0 1", "ROLLBACK")).kind, "aborted");
  for (const tags of [["COMMIT"], ["INSERT 0 0", "COMMIT"], ["INSERT 0 1", "COMMIT", "COMMIT"]])
    assert.equal(anchorReply(complete(...tags)).kind, "unknown", tags.join());
});

test("an anchor's error is a no; one with which the connection ends, and no answer at all, are unknown", () => {
  for (const sqlstate of ["23505", "40001", "53100", "57014"])
    assert.equal(anchorReply(error(sqlstate)).kind, "aborted", sqlstate);
  for (const sqlstate of ["57P01", "57P02", "57P03", "08006"])
    assert.equal(anchorReply(error(sqlstate)).kind, "unknown", sqlstate);
  assert.equal(anchorReply({ kind: "lost", reason: "gone" }).kind, "unknown");
});

test("a row that is there already means that others have settled it, and only that row does", () => {
  const faultOf = (reply: ControlReply) => {
    const read = anchorReply(reply);
    return read.kind === "aborted" && read.error instanceof Fault ? read.error.id : null;
  };
  assert.equal(faultOf(error("23505", DECISION)), "commit.taken_over");
  assert.equal(faultOf(error("23505", [["s", "public"], ...DECISION.slice(1)])), null);
  assert.equal(faultOf(error("40001", DECISION)), null);
});
