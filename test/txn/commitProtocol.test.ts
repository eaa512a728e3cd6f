import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, suite, test } from "node:test";
import { gtridOf } from "../../src/base/brands.ts";
import { Fault } from "../../src/base/fault.ts";
import { FAULT_POINTS, type FaultPoint } from "../../src/base/faultPoint.ts";
import type { CommitOutcome } from "../../src/txn/commitProtocol.ts";
import { startShards, type TestShards } from "../support/shards.ts";
import { CommitStage } from "./commitStage.ts";

let shards: TestShards;
let stage: CommitStage;

const sqlstateOf = (outcome: CommitOutcome): string | undefined =>
  outcome.kind === "aborted" ? outcome.error.sqlstate : undefined;

const faultOf = (outcome: CommitOutcome): string | undefined =>
  outcome.kind === "aborted" && outcome.error instanceof Fault ? outcome.error.id : undefined;

suite("a commit over real shards", () => {
  before(async () => {
    shards = await startShards(3);
  });
  after(() => shards.stop());
  beforeEach(async () => {
    stage = await CommitStage.open(shards);
  });
  afterEach(() => stage.close());

  test("two writers are committed on both shards, and nothing is left behind", async () => {
    const passed: FaultPoint[] = [];
    stage.faultPoint = (point) => void passed.push(point);
    const outcome = await stage.commit(...(await stage.writers(1)));
    assert.deepEqual(outcome, { kind: "committed" });
    assert.equal(await stage.seen(1), 2);
    assert.equal(await stage.prepared(), 0);
    assert.deepEqual(stage.log.unconcluded(), []);
    assert.deepEqual(
      new Set(passed),
      new Set(FAULT_POINTS.filter((point) => !/^(client|anchor)\./.test(point))),
    );
    assert.deepEqual(stage.protocol.counts, {
      onePhase: 0,
      twoPhase: 1,
      committed: 1,
      aborted: 0,
      unknown: 0,
    });
  });

  test("that it is decided is told once, before the second phase", async () => {
    const writers = await stage.writers(1);
    const branches = writers.map((connection) => ({ connection, sawOnlyReads: false }));
    const said: number[] = [];
    await stage.protocol.commit(branches, null, () => said.push(...writers.map((one) => one.said.length)));
    assert.deepEqual(said, [1, 1]);
  });

  test("a constraint that fails at PREPARE aborts all, in the shard's own words", async () => {
    await stage.query(1, "INSERT INTO t VALUES (1)");
    const outcome = await stage.commit(...(await stage.writers(1)));
    assert.equal(outcome.kind, "aborted");
    if (outcome.kind !== "aborted" || outcome.error instanceof Fault)
      throw new Error("the shard's error is expected");
    assert.equal(outcome.error.sqlstate, "23505");
    assert.match(outcome.error.message, /duplicate key/);
    assert.equal(await stage.seen(1), 1);
    assert.equal(await stage.prepared(), 0);
  });

  test("notices and reported settings that come before the answer to PREPARE do not make it less of a yes", async () => {
    const talk = "RAISE NOTICE ''checked''; PERFORM set_config(''application_name'', ''talkative'', false)";
    await stage.query(
      1,
      `CREATE OR REPLACE FUNCTION talk() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN ${talk}; RETURN NULL; END'`,
    );
    await stage.query(
      1,
      "CREATE CONSTRAINT TRIGGER talk AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION talk()",
    );
    const writers = await stage.writers(1);
    assert.deepEqual(await stage.commit(...writers), { kind: "committed" });
    assert.equal(writers[1].connection.parameters.get("application_name"), "talkative");
    assert.equal(await stage.seen(1), 2);
  });

  test("a branch that cannot be prepared (temporary table) aborts all", async () => {
    const writer = await stage.branch(0, "INSERT INTO t VALUES (1)");
    const other = await stage.branch(1, "CREATE TEMPORARY TABLE own ()");
    assert.equal(sqlstateOf(await stage.commit(writer, other)), "0A000");
    assert.equal(await stage.seen(1), 0);
    assert.equal(await stage.prepared(), 0);
  });

  test("a failed transaction on one shard aborts all", async () => {
    const writer = await stage.branch(0, "INSERT INTO t VALUES (1)");
    const failed = await stage.branch(1, "SELECT 1/0");
    assert.equal(sqlstateOf(await stage.commit(writer, failed)), "25P02");
    assert.equal(await stage.seen(1), 0);
  });

  test("a branch whose transaction is gone is not taken for a yes", async () => {
    const writer = await stage.branch(0, "INSERT INTO t VALUES (1)");
    const gone = await stage.branch(1, "INSERT INTO t VALUES (1); ROLLBACK");
    assert.equal(sqlstateOf(await stage.commit(writer, gone)), "25P02");
    assert.equal(await stage.seen(1), 0);
    assert.equal(await stage.prepared(), 0);
  });

  test("branches that wrote nothing are committed and drop out; one writer needs one phase", async () => {
    const writer = await stage.branch(0, "INSERT INTO t VALUES (1)");
    const reader = await stage.branch(1, "SELECT FROM t");
    const outcome = await stage.protocol.commit([
      { connection: writer, sawOnlyReads: false },
      { connection: reader, sawOnlyReads: true },
    ]);
    assert.deepEqual(outcome, { kind: "committed" });
    assert.equal(await stage.seen(1), 1);
    assert.deepEqual(
      [...writer.said, ...reader.said].filter((sql) => sql.includes("PREPARE TRANSACTION")),
      [],
    );
    assert.equal(stage.protocol.counts.onePhase, 1);
  });

  test("a branch that only looked like a reader and locked a row is prepared", async () => {
    await stage.query(1, "INSERT INTO t VALUES (9)");
    const writer = await stage.branch(0, "INSERT INTO t VALUES (1)");
    const locker = await stage.branch(1, "SELECT FROM t FOR UPDATE");
    const outcome = await stage.protocol.commit([
      { connection: writer, sawOnlyReads: false },
      { connection: locker, sawOnlyReads: true },
    ]);
    assert.deepEqual(outcome, { kind: "committed" });
    assert.equal(stage.protocol.counts.twoPhase, 1);
  });

  test("readers alone, and a reader next to two writers, are committed without being prepared", async () => {
    const readers = [await stage.branch(0, "SELECT FROM t"), await stage.branch(1, "SELECT FROM t")];
    const read = await stage.protocol.commit(
      readers.map((connection) => ({ connection, sawOnlyReads: true })),
    );
    assert.deepEqual(read, { kind: "committed" });
    const [one, other] = await stage.writers(1);
    const reader = await stage.branch(2, "SELECT FROM t");
    const written = await stage.protocol.commit([
      { connection: one, sawOnlyReads: false },
      { connection: reader, sawOnlyReads: true },
      { connection: other, sawOnlyReads: false },
    ]);
    assert.deepEqual(written, { kind: "committed" });
    assert.deepEqual(reader.said.at(-1), "COMMIT");
    assert.equal(await stage.seen(1), 2);
  });

  test("a reader that cannot be committed (40001) aborts the writers", async () => {
    const begin = "BEGIN ISOLATION LEVEL SERIALIZABLE";
    await stage.query(1, "INSERT INTO t VALUES (5), (6)");
    const reader = await stage.branch(1, "SELECT 1", begin);
    const writer = await stage.branch(0, "INSERT INTO t VALUES (1)");
    const refusal = "DO $$ BEGIN RAISE SQLSTATE '40001'; END $$";
    const run = reader.run.bind(reader);
    reader.run = (sql, timeoutMs) => run(sql === "COMMIT" ? refusal : sql, timeoutMs);
    const outcome = await stage.protocol.commit([
      { connection: writer, sawOnlyReads: false },
      { connection: reader, sawOnlyReads: true },
    ]);
    assert.equal(sqlstateOf(outcome), "40001");
    assert.equal(await stage.seen(1), 0);
  });

  test("a branch that does not say whether it wrote aborts all", async () => {
    const writer = await stage.branch(0, "INSERT INTO t VALUES (1)");
    const reader = await stage.branch(1, "SELECT FROM t");
    reader.losses.set("SELECT pg_catalog.pg_current", "before");
    const outcome = await stage.protocol.commit([
      { connection: writer, sawOnlyReads: false },
      { connection: reader, sawOnlyReads: true },
    ]);
    assert.equal(faultOf(outcome), "commit.branch_lost");
    assert.equal(await stage.seen(1), 0);
  });

  for (const loss of ["before", "after"] as const) {
    test(`a vote lost ${loss} the shard prepared aborts every participant, and nothing stays prepared`, async () => {
      const writers = await stage.writers(1);
      writers[1].losses.set("PREPARE", loss);
      const outcome = await stage.commit(...writers);
      assert.equal(faultOf(outcome), "commit.vote_unknown");
      await stage.rest();
      assert.equal(await stage.seen(1), 0);
    });

    test(`a COMMIT PREPARED whose answer is lost ${loss} it was done is committed, with a notice, and finished`, async () => {
      const writers = await stage.writers(1);
      writers[1].losses.set("COMMIT PREPARED", loss);
      const outcome = await stage.commit(...writers);
      assert.equal(outcome.kind, "committed");
      assert.match(
        (outcome.kind === "committed" && outcome.notice?.detail) || "",
        new RegExp(writers[1].shard),
      );
      await stage.rest();
      assert.equal(await stage.seen(1), 2);
    });

    test(`the only writer's COMMIT, its answer lost ${loss} it was done, is settled by the shard's own record`, async () => {
      const writer = await stage.branch(0, "INSERT INTO t VALUES (1)");
      const reader = await stage.branch(1, "SELECT FROM t");
      writer.losses.set("COMMIT", loss);
      const outcome = await stage.protocol.commit([
        { connection: writer, sawOnlyReads: false },
        { connection: reader, sawOnlyReads: true },
      ]);
      assert.equal(outcome.kind, loss === "before" ? "aborted" : "committed");
      assert.equal(await stage.seen(1), loss === "before" ? 0 : 1);
    });
  }

  test("a PREPARE that is still running when its time is up is fenced: it can land no more", async () => {
    await stage.close();
    stage = await CommitStage.open(shards, { prepareTimeoutMs: 200 });
    await stage.query(
      1,
      "CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END'",
    );
    await stage.query(
      1,
      "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    const writers = await stage.writers(1);
    const { pid } = writers[1];
    assert.equal(faultOf(await stage.commit(...writers)), "commit.vote_unknown");
    await stage.resolver.start();
    assert.deepEqual(await stage.query(1, `SELECT FROM pg_stat_activity WHERE pid = ${pid}`), []);
    await stage.rest();
    assert.equal(await stage.seen(1), 0);
  });

  test("the only branch's COMMIT whose answer is lost is unknown, and the client is told so", async () => {
    const writer = await stage.branch(0, "INSERT INTO t VALUES (1)");
    writer.losses.set("COMMIT", "after");
    const outcome = await stage.commit(writer);
    assert.equal(outcome.kind === "unknown" && outcome.fault.sqlstate, "08007");
    assert.equal(stage.protocol.counts.unknown, 1);
  });

  test("one branch is committed as it is, and refused as it is", async () => {
    assert.deepEqual(await stage.commit(await stage.branch(0, "INSERT INTO t VALUES (1)")), {
      kind: "committed",
    });
    assert.equal(sqlstateOf(await stage.commit(await stage.branch(0, "INSERT INTO t VALUES (1)"))), "23505");
    assert.equal(sqlstateOf(await stage.commit(await stage.branch(0, "SELECT 1/0"))), "25P02");
  });

  test("a shard that dies after its vote has the commit when it is back", async () => {
    const writers = await stage.writers(1);
    let killed: Promise<void> | null = null;
    const run = writers[1].run.bind(writers[1]);
    writers[1].run = async (sql, timeoutMs) => {
      if (sql.startsWith("COMMIT PREPARED")) await (killed ??= stage.shards[1]!.kill("SIGKILL"));
      return run(sql, timeoutMs);
    };
    const outcome = await stage.commit(...writers);
    assert.ok(outcome.kind === "committed" && outcome.notice !== undefined);
    await stage.shards[1]!.restart();
    await stage.rest();
    assert.equal(await stage.seen(1), 2);
  });

  for (const point of [
    "votes.all-received",
    "decision.before-write",
    "decision.after-sync",
    "commit-prepared.before-send",
  ] as const) {
    test(`what pgxa leaves when it dies at ${point} is finished by the next start`, async () => {
      const writers = await stage.writers(1);
      // It dies for its shards: nothing that it says any more is heard, and the client is told nothing.
      let isDead = false;
      stage.faultPoint = (passed) => {
        isDead ||= passed === point;
        if (isDead && passed === "decision.before-write") throw new Error("dead");
      };
      for (const writer of writers) {
        const run = writer.run.bind(writer);
        writer.run = (sql, timeoutMs) =>
          isDead ? Promise.resolve({ kind: "lost", reason: "dead" }) : run(sql, timeoutMs);
      }
      stage.resolver.stop();
      await stage.commit(...writers);
      assert.equal(await stage.prepared(), 2);
      stage.faultPoint = () => {};
      await stage.restart();
      await stage.rest();
      const isDecided = point === "decision.after-sync" || point === "commit-prepared.before-send";
      assert.equal(await stage.seen(1), isDecided ? 2 : 0);
    });
  }

  test("a disk that fails at the decision leaves the outcome unknown, and nobody touches it before the next start", async () => {
    const writers = await stage.writers(1);
    stage.faultPoint = (point) => {
      if (point === "decision.before-sync") throw new Error("input/output error");
    };
    const outcome = await stage.commit(...writers);
    assert.equal(outcome.kind === "unknown" && outcome.fault.sqlstate, "08007");
    await stage.resolver.start();
    assert.equal(await stage.prepared(), 2);
    assert.equal(stage.resolver.inDoubt.length, 2);
    assert.equal(faultOf(await stage.commit(...(await stage.writers(2)))), "commit.log_stopped");
    stage.faultPoint = () => {};
    await stage.restart();
    await stage.rest();
    assert.equal(await stage.seen(1), 2, "it was written, so it stands");
    assert.equal(await stage.seen(2), 0);
  });

  test("a log that fails when all have voted, and has nothing of this transaction, rolls it back for sure", async () => {
    const writers = await stage.writers(1);
    let hasFailed = false;
    stage.faultPoint = (point) => {
      if (point === "decision.before-write") throw new Error("input/output error");
      if (point !== "votes.all-received" || hasFailed) return;
      hasFailed = true;
      // Another transaction's decision is on its way to the disk, and this one comes behind it.
      stage.log.decide(gtridOf("f:c:1:zz"), "commit", []).catch(() => {});
    };
    assert.equal(faultOf(await stage.commit(...writers)), "commit.log_stopped");
    assert.ok(hasFailed);
    assert.equal(await stage.prepared(), 0);
    assert.equal(await stage.seen(1), 0);
    stage.faultPoint = () => {};
    await stage.restart();
    await stage.rest();
    assert.equal(await stage.seen(1), 0);
  });

  test("commits that run at once do not disturb one another", async () => {
    const all = await Promise.all(Array.from({ length: 10 }, (_, i) => stage.writers(i)));
    const outcomes = await Promise.all(all.map((writers) => stage.commit(...writers)));
    assert.deepEqual(new Set(outcomes.map(({ kind }) => kind)), new Set(["committed"]));
    await stage.protocol.drain();
    assert.equal(await stage.prepared(), 0);
    assert.equal((await stage.query(0, "SELECT FROM t")).length, 10);
  });
});

suite("a commit that is acknowledged when it is decided", () => {
  before(async () => {
    shards = await startShards(2);
    stage = await CommitStage.open(shards, { commitAck: "decided" });
  });
  after(async () => {
    await stage.close();
    await shards.stop();
  });

  test("is told before it is applied, and says when the connections are free", async () => {
    const writers = await stage.writers(1);
    let release = () => {};
    const gate = new Promise<void>((resolve) => (release = resolve));
    const run = writers[0].run.bind(writers[0]);
    writers[0].run = async (sql, timeoutMs) => {
      if (sql.startsWith("COMMIT PREPARED")) await gate;
      return run(sql, timeoutMs);
    };
    const outcome = await stage.commit(...writers);
    assert.ok(outcome.kind === "committed" && outcome.applied !== undefined);
    assert.equal((await stage.query(0, "SELECT FROM t WHERE a = 1")).length, 0);
    let isDrained = false;
    const drained = stage.protocol.drain().then(() => (isDrained = true));
    await stage.query(1, "SELECT 1");
    assert.equal(isDrained, false, "the second phase is still running");
    release();
    await outcome.applied;
    await drained;
    assert.equal(await stage.seen(1), 2);
    assert.equal(await stage.prepared(), 0);
  });

  test("is not told when it is aborted", async () => {
    await stage.query(1, "INSERT INTO t VALUES (3)");
    assert.equal(sqlstateOf(await stage.commit(...(await stage.writers(3)))), "23505");
  });
});
