/**
 * Shards that wait for a synchronous standby which is not there: PREPARE, COMMIT PREPARED and COMMIT wait for ever, and
 * no setting of a timeout bounds that. pgxa's own timers must, and what the shard has done by then must come out right.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, suite, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { Fault } from "../../src/base/fault.ts";
import { wantNoStandby, wantStandby } from "../support/absentStandby.ts";
import { startShards, type TestShards } from "../support/shards.ts";
import { CommitStage } from "./commitStage.ts";
import { FleetStage } from "./fleetStage.ts";

const TIMEOUT_MS = 500;
/** A transaction that begins with this asks for no standby itself; what is done after its end does. */
const LOCAL = "BEGIN; SET LOCAL synchronous_commit = local";

let shards: TestShards;

suite("a shard that waits for a standby which is not there", { timeout: 120_000 }, () => {
  const timeouts = { prepareTimeoutMs: TIMEOUT_MS, commitTimeoutMs: TIMEOUT_MS };
  let stage: CommitStage | FleetStage;

  before(async () => {
    shards = await startShards(2);
  });
  after(() => shards.stop());
  afterEach(async () => {
    await wantNoStandby(shards.shards[1]!);
    await stage.close();
  });

  test("at PREPARE: the vote is unknown, all is rolled back, and nothing stays prepared", async () => {
    const one = await CommitStage.open(shards, timeouts);
    stage = one;
    await wantStandby(shards.shards[1]!);
    const outcome = await one.commit(...(await one.writers(1)));
    assert.ok(outcome.kind === "aborted" && outcome.error instanceof Fault);
    assert.equal(outcome.error.id, "commit.vote_unknown");
    await wantNoStandby(shards.shards[1]!);
    await one.rest();
    assert.equal(await one.seen(1), 0);
  });

  test("at COMMIT PREPARED: the client hears COMMIT in time, with a NOTICE, and it is applied in the end", async () => {
    const one = await CommitStage.open(shards, timeouts);
    stage = one;
    await wantStandby(shards.shards[1]!);
    const sql = "INSERT INTO t VALUES (2)";
    const outcome = await one.commit(await one.branch(0, sql), await one.branch(1, sql, LOCAL));
    assert.ok(outcome.kind === "committed");
    assert.match(outcome.notice?.detail ?? "", /Not confirmed by shard "north"/);
    assert.equal(one.slots.usage().find(({ shard }) => shard === "north")?.left, 1);
    await wantNoStandby(shards.shards[1]!);
    await one.rest();
    assert.equal(await one.seen(2), 2);
  });

  test("at PREPARE and at COMMIT PREPARED: a wait that somebody cancels is a yes, its WARNING notwithstanding", async () => {
    const one = await CommitStage.open(shards);
    stage = one;
    await wantStandby(shards.shards[1]!);
    const control = await shards.shards[1]!.connect();
    const outcome = one.commit(...(await one.writers(5)));
    for (const verb of ["PREPARE TRANSACTION", "COMMIT PREPARED"]) {
      const cancel = `SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE '${verb}%'`;
      while ((await control.query(cancel)).rowCount === 0) await delay(5);
    }
    assert.deepEqual(await outcome, { kind: "committed" });
    assert.equal(await one.seen(5), 2);
    await control.end();
  });

  test("at a lone COMMIT: the shard's record has it, and the client is warned that a standby may not", async () => {
    const one = await CommitStage.open(shards, timeouts);
    stage = one;
    await wantStandby(shards.shards[1]!);
    const outcome = await one.commit(await one.branch(1, "INSERT INTO t VALUES (3)"));
    assert.ok(outcome.kind === "committed");
    assert.equal(outcome.notice?.severity, "WARNING");
    assert.equal(await one.seen(3), 1);
  });

  test("at an anchor's COMMIT: its row may be lost with the shard, so it is unknown until there is a standby", async () => {
    const fleet = await FleetStage.open(shards);
    stage = fleet;
    const member = await fleet.join("a", { prepare_timeout: "500ms", commit_timeout: "500ms" });
    await wantStandby(shards.shards[1]!);
    const outcome = await fleet.commit(member, ...(await fleet.writers(member, 4)));
    assert.equal(outcome.kind === "unknown" && outcome.fault.sqlstate, "08007");
    assert.equal((await fleet.left()).prepared.length, 1);
    await wantNoStandby(shards.shards[1]!);
    await fleet.rest();
    assert.equal(await fleet.seen(4), 2);
  });
});
