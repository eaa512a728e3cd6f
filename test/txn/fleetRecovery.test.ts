import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, suite, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { shardId } from "../../src/base/brands.ts";
import { gid, gtrid } from "../../src/txn/gid.ts";
import { ShardControl } from "../../src/txn/shardControl.ts";
import { writeParticipants } from "../../src/txn/shardLog/decisionTable.ts";
import { FORGET_ABORTS } from "../../src/txn/shardLog/schema.ts";
import { startShards, type TestShards } from "../support/shards.ts";
import { shardConfig } from "./commitStage.ts";
import { FleetStage } from "./fleetStage.ts";

let shards: TestShards;
let stage: FleetStage;

const [EAST, NORTH] = [shardId("east"), shardId("north")];
const DEAD = { fleet: "f", coordinator: "dead", epoch: 7 };

/** A branch on shard 0 of transaction `seq` of an owner, decided on shard 1. */
async function leave(seq: number, owner = DEAD): Promise<string> {
  const transaction = gtrid({ ...owner, seq });
  const sql = `BEGIN; INSERT INTO t VALUES (${seq}); PREPARE TRANSACTION '${gid(transaction, EAST, NORTH)}'`;
  await stage.query(0, sql);
  return transaction;
}

/** What the anchor's transaction of such a one does: its own data and the decision. */
async function commitAnchor(transaction: string, seq: number, xid: string | null = null): Promise<void> {
  const participants = writeParticipants([
    { shard: EAST, gid: gid(transaction as never, EAST, NORTH), xid: xid as never, server: null },
  ]);
  const decide = `INSERT INTO pgxa.commit_decision VALUES ('${transaction}', 'commit', '${participants}')`;
  await stage.query(1, `BEGIN; INSERT INTO t VALUES (${seq}); ${decide}; COMMIT`);
}

const lease = (seconds: number, { coordinator, epoch } = DEAD): string =>
  `INSERT INTO pgxa.owner VALUES ('f', '${coordinator}', ${epoch}, clock_timestamp() + interval '${seconds} s')`;

