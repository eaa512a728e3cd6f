/** The only COMMIT of a transaction whose answer does not come, over a real shard. */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, suite, test } from "node:test";
import { Fault } from "../../src/base/fault.ts";
import { fullXid } from "../../src/txn/lostCommit.ts";
import { startShards, type TestShards } from "../support/shards.ts";
import { CommitStage } from "./commitStage.ts";

let shards: TestShards;
let stage: CommitStage;

const SLOW = `
  CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END';
  CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()`;

for (const [xid, next, full] of [
  ["700", "701", "700"],
  ["700", "699", "700"],
  ["4294967290", "4294967301", "4294967290"],
  ["5", "4294967310", "4294967301"],
  ["3", "4294967295", "4294967299"],
  ["2147483700", "8589934600", "6442450996"],
]) {
  test(`id ${xid} of 32 bits, with ${next} to be given next, is ${full}`, () => {
    assert.equal(fullXid(xid!, next!), full);
  });
}

suite("a lone COMMIT that is not answered", () => {
  before(async () => {
    shards = await startShards(1);
  });
  after(() => shards.stop());
  beforeEach(async () => {
    stage = await CommitStage.open(shards, { commitTimeoutMs: 300 });
  });
  afterEach(() => stage.close());

  test("is ended while it is still at work, and then surely rolled back", async () => {
    await stage.query(0, SLOW);
    const writer = await stage.branch(0, "INSERT INTO t VALUES (1)");
    const outcome = await stage.commit(writer);
    assert.ok(outcome.kind === "aborted" && outcome.error instanceof Fault);
    assert.equal(outcome.error.id, "commit.branch_lost");
    assert.deepEqual(await stage.query(0, `SELECT FROM pg_stat_activity WHERE pid = ${writer.pid}`), []);
    assert.equal(await stage.seen(1), 0);
  });

  test("is unknown if its backend took the transaction's id along", async () => {
    const writer = await stage.branch(0, "INSERT INTO t VALUES (1)");
    writer.losses.set("COMMIT", "after");
    const outcome = await stage.commit(writer);
    assert.equal(outcome.kind === "unknown" && outcome.fault.sqlstate, "08007");
    assert.equal(await stage.seen(1), 1);
  });

  test("is unknown if the shard died with it", async () => {
    await stage.query(0, SLOW);
    const committing = stage.commit(await stage.branch(0, "INSERT INTO t VALUES (1)"));
    await shards.shards[0]!.kill("SIGKILL");
    const outcome = await committing;
    assert.equal(outcome.kind === "unknown" && outcome.fault.sqlstate, "08007");
    await shards.shards[0]!.restart();
  });

  test("is not looked up on another server than the one that had it", async () => {
    await stage.query(0, SLOW);
    const identity = stage.controls[0]!.server!;
    for (const server of ["another/00000001", identity.replace(/.$/, "2")]) {
      Object.defineProperty(stage.controls[0]!, "server", { value: server, configurable: true });
      const outcome = await stage.commit(await stage.branch(0, "INSERT INTO t VALUES (1)"));
      assert.equal(outcome.kind === "unknown" && outcome.fault.sqlstate, "08007");
    }
  });
});
