/** Traps of phase 2: how what was decided is told to the shards. The numbers are those of docs/two-phase-commit.md. */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, suite, test } from "node:test";
import type { Log } from "../../src/observe/log.ts";
import { ShardControl } from "../../src/txn/shardControl.ts";
import { wantNoStandby, wantStandby } from "../support/absentStandby.ts";
import { startShards, type TestShards } from "../support/shards.ts";
import { type CommitStage, shardConfig } from "../txn/commitStage.ts";
import { atPrepare, faultOf, on, openUnswept, sqlstateOf, until, waitsForStandby } from "./trapStage.ts";

suite("traps of phase 2", () => {
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

  const gidOn = async (shard: number): Promise<string> => {
    const rows = await stage.query(shard, "SELECT gid FROM pg_prepared_xacts");
    assert.equal(rows.length, 1);
    return String(rows[0]!["gid"]);
  };

  test("trap 20: COMMIT PREPARED stands alone in its query, on the session that prepared, under its role", async () => {
    await on(
      shards.shards[1]!,
      "DROP ROLE IF EXISTS teller",
      "CREATE ROLE teller",
      "GRANT ALL ON t TO teller",
    );
    const one = await stage.branch(0, "INSERT INTO t VALUES (20)");
    const other = await stage.branch(1, "SET ROLE teller; INSERT INTO t VALUES (20)");
    const outcome = await stage.commit(one, other);
    assert.deepEqual(outcome, { kind: "committed" }, "confirmed by both, without a notice");
    for (const { said } of [one, other]) assert.match(said.at(-1)!, /^COMMIT PREPARED '[^';]+'$/);
    await on(shards.shards[1]!, "DROP OWNED BY teller", "DROP ROLE teller");
  });

  test("trap 20: a branch of another role is refused to the resolver (42501): that is said, and it is not done", async () => {
    const shard = shards.shards[1]!;
    await on(shard, "DROP ROLE IF EXISTS limited", "CREATE ROLE limited LOGIN");
    const writers = await stage.writers(200);
    writers[1].losses.set("COMMIT PREPARED", "before");
    stage.resolver.stop();
    await stage.commit(...writers);
    const limited = new ShardControl(shardConfig(shard, "limited"));
    const finish = await limited.finish("COMMIT", await gidOn(1));
    assert.ok(finish.kind === "refused" && /42501/.test(finish.reason), finish.kind);
    assert.equal(stage.log.unconcluded().length, 1);
    await limited.close();
    await stage.restart();
    await stage.rest();
    assert.equal(await stage.seen(200), 2);
  });

  test("trap 21: what somebody else is finishing (55000) is tried again, and concluded when it is done", async () => {
    const shard = shards.shards[1]!;
    const writers = await stage.writers(21);
    writers[1].losses.set("COMMIT PREPARED", "before");
    stage.resolver.stop();
    await stage.commit(...writers);
    const gid = await gidOn(1);
    const other = await shard.connect();
    await wantStandby(shard);
    let finishing: Promise<unknown> = Promise.resolve();
    try {
      finishing = other.query(`COMMIT PREPARED '${gid}'`);
      await waitsForStandby(shard);
      const control = new ShardControl(shardConfig(shard));
      assert.deepEqual(await control.finish("COMMIT", gid), { kind: "busy" });
      await control.close();
      await stage.restart();
      assert.match(
        stage.resolver.inDoubt.map(({ reason }) => reason).join(),
        /somebody else is finishing it/,
      );
      assert.equal(stage.log.unconcluded().length, 1, "not done yet");
    } finally {
      await wantNoStandby(shard);
    }
    await finishing;
    await other.end();
    await stage.rest(); // by its own backing off: nobody wakes it
    assert.equal(await stage.seen(21), 2);
  });

  for (const [what, statement, isDone] of [
    ["was committed before", "COMMIT", true],
    ["was rolled back by hand", "ROLLBACK", false],
  ] as const) {
    test(`trap 22: a decided branch that is not there and ${what} is ${isDone ? "done" : "lost"}, by the shard's own record`, async () => {
      const said: string[] = [];
      const note: Log["error"] = (event) => void said.push(event);
      stage.logTo = { debug() {}, info() {}, warn() {}, error: note, setLevel() {} };
      await stage.restart();
      const writers = await stage.writers(22);
      writers[1].losses.set("COMMIT PREPARED", "before");
      stage.resolver.stop();
      await stage.commit(...writers);
      await on(shards.shards[1]!, `${statement} PREPARED '${await gidOn(1)}'`);
      await stage.restart();
      assert.equal(stage.log.unconcluded().length, isDone ? 0 : 1);
      assert.deepEqual(said, isDone ? [] : ["resolver.evidence_lost"]);
      assert.equal(stage.resolver.inDoubt.length, isDone ? 0 : 1);
    });
  }

  test("trap 23: without its synchronous standby a shard hangs: our own timer ends the wait, as unknown", async () => {
    await stage.close();
    stage = await openUnswept(shards, { prepareTimeoutMs: 500, commitTimeoutMs: 500 });
    const shard = shards.shards[1]!;
    const one = await stage.branch(0, "INSERT INTO t VALUES (23)");
    // The shard's own limit does not end it.
    const other = await stage.branch(1, "INSERT INTO t VALUES (23)", "SET statement_timeout = 100; BEGIN");
    try {
      await wantStandby(shard);
      assert.equal(faultOf(await stage.commit(one, other)), "commit.vote_unknown");
      assert.equal(await stage.seen(23), 0);
    } finally {
      await wantNoStandby(shard);
    }
    await stage.rest();
    assert.equal(await stage.seen(23), 0);
  });

  test("trap 24: notices, warnings and new parameters before the tag are no answer, and none is missed", async () => {
    const chatter =
      "RAISE NOTICE 'one'; RAISE WARNING 'two'; PERFORM set_config('application_name', 'changed', false); RAISE WARNING 'three'";
    await atPrepare(shards.shards[1]!, chatter);
    const writers = await stage.writers(24);
    assert.deepEqual(await stage.commit(...writers), { kind: "committed" });
    assert.equal(await stage.seen(24), 2);
  });

  test("trap 24: after an error the answer is read to its end, and the next one is its own", async () => {
    await stage.query(1, "INSERT INTO t VALUES (240)");
    const [one, other] = await stage.writers(240);
    assert.equal(sqlstateOf(await stage.commit(one, other)), "23505");
    const { connection } = other;
    const asked = ["SELECT 1/0", "SELECT 'second'"].map((sql) => connection.run(sql, 5_000));
    const [first, second] = await Promise.all(asked);
    assert.equal(first?.kind, "error");
    assert.deepEqual(second?.kind === "complete" && second.rows, [["second"]]);
  });

  test("trap 25: a failure after the decision is no error: it is committed, the client is told by a notice, and it is finished", async () => {
    const writers = await stage.writers(25);
    const { connection } = writers[1];
    const run = writers[1].run.bind(writers[1]);
    writers[1].run = async (sql, timeoutMs) => {
      if (sql.startsWith("COMMIT PREPARED")) {
        await on(shards.shards[1]!, `SELECT pg_terminate_backend(${connection.pid})`);
        await until("the session is gone", () => connection.state === "closed");
      }
      return run(sql, timeoutMs);
    };
    const outcome = await stage.commit(...writers);
    assert.ok(outcome.kind === "committed" && outcome.notice?.severity === "NOTICE", outcome.kind);
    assert.match(outcome.notice.detail ?? "", /shard "north"/);
    await stage.rest();
    assert.equal(await stage.seen(25), 2);
  });
});
