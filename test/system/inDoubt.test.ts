/** Transactions in doubt whose decision was in files that are lost: what an operator sees, and what they can do. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { lastEpoch } from "../support/logEpoch.ts";
import { freePort, InDoubtStage, until } from "./inDoubtStage.ts";

let rig: InDoubtStage;

const heuristics = () =>
  rig.ask<{ gtrid: string; outcome: string; by: string; reason: string; verdict: string }>("SHOW HEURISTICS");

describe("a transaction in doubt whose decision log is lost", () => {
  before(async () => {
    rig = await InDoubtStage.open({});
  });
  after(() => rig.stage.stop());
  afterEach(async () => {
    await rig.stage.closeProxy();
    for (const [i] of rig.stage.shards.entries())
      for (const row of await rig.sql(i, "SELECT gid FROM pg_prepared_xacts"))
        await rig.sql(i, `ROLLBACK PREPARED '${row["gid"]}'`);
    rig.loseLog();
  });

  test("is shown with its age, its locks, who waits for it, and why nobody can end it", async () => {
    const transaction = rig.name();
    const gid = await rig.leave(transaction, 0);
    await rig.sql(0, "BEGIN; CREATE TABLE other (a int); PREPARE TRANSACTION 'of others'");
    await rig.stage.openProxy();
    const client = await rig.stage.connect();
    const waiting = client.query(`UPDATE accounts SET balance = balance + 1 WHERE id = ${rig.account(0)}`);
    const row = await rig.doubt(gid, (one) => one.waiting !== "");
    assert.equal(row.gtrid, transaction);
    assert.equal(row.shard, rig.shard(0));
    assert.deepEqual([row.coordinator, row.database, row.owner], ["one", "bank", "postgres"]);
    assert.ok(Number(row.age_s) >= 0 && Number(row.xmin_age) >= 1);
    assert.equal(row.holds_back_vacuum, true);
    assert.match(row.locks, /accounts:RowExclusiveLock/);
    assert.match(row.waiting, /^client \d+$/);
    assert.deepEqual([row.decision, row.reason], ["unknown", "the decision log cannot say what was decided"]);
    const others = await rig.doubt(null);
    assert.match(others.reason, /^1 more prepared on this server that is not of fleet "test"/);
    await rig.ask(`RESOLVE '${transaction}' ROLLBACK CONFIRM`);
    await waiting;
  });

  test("is not ended before it is confirmed; what that would risk is said", async () => {
    const transaction = rig.name();
    await Promise.all([rig.leave(transaction, 0), rig.leave(transaction, 1)]);
    await rig.stage.openProxy();
    const says = (await rig.ask<{ says: string }>(`RESOLVE '${transaction}' COMMIT`)).map((row) => row.says);
    assert.match(says.join("\n"), /RISK: if it was rolled back on another shard, COMMIT leaves half of it/);
    assert.match(says.at(-1)!, /^nothing was done; to do it: RESOLVE/);
    assert.equal((await rig.prepared()).length, 2);
    assert.deepEqual(await heuristics(), []);
  });

  for (const [verb, outcome, added] of [
    ["COMMIT", "commit", 5],
    ["ROLLBACK", "abort", 0],
  ] as const) {
    test(`${verb} ends it on every shard; what was said is kept over a restart, and stands`, async () => {
      const transaction = rig.name();
      await Promise.all([rig.leave(transaction, 0), rig.leave(transaction, 1)]);
      const before = [await rig.balance(0), await rig.balance(1)];
      await rig.stage.openProxy();
      const ended = await rig.ask<{ done: boolean; says: string }>(
        `RESOLVE '${transaction}' ${verb} CONFIRM 'disk lost'`,
      );
      const says = outcome === "commit" ? "committed" : "rolled back";
      assert.deepEqual(
        ended.map((row) => [row.done, row.says]),
        [
          [true, says],
          [true, says],
        ],
      );
      assert.deepEqual(await rig.prepared(), []);
      assert.deepEqual(
        [await rig.balance(0), await rig.balance(1)],
        [before[0]! + added, before[1]! + added],
      );
      await rig.stage.closeProxy();
      await rig.stage.openProxy();
      const [record] = await heuristics();
      const { by, reason, verdict } = record!;
      assert.deepEqual([record!.gtrid, record!.outcome], [transaction, outcome]);
      assert.deepEqual([by, reason, verdict], ['user "postgres" of the console', "disk lost", "unproven"]);
      await assert.rejects(rig.ask(`RESOLVE '${transaction}' COMMIT`), {
        code: "42704",
        detail: new RegExp(`has resolved it before: ${outcome}`),
      });
      // A branch that turns up later ends as was said.
      await rig.leave(transaction, 0);
      await until(async () => (await rig.prepared()).length === 0);
      assert.equal(await rig.balance(0), before[0]! + added * 2);
    });
  }

  test("is ended by pgxa resolve where no pgxa runs, and the next start knows of it", async () => {
    const transaction = rig.name();
    await rig.leave(transaction, 0);
    rig.stage.writeConfig();
    const unsure = await rig.resolve(transaction, "commit");
    assert.deepEqual([unsure.code, unsure.stderr.includes("Nothing was done.")], [1, true]);
    assert.match(unsure.stdout, /shard east: prepared \d+ s ago/);
    assert.match(unsure.stdout, /RISK: .*\n {2}RISK: coordinator "one" must not be at work on it/);
    assert.equal((await rig.prepared()).length, 1);
    const { code, stdout } = await rig.resolve(
      transaction,
      "commit",
      "--yes",
      "--reason",
      "as the books say",
    );
    assert.deepEqual([code, await rig.prepared()], [0, []]);
    assert.match(stdout, /shard east: committed/);
    await rig.stage.openProxy();
    const [record] = await heuristics();
    assert.match(record!.by, /^system user ".+" with pgxa resolve$/);
    assert.equal(record!.reason, "as the books say");
    const again = await rig.resolve(rig.name(), "rollback", "--yes");
    assert.equal(again.code, 1);
  });

  test("is ended by pgxa resolve through the console of the pgxa that runs", async () => {
    const transaction = rig.name();
    await rig.leave(transaction, 1);
    await rig.stage.openProxy({ listen: { host: "127.0.0.1", port: await freePort() } });
    const { code, stdout, stderr } = await rig.resolve(
      transaction,
      "rollback",
      "--yes",
      "--reason",
      "it's so",
    );
    assert.deepEqual([code, stderr], [0, ""]);
    assert.match(stdout, /shard north: rolled back/);
    const [record] = await heuristics();
    assert.deepEqual([record!.by, record!.reason], ['user "postgres" of the console', "it's so"]);
    const missing = await rig.resolve(transaction, "commit", "--yes");
    assert.equal(missing.code, 1);
    assert.match(missing.stderr, /nothing of this transaction is prepared\nLooked for on "east", "north"/);
  });

  test("of another coordinator is shown with whose it is, and may be ended once nobody can be at work on it", async () => {
    const transaction = rig.name("two");
    const gid = await rig.leave(transaction, 0);
    await rig.stage.openProxy();
    const row = await rig.doubt(gid, ({ coordinator }) => coordinator === "two");
    assert.deepEqual([row.decision, row.reason], ["unknown", 'coordinator "two" has it in hand']);
    await assert.rejects(rig.ask(`RESOLVE '${transaction}' ROLLBACK CONFIRM`), {
      code: "55006",
      detail: /Coordinator "two" may be at work on it/,
    });
    assert.equal((await rig.prepared()).length, 1);
  });

  test("a transaction of which the log is whole is ended by pgxa, and nobody may commit it", async () => {
    await rig.stage.openProxy();
    await rig.stage.closeProxy();
    // Of an epoch that the log knows all about.
    const transaction = rig.name("one", await lastEpoch(join(rig.stage.home, "decisions")));
    await rig.leave(transaction, 0);
    const refused = await rig.resolve(transaction, "commit", "--yes");
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /nobody may commit it any more\nThe decision log has no commit/);
    assert.equal((await rig.prepared()).length, 1);
    assert.equal((await rig.resolve(transaction, "rollback", "--yes")).code, 0);
    await rig.stage.openProxy();
    assert.deepEqual(await heuristics(), []);
  });
});
