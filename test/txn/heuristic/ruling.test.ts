import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Knowledge,
  type Occupation,
  RULING_TABLE,
  VERDICT_TABLE,
} from "../../../src/txn/heuristic/rulingTable.ts";

const OCCUPATIONS: readonly Occupation[] = ["running", "alive", "nobody"];
const KNOWLEDGE: readonly Knowledge[] = ["commit", "abort", "absent", "failed", "unknowable"];
const OUTCOMES = ["commit", "abort"] as const;

test("an operator is never let to contradict what is decided, nor to touch what somebody has in hand", () => {
  for (const occupation of OCCUPATIONS) {
    for (const knowledge of KNOWLEDGE) {
      for (const outcome of OUTCOMES) {
        const ruling = RULING_TABLE[occupation][knowledge][outcome];
        const isRefused = ruling.startsWith("refuse");
        if (occupation !== "nobody" || knowledge === "failed") assert.ok(isRefused);
        else if (knowledge === "unknowable") assert.equal(ruling, "heuristic");
        else assert.equal(isRefused, (knowledge === "commit") !== (outcome === "commit"));
      }
    }
  }
});

test("a heuristic outcome is confirmed only by what proves it", () => {
  assert.deepEqual(VERDICT_TABLE, {
    commit: { commit: "confirmed", abort: "contradicted", absent: "hazard", unknowable: "unproven" },
    abort: { commit: "contradicted", abort: "confirmed", absent: "confirmed", unknowable: "unproven" },
  });
});
