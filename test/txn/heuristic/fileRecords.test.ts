import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { gtridOf } from "../../../src/base/brands.ts";
import { FileRecords } from "../../../src/txn/heuristic/fileRecords.ts";
import { type HeuristicRecord, readRecord } from "../../../src/txn/heuristic/heuristicRecord.ts";

function directory(t: TestContext): string {
  const made = mkdtempSync(join(tmpdir(), "pgxa-heuristics-"));
  t.after(() => rmSync(made, { recursive: true }));
  return join(made, "decisions");
}

const recordOf = (seq: number, outcome: HeuristicRecord["outcome"] = "commit"): HeuristicRecord => ({
  gtrid: gtridOf(`f:c:1:${seq}`),
  outcome,
  by: "ann",
  reason: "",
  atMs: seq,
  anchor: null,
  verdict: "unproven",
});

test("of two who write at once the first one stands for both", async (t) => {
  const place = directory(t);
  for (let seq = 1; seq <= 20; seq += 1) {
    const [one, two] = await Promise.all([
      new FileRecords(place).add(recordOf(seq, "commit")),
      new FileRecords(place).add(recordOf(seq, "abort")),
    ]);
    assert.equal(one.outcome, two.outcome);
    assert.equal((await new FileRecords(place).add(recordOf(seq, "abort"))).outcome, one.outcome);
  }
  assert.equal((await new FileRecords(place).list()).length, 20);
});

test("a line that a crash has torn is passed over, and what comes behind it is read", async (t) => {
  const place = directory(t);
  const records = new FileRecords(place);
  assert.deepEqual(await records.list(), []);
  await records.add(recordOf(1));
  appendFileSync(join(place, "heuristics.jsonl"), '{"gtrid":"f:c:1:2","outc');
  await records.add(recordOf(3, "abort"));
  assert.deepEqual(await records.list(), [recordOf(1), recordOf(3, "abort")]);
});

test("what becomes known later is kept with it", async (t) => {
  const records = new FileRecords(directory(t));
  await records.add(recordOf(1));
  await records.note(recordOf(1), "contradicted");
  assert.deepEqual(await records.list(), [{ ...recordOf(1), verdict: "contradicted" }]);
});

test("what is no record is none", () => {
  for (const value of [null, 1, {}, { gtrid: "g" }, { gtrid: "g", outcome: "perhaps" }])
    assert.equal(readRecord(value), null);
  const least = readRecord({ gtrid: "g", outcome: "abort", verdict: "?", anchor: 3 });
  assert.deepEqual(least, {
    gtrid: "g",
    outcome: "abort",
    by: "",
    reason: "",
    atMs: 0,
    anchor: null,
    verdict: "unproven",
  });
});
