import assert from "node:assert/strict";
import { test } from "node:test";
import type { ControlReply } from "../../src/pool/controlReply.ts";
import { commitReply, prepareVote } from "../../src/txn/vote.ts";

const complete = (
  tags: readonly string[],
  rows: readonly (readonly (string | null)[])[] = [],
): ControlReply => ({
  kind: "complete",
  tags,
  rows,
  status: "I",
});
const refused = (sqlstate: string): ControlReply => ({
  kind: "error",
  error: { severity: "ERROR", sqlstate, message: "no" },
  status: "I",
});
const LOST: ControlReply = { kind: "lost", reason: "no answer" };
const ENDINGS = ["57P01", "57P02", "57P03", "08000", "08003", "08006", "08P01"];
const REFUSALS = ["40001", "40P01", "23503", "23505", "0A000", "53200", "57014", "42710", "25P02", "55000"];

const prepared = (tags: readonly string[], xid: string | null = "77") =>
  complete(["SELECT 1", ...tags], [[xid]]);

test("a vote is yes only if the tag is PREPARE TRANSACTION and nothing else", () => {
  assert.deepEqual(prepareVote(prepared(["PREPARE TRANSACTION"])), { vote: "yes", xid: "77" });
  assert.deepEqual(prepareVote(prepared(["PREPARE TRANSACTION"], null)), { vote: "yes", xid: null });
  for (const tags of [["ROLLBACK"], [], ["PREPARE TRANSACTION", "SELECT 1"], ["PREPARE"]]) {
    assert.equal(prepareVote(prepared(tags)).vote, "no", tags.join());
  }
});

test("a transaction that had failed before is a no with the error that told so", () => {
  const vote = prepareVote(refused("25P02"));
  assert.deepEqual(vote, { vote: "no", error: { severity: "ERROR", sqlstate: "25P02", message: "no" } });
});

test("a shard's refusal is a no, in its own words", () => {
  for (const sqlstate of REFUSALS) {
    const vote = prepareVote(refused(sqlstate));
    assert.deepEqual(vote, { vote: "no", error: { severity: "ERROR", sqlstate, message: "no" } });
  }
});

test("an error with which the connection ends, and no answer at all, are unknown and never a no", () => {
  for (const reply of [LOST, ...ENDINGS.map(refused)]) {
    assert.equal(prepareVote(reply).vote, "unknown");
    assert.equal(commitReply(reply).kind, "unknown");
  }
});

test("COMMIT counts as one only by its tag", () => {
  assert.deepEqual(commitReply(complete(["COMMIT"])), { kind: "committed" });
  assert.equal(commitReply(complete(["ROLLBACK"])).kind, "aborted");
  assert.equal(commitReply(complete([])).kind, "aborted");
  for (const sqlstate of REFUSALS) assert.equal(commitReply(refused(sqlstate)).kind, "aborted");
});