suite("what a pgxa of the fleet left", () => {
  before(async () => {
    shards = await startShards(2);
  });
  after(() => shards.stop());
  beforeEach(async () => {
    stage = await FleetStage.open(shards);
  });
  afterEach(() => stage.close());

  test("is committed by any other if its decision stands, and rolled back if there is none", async () => {
    await commitAnchor(await leave(1), 1);
    await leave(2);
    await stage.join("other");
    await stage.rest(false);
    assert.equal(await stage.seen(1), 2);
    assert.equal(await stage.seen(2), 0);
  });

  test("cannot be committed by its owner any more once it is rolled back", async () => {
    const transaction = await leave(1);
    await stage.join("other");
    await stage.rest();
    await assert.rejects(commitAnchor(transaction, 1), { code: "23505", constraint: "decision_pkey" });
    assert.equal(await stage.seen(1), 0);
  });

  test("is waited for while the decision is being written: who resolves it takes what comes of it", async () => {
    for (const end of ["COMMIT", "ROLLBACK"]) {
      const seq = end === "COMMIT" ? 1 : 2;
      const transaction = await leave(seq);
      const anchor = await stage.shards[1]!.connect();
      await anchor.query(`BEGIN; INSERT INTO t VALUES (${seq})`);
      await anchor.query(`INSERT INTO pgxa.commit_decision VALUES ('${transaction}', 'commit', '[]')`);
      const member = await stage.join(`other${seq}`);
      await delay(1_500); // longer than an abort waits for the row at a time
      assert.equal((await stage.left()).prepared.length, 1, "nobody guesses");
      await anchor.query(end);
      await anchor.end();
      await stage.rest(false);
      assert.equal(await stage.seen(seq), end === "COMMIT" ? 2 : 0);
      await stage.leave(member);
    }
  });

  test("is left to an owner that lives, and settled once its lease is over", async () => {
    await stage.query(1, lease(3));
    await leave(1);
    const started = performance.now();
    await stage.join("other");
    await delay(1_000);
    assert.equal((await stage.left()).prepared.length, 1);
    await stage.rest();
    assert.ok(performance.now() - started > 2_000);
    assert.equal(await stage.seen(1), 0);
  });

  test("is applied although its owner lives, if that has not done it in the time that a commit may take", async () => {
    await stage.query(1, lease(60));
    await commitAnchor(await leave(1), 1);
    await stage.join("other", { commit_timeout: "500ms" });
    await stage.rest(false);
    assert.equal(await stage.seen(1), 2);
  });

  test("goes with its decision: rows of a dead owner are removed by evidence, and its epoch is fenced before", async () => {
    const transaction = gtrid({ ...DEAD, seq: 1 });
    await commitAnchor(transaction, 1); // its participant wrote nothing
    await stage.query(1, "UPDATE pgxa.decision SET decided_at = decided_at - interval '1 minute'");
    await stage.join("other");
    await stage.rest();
    const [owner] = await stage.query(1, "SELECT fenced FROM pgxa.owner WHERE coordinator = 'dead'");
    assert.deepEqual(owner, { fenced: true });
  });

  test("stays if it is not proven that a shard has applied it", async () => {
    const transaction = gtrid({ ...DEAD, seq: 1 });
    await commitAnchor(transaction, 1, "3"); // an id, of which nobody says on which server
    await stage.query(1, "UPDATE pgxa.decision SET decided_at = decided_at - interval '1 minute'");
    await stage.join("other");
    await delay(1_000);
    assert.equal((await stage.left()).decisions.length, 1);
  });

  test("an abort is forgotten only when no transaction is open that could run into it", async () => {
    const control = new ShardControl(shardConfig(stage.shards[1]!));
    const late = await stage.shards[1]!.connect();
    await late.query("BEGIN");
    await stage.query(1, "INSERT INTO pgxa.decision VALUES ('f:dead:7:1', 'abort', '[]')");
    const rows = async () => (await stage.left()).decisions;
    await control.ask(FORGET_ABORTS, ["f:", 0]);
    assert.deepEqual(await rows(), ["abort f:dead:7:1"]);
    await late.query("ROLLBACK");
    await late.query("BEGIN");
    await control.ask(FORGET_ABORTS, ["f:", 0]);
    assert.deepEqual(await rows(), []);
    await late.end();
    await control.close();
  });

  test("an abort is forgotten by whoever runs, after a while", async () => {
    await stage.query(
      1,
      "INSERT INTO pgxa.decision VALUES ('f:dead:7:1', 'abort', '[]'), ('f:dead:7:2', 'abort', '[]')",
    );
    const old =
      "UPDATE pgxa.decision SET decided_at = decided_at - interval '11 minutes' WHERE gtrid = 'f:dead:7:1'";
    await stage.query(1, old);
    await stage.join("other");
    const rows = async () => (await stage.left()).decisions;
    const untilMs = performance.now() + 20_000;
    while ((await rows()).length > 1 && performance.now() < untilMs) await delay(20);
    assert.deepEqual(await rows(), ["abort f:dead:7:2"]);
  });

  test("an owner that was fenced goes on under another epoch, and takes no missing row for an abort", async () => {
    const one = await stage.join("one");
    const epoch = Number((await stage.query(1, "SELECT epoch FROM pgxa.owner"))[0]!["epoch"]);
    const [other, anchor] = await stage.writers(one, 1);
    anchor.losses.set("COMMIT", "after");
    const runBehind = anchor.runBehind.bind(anchor);
    // As if it had been stopped after its COMMIT: the others have finished it, fenced its epoch and removed the row.
    anchor.runBehind = async (...batch) => {
      const reply = await runBehind(...batch);
      await stage.query(1, "UPDATE pgxa.owner SET fenced = true; DELETE FROM pgxa.decision");
      return reply;
    };
    assert.equal((await stage.commit(one, other, anchor)).kind, "unknown");
    const untilMs = performance.now() + 10_000;
    const epochs = async () => (await stage.query(1, "SELECT epoch FROM pgxa.owner WHERE NOT fenced")).length;
    while ((await epochs()) === 0 && performance.now() < untilMs) await delay(20);
    const later = await stage.query(1, "SELECT epoch FROM pgxa.owner WHERE NOT fenced");
    assert.ok(Number(later[0]!["epoch"]) > epoch);
    await stage.query(0, "DELETE FROM t");
    await stage.query(1, "DELETE FROM t");
    await stage.rest(false);
    assert.deepEqual(await stage.commit(one, ...(await stage.writers(one, 9))), { kind: "committed" });
  });

  test("is shown, and waits, while its anchor is down", async () => {
    await commitAnchor(await leave(1), 1);
    const transaction = gtrid({ ...DEAD, seq: 2 });
    await stage.query(
      1,
      `BEGIN; INSERT INTO t VALUES (2); PREPARE TRANSACTION '${gid(transaction, NORTH, EAST)}'`,
    );
    await stage.shards[1]!.kill("SIGKILL");
    const member = await stage.join("other");
    assert.match(JSON.stringify(member.commits.resolver.inDoubt), /north/);
    await stage.shards[1]!.restart();
    await stage.rest(false);
    assert.equal(await stage.seen(1), 2);
    assert.equal(await stage.seen(2), 0);
  });
});
