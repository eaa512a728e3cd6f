/** Traps of phase 1: what PREPARE TRANSACTION says and does not say. The numbers are those of docs/two-phase-commit.md. */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, suite, test } from "node:test";
import { inspect } from "node:util";
import { shardId } from "../../src/base/brands.ts";
import { checkShard } from "../../src/cli/shardChecks.ts";
import { parseConfig } from "../../src/config/load.ts";
import { GID_BYTES_MAX, gid, gtrid } from "../../src/txn/gid.ts";
import { prepareVote } from "../../src/txn/vote.ts";
import { wantNoStandby, wantStandby } from "../support/absentStandby.ts";
import { startShards, type TestShards } from "../support/shards.ts";
import { CommitStage, shardConfig } from "../txn/commitStage.ts";
import { FleetStage } from "../txn/fleetStage.ts";
import {
  atPrepare,
  faultOf,
  hold,
  on,
  openUnswept,
  sqlstateOf,
  until,
  waitsForStandby,
} from "./trapStage.ts";

const SERIALIZABLE = "BEGIN ISOLATION LEVEL SERIALIZABLE";

suite("traps of phase 1", () => {
  let shards: TestShards;
  let stage: CommitStage;

  before(async () => {
    shards = await startShards(2);
  });
  after(() => shards?.stop());
  beforeEach(async () => {
    stage = await openUnswept(shards);
  });
  afterEach(() => stage.close());

  const nothingHappened = async (value: number): Promise<void> => {
    assert.equal(await stage.seen(value), 0);
    assert.equal(await stage.prepared(), 0);
  };

  test("trap 1: PREPARE of a failed transaction, or of none, raises no error, and is no yes", async () => {
    for (const end of ["SELECT 1/0", "ROLLBACK"]) {
      const alone = await stage.branch(1, `INSERT INTO t VALUES (1); ${end}`);
      const reply = await alone.connection.run("PREPARE TRANSACTION 'pgxa:f:c:1:1::north'", 5_000);
      assert.deepEqual([reply.kind, reply.kind === "complete" && reply.tags], ["complete", ["ROLLBACK"]]);
      assert.equal(prepareVote(reply).vote, "no");
      const writer = await stage.branch(0, "INSERT INTO t VALUES (1)");
      const over = await stage.branch(1, `INSERT INTO t VALUES (1); ${end}`);
      assert.equal(sqlstateOf(await stage.commit(writer, over)), "25P02");
      await nothingHappened(1);
    }
  });

  for (const [what, sql, begin] of [
    ["a temporary table", "CREATE TEMPORARY TABLE own ()", "BEGIN"],
    ["a temporary table that is only read", "SELECT FROM own", "CREATE TEMPORARY TABLE own (); BEGIN"],
    ["a cursor WITH HOLD", "DECLARE c CURSOR WITH HOLD FOR SELECT 1", "BEGIN"],
    ["LISTEN", "LISTEN news", "BEGIN"],
    ["NOTIFY", "NOTIFY news", "BEGIN"],
    ["pg_notify()", "SELECT pg_notify('news', '')", "BEGIN"],
    ["an exported snapshot", "SELECT pg_export_snapshot()", "BEGIN"],
    ["both kinds of advisory lock on a key", "SELECT pg_advisory_lock(2), pg_advisory_xact_lock(2)", "BEGIN"],
  ] as const) {
    test(`trap 2: ${what} cannot be prepared: all is rolled back, with the shard's own 0A000`, async () => {
      const writer = await stage.branch(0, "INSERT INTO t VALUES (2)");
      const outcome = await stage.commit(writer, await stage.branch(1, sql, begin));
      assert.equal(sqlstateOf(outcome), "0A000");
      assert.equal(faultOf(outcome), undefined, "the words are the shard's");
      await nothingHappened(2);
    });
  }

  test("trap 3: who refused is rolled back already: it hears no ROLLBACK PREPARED, and its session goes on", async () => {
    await stage.query(1, "INSERT INTO t VALUES (3)");
    const [other, refuser] = await stage.writers(3);
    const outcome = await stage.commit(other, refuser);
    assert.equal(sqlstateOf(outcome), "23505", "and not the 42704 of a rollback of nothing");
    assert.match(other.said.at(-1)!, /^ROLLBACK PREPARED /);
    assert.match(refuser.said.at(-1)!, /; PREPARE TRANSACTION /);
    assert.equal(refuser.connection.replies.status, "I");
    for (const { connection } of [other, refuser])
      await connection.run("BEGIN; INSERT INTO t VALUES (33)", 5_000);
    assert.deepEqual(await stage.commit(other, refuser), { kind: "committed" });
    assert.equal(await stage.seen(33), 2);
  });

  test("trap 4: what is deferred runs at PREPARE: its error is the client's, and all is rolled back", async () => {
    await stage.query(1, "CREATE TABLE parent (a int PRIMARY KEY)");
    await stage.query(1, "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES parent DEFERRABLE INITIALLY DEFERRED");
    const orphan = await stage.writers(4);
    assert.equal(sqlstateOf(await stage.commit(...orphan)), "23503");
    await nothingHappened(4);
    await stage.query(1, "INSERT INTO parent VALUES (4); INSERT INTO t VALUES (4)");
    const twin = await stage.writers(4);
    assert.equal(sqlstateOf(await stage.commit(...twin)), "23505");
    assert.equal(await stage.seen(4), 1);
    assert.equal(await stage.prepared(), 0);
    await stage.query(1, "DROP TABLE parent CASCADE");
  });

  test("trap 4: a serialization failure at PREPARE (40001) aborts all; who is prepared fails no more, the other does", async () => {
    const rival = await shards.shards[1]!.connect();
    const read = "SELECT count(*) FROM t";
    const crossed = async (value: number) => {
      const writer = await stage.branch(0, `INSERT INTO t VALUES (${value})`, SERIALIZABLE);
      const branch = await stage.branch(1, read, SERIALIZABLE);
      await rival.query(SERIALIZABLE);
      await rival.query(read);
      await branch.connection.run(`INSERT INTO t VALUES (${value})`, 5_000);
      await rival.query(`INSERT INTO t VALUES (${value + 1})`);
      return [writer, branch] as const;
    };
    const late = await crossed(40);
    await rival.query("COMMIT");
    assert.equal(sqlstateOf(await stage.commit(...late)), "40001");
    await nothingHappened(40);
    const early = await crossed(42);
    const release = hold(early[1], "COMMIT PREPARED");
    const committing = stage.commit(...early);
    await until(
      "it is prepared",
      async () => (await stage.query(1, "SELECT FROM pg_prepared_xacts")).length === 1,
    );
    await assert.rejects(rival.query("COMMIT"), { code: "40001" });
    release();
    assert.deepEqual(await committing, { kind: "committed" });
    assert.equal(await stage.seen(42), 2);
    await rival.end();
  });

  test("trap 6: prepared transactions of others, of other databases and under odd names are left alone", async () => {
    const shard = shards.shards[1]!;
    const { epoch } = stage.log;
    const ours = gtrid({ fleet: "f", coordinator: "c", epoch, seq: 9_999 });
    const foreign = [
      gid(gtrid({ fleet: "f2", coordinator: "c", epoch, seq: 1 }), shardId("north")),
      gid(gtrid({ fleet: "f", coordinator: "another", epoch, seq: 1 }), shardId("north")),
      "order 17",
      "pgxa:f:c",
      `PGXA:${ours}::north`,
    ];
    await on(shard, "CREATE DATABASE other");
    const other = await shard.connect("other");
    for (const name of foreign)
      await on(shard, "BEGIN", "SELECT txid_current()", `PREPARE TRANSACTION '${name}'`);
    // The namespace is the server's, and this name is one of ours: but it is not our database.
    await other.query("BEGIN; SELECT txid_current()");
    await other.query(`PREPARE TRANSACTION '${gid(ours, shardId("north"))}'`);
    await stage.resolver.start();
    await stage.restart();
    assert.deepEqual(stage.resolver.inDoubt, []);
    const left = await stage.query(1, "SELECT gid FROM pg_prepared_xacts");
    assert.deepEqual(
      left.map(({ gid: name }) => name).sort(),
      [...foreign, gid(ours, shardId("north"))].sort(),
    );
    for (const name of foreign) await on(shard, `ROLLBACK PREPARED '${name}'`);
    await other.query(`ROLLBACK PREPARED '${gid(ours, shardId("north"))}'`);
    await other.end();
    await on(shard, "DROP DATABASE other");
  });

  test("trap 6: the longest names that may be configured make a gid that Postgres takes", async () => {
    const longest = "n".repeat(32);
    const configured = (name: string) =>
      parseConfig(
        `{ database: d, fleet: ${name}, coordinator: ${name}, shards: [{ name: ${name}, host: h, user: u }], auth: { method: trust } }`,
        "pgxa.yaml",
        {},
      );
    const { fleet, coordinator, shards: named } = configured(longest);
    const [epoch, seq] = [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER];
    const name = gid(gtrid({ fleet, coordinator, epoch, seq }), named[0]!.id, named[0]!.id);
    assert.ok(Buffer.byteLength(name) <= GID_BYTES_MAX);
    await on(shards.shards[0]!, "BEGIN", `PREPARE TRANSACTION '${name}'`, `ROLLBACK PREPARED '${name}'`);
    assert.throws(() => configured(`${longest}n`), /at most 32/);
    const tooLong = "n".repeat(GID_BYTES_MAX);
    await assert.rejects(on(shards.shards[0]!, "BEGIN", `PREPARE TRANSACTION '${tooLong}n'`), {
      code: "22023",
    });
    assert.throws(() => gid(gtrid({ fleet, coordinator, epoch, seq }), shardId(tooLong)), /199/);
  });

  test("trap 6: no name is used twice, after a restart either, for a used one would be refused (42710)", async () => {
    const names = new Set<string>();
    for (let value = 60; value < 66; value += 1) {
      const writers = await stage.writers(value);
      assert.deepEqual(await stage.commit(...writers), { kind: "committed" });
      for (const { said } of writers)
        for (const sql of said) names.add(/PREPARE TRANSACTION '(.*)'/.exec(sql)?.[1] ?? "");
      if (value === 62) await stage.restart();
    }
    names.delete("");
    assert.equal(names.size, 12);
    const [name] = names;
    await on(shards.shards[0]!, "BEGIN", `PREPARE TRANSACTION '${name}'`);
    await assert.rejects(on(shards.shards[0]!, "BEGIN", `PREPARE TRANSACTION '${name}'`), { code: "42710" });
    await on(shards.shards[0]!, `ROLLBACK PREPARED '${name}'`);
  });

  test("trap 7: a PREPARE whose answer is lost may be prepared: it is unknown, and finished all the same", async () => {
    const shard = shards.shards[1]!;
    const writers = await stage.writers(7);
    await wantStandby(shard);
    try {
      const committing = stage.commit(...writers);
      await waitsForStandby(shard, writers[1].pid);
      await on(shard, `SELECT pg_terminate_backend(${writers[1].pid})`);
      const outcome = await committing;
      assert.equal(faultOf(outcome), "commit.vote_unknown", inspect(outcome));
      const [left] = await stage.query(1, "SELECT gid FROM pg_prepared_xacts");
      assert.match(String(left?.["gid"]), /^pgxa:f:/, "it is prepared, although nobody said so");
    } finally {
      await wantNoStandby(shard);
    }
    await stage.rest();
    await nothingHappened(7);
  });

  test("trap 7: an error with which the session ends (57P01) is unknown and no refusal", async () => {
    await atPrepare(shards.shards[1]!, "PERFORM pg_sleep(60)");
    const writers = await stage.writers(70);
    const committing = stage.commit(...writers);
    const { pid } = writers[1];
    await until("it prepares", async () => {
      const rows = await stage.query(
        1,
        `SELECT FROM pg_stat_activity WHERE pid = ${pid} AND wait_event = 'PgSleep'`,
      );
      return rows.length === 1;
    });
    await on(shards.shards[1]!, `SELECT pg_terminate_backend(${pid})`);
    assert.equal(faultOf(await committing), "commit.vote_unknown");
    await nothingHappened(70);
    for (const sqlstate of ["57P01", "57P02", "57P03", "08006"]) {
      const error = { severity: "FATAL", sqlstate, message: "it ends" };
      assert.equal(prepareVote({ kind: "error", error, status: "I" }).vote, "unknown");
    }
  });

  test("trap 8: a PREPARE that is still on its way when all is rolled back lands no more", async () => {
    await stage.close();
    stage = await openUnswept(shards, { prepareTimeoutMs: 300 });
    const shard = shards.shards[1]!;
    const blocker = await shard.connect();
    await blocker.query("SELECT pg_advisory_lock(8)");
    await atPrepare(shard, "PERFORM pg_advisory_xact_lock(8)");
    const writers = await stage.writers(8);
    assert.equal(faultOf(await stage.commit(...writers)), "commit.vote_unknown");
    const isGone = async () =>
      (await stage.query(1, `SELECT FROM pg_stat_activity WHERE pid = ${writers[1].pid}`)).length === 0;
    // Without the fence it is still there, and prepares as soon as it can.
    await until("the backend is fenced", isGone, 3_000).catch(() => {});
    await blocker.query("SELECT pg_advisory_unlock(8)");
    await until("the backend is gone", isGone);
    await nothingHappened(8);
    await blocker.end();
  });

  test("trap 9: who has voted waits for the others outside its transaction: the shard's timeouts do not end it", async () => {
    await atPrepare(shards.shards[1]!, "PERFORM pg_sleep(1.5)");
    const slow = await stage.branch(1, "INSERT INTO t VALUES (9)");
    const begin = "SET idle_in_transaction_session_timeout = 700; SET transaction_timeout = 700; BEGIN";
    const quick = await stage.branch(0, "INSERT INTO t VALUES (9)", begin);
    assert.deepEqual(await stage.commit(slow, quick), { kind: "committed" });
    assert.equal(await stage.seen(9), 2);
  });

  test("trap 10: a branch that wrote nothing is not prepared; one that locked, or wrote by a function, is", async () => {
    await stage.query(1, "INSERT INTO t VALUES (100)");
    await stage.query(
      1,
      "CREATE OR REPLACE FUNCTION secretly() RETURNS void LANGUAGE sql AS 'INSERT INTO t VALUES (101)'",
    );
    const prepares = async (sql: string): Promise<boolean> => {
      const writers = [await stage.branch(0, "INSERT INTO t VALUES (10)"), await stage.branch(1, sql)];
      await stage.protocol.commit(writers.map((connection, i) => ({ connection, sawOnlyReads: i === 1 })));
      await stage.query(0, "DELETE FROM t");
      const isPrepared = writers[1]!.said.some((said) => said.includes("PREPARE TRANSACTION"));
      assert.equal(
        writers[0]!.said.some((said) => said.includes("PREPARE TRANSACTION")),
        isPrepared,
      );
      return isPrepared;
    };
    assert.equal(await prepares("SELECT * FROM t"), false);
    assert.equal(await prepares("SELECT * FROM t WHERE false FOR UPDATE"), false, "it locked no row");
    assert.equal(await prepares("SELECT * FROM t FOR UPDATE"), true);
    assert.equal(await prepares("SELECT secretly()"), true);
    assert.equal((await stage.query(1, "SELECT FROM t WHERE a = 101")).length, 1);
  });
});

