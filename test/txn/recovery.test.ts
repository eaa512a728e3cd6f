import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Action,
  type Activity,
  actionFor,
  EVIDENCE_TABLE,
  type Owner,
  RECOVERY_TABLE,
  type Sighting,
  type Verdict,
} from "../../src/txn/recovery.ts";

const OWNERS: readonly Owner[] = ["ours", "fleet", "foreign"];
const ACTIVITIES: readonly Activity[] = ["running", "idle"];
const VERDICTS: readonly Verdict[] = ["commit", "abort", "absent", "unknowable"];
const SIGHTINGS: readonly Sighting[] = ["twice", "once"];

/** Said again in words that have nothing of the table's form. */
function expected(owner: Owner, activity: Activity, verdict: Verdict, sighting: Sighting): Action {
  if (owner !== "ours" || activity === "running" || sighting === "once") return "leave";
  if (verdict === "commit") return "commitPrepared";
  return verdict === "unknowable" ? "report" : "rollbackPrepared";
}

for (const owner of OWNERS) {
  for (const activity of ACTIVITIES) {
    for (const verdict of VERDICTS) {
      for (const sighting of SIGHTINGS) {
        const action = expected(owner, activity, verdict, sighting);
        test(`${owner}, ${activity}, decision ${verdict}, seen ${sighting}: ${action}`, () => {
          assert.equal(actionFor({ owner, activity, verdict, sighting }), action);
        });
      }
    }
  }
}

test("the recovery table is total", () => {
  assert.deepEqual(Object.keys(RECOVERY_TABLE).sort(), [...OWNERS].sort());
  for (const rows of Object.values(RECOVERY_TABLE)) {
    assert.deepEqual(Object.keys(rows).sort(), [...ACTIVITIES].sort());
    for (const cells of Object.values(rows))
      assert.deepEqual(Object.keys(cells).sort(), [...VERDICTS].sort());
  }
});

test("a branch that is missing counts as applied only where the shard itself says so", () => {
  assert.deepEqual(EVIDENCE_TABLE, {
    committed: "done",
    "nothing written": "done",
    "in progress": "wait",
    aborted: "lost",
    forgotten: "lost",
    "other server": "lost",
  });
});