suite("traps of phase 1 that want shards of their own", () => {
  test("trap 5: without a free slot PREPARE fails with 53200 and all is rolled back; check says so before", async () => {
    const small = await startShards(2, { settings: { max_prepared_transactions: "2" } });
    const stage = await CommitStage.open(small);
    try {
      const [shard] = small.shards;
      const others = ["of another application", "of a third"];
      for (const name of others) await on(shard!, "BEGIN", `PREPARE TRANSACTION '${name}'`);
      assert.equal(sqlstateOf(await stage.commit(...(await stage.writers(5)))), "53200");
      assert.equal(await stage.seen(5), 0);
      for (const name of others) await on(shard!, `ROLLBACK PREPARED '${name}'`);
      assert.deepEqual(await stage.commit(...(await stage.writers(5))), { kind: "committed" });
      const named = small.shards.map(({ id, host, port, user }) => ({ name: id, host, port, user }));
      const text = JSON.stringify({ database: "postgres", shards: named, auth: { method: "trust" } });
      const { findings } = await checkShard(shardConfig(shard!), parseConfig(text, "pgxa.yaml", {}));
      const found = findings.find(({ what }) => what === "max_prepared_transactions");
      assert.equal(found?.verdict, "warn");
      assert.match(found?.advice ?? "", /ALTER SYSTEM SET max_prepared_transactions = \d+; and restart/);
    } finally {
      await stage.close();
      await small.stop();
    }
  });

  test("trap 9: an anchor that the shard's timeouts end while others vote is asked back, and nothing is committed", async () => {
    const shards = await startShards(2);
    const stage = await FleetStage.open(shards);
    try {
      const one = await stage.join("one");
      await atPrepare(shards.shards[0]!, "PERFORM pg_sleep(1)");
      const other = await stage.branch(one, 0, "INSERT INTO t VALUES (9)");
      const begin = "SET idle_in_transaction_session_timeout = 300; BEGIN";
      const anchor = await stage.branch(one, 1, "INSERT INTO t VALUES (9)", begin);
      assert.equal(faultOf(await stage.commit(one, other, anchor)), "commit.branch_lost");
      await stage.rest();
      assert.equal(await stage.seen(9), 0);
    } finally {
      await stage.close();
      await shards.stop();
    }
  });
});
