/**
 * Traps between the phases: what a prepared transaction does to others, and what becomes of it. The numbers are those of
 * docs/two-phase-commit.md; 14 is in client.test.ts, with those that a client sees.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, suite, test } from "node:test";
import { LockProbe } from "../../src/deadlock/lockProbe.ts";
import type { Log } from "../../src/observe/log.ts";
import { HostProbe } from "../../src/pool/health/hostProbe.ts";
import { startShards, type TestShard, type TestShards } from "../support/shards.ts";
import { CommitStage, shardConfig } from "../txn/commitStage.ts";
import { hold, on, openUnswept, until } from "./trapStage.ts";

const hostProbe = (shard: TestShard): HostProbe =>
  new HostProbe(
    shardConfig(shard),
    () => 2_000,
    () => performance.now(),
  );

suite("traps between the phases", () => {
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

  test("trap 11: a prepared transaction that keeps others waiting is found by name, before a restart and after", async () => {
    const shard = shards.shards[1]!;
    await on(shard, "INSERT INTO t VALUES (11)");
    const name = "pgxa:f:another:1:1::north";
    await on(shard, "BEGIN", "DELETE FROM t WHERE a = 11", `PREPARE TRANSACTION '${name}'`);
    const probe = new LockProbe(shardConfig(shard));
    try {
      for (const when of ["before", "after"]) {
        const waiter = await shard.connect();
        const waiting = waiter.query("DELETE FROM t WHERE a = 11").catch(() => {});
        let blockedBy: readonly string[] = [];
        await until(`it waits ${when} the restart`, async () => {
          const waits = await probe.waits().catch(() => []);
          blockedBy = waits[0]?.preparedBlockers ?? [];
          return waits.length === 1;
        });
        assert.deepEqual(blockedBy, [name], `${when} the restart`);
        await waiter.end().catch(() => {});
        await waiting;
        if (when === "before") {
          await shard.kill("SIGKILL");
          await shard.restart();
        }
      }
    } finally {
      await probe.close();
      await on(shard, `ROLLBACK PREPARED '${name}'`);
    }
  });

  test("trap 12: a prepared transaction that lets nobody log in is finished by the session that is open", async () => {
    const shard = shards.shards[1]!;
    const watch = await shard.connect();
    const [probe, monitor] = [new LockProbe(shardConfig(shard)), hostProbe(shard)];
    await probe.open();
    assert.equal((await monitor.ask()).kind, "answered");
    const locking = "INSERT INTO t VALUES (12); LOCK TABLE pg_authid IN ACCESS EXCLUSIVE MODE";
    const writers = [
      await stage.branch(0, "INSERT INTO t VALUES (12)"),
      await stage.branch(1, locking),
    ] as const;
    stage.resolver.stop();
    writers[1].losses.set("COMMIT PREPARED", "before");
    const outcome = await stage.commit(...writers);
    assert.ok(outcome.kind === "committed" && outcome.notice !== undefined);
    const login = shard.connect();
    await until("a login waits", async () => {
      const waiting = "SELECT FROM pg_locks WHERE relation = 'pg_authid'::regclass AND NOT granted";
      return (await watch.query(waiting)).rowCount === 1;
    });
    const [wait] = await probe.waits();
    assert.match(wait?.preparedBlockers.join() ?? "", /^pgxa:f:/, "who has it can be seen");
    assert.equal((await monitor.ask()).kind, "answered", "the shard is not taken for dead");
    await Promise.all([probe.close(), monitor.close()]);
    await stage.resolver.start();
    assert.deepEqual(stage.resolver.inDoubt, []);
    await (await login).end();
    await watch.end();
    assert.equal(await stage.seen(12), 2);
  });

  test("trap 13: COMMIT is answered when its effects are to be seen on every shard, and not before", async () => {
    const writers = await stage.writers(13);
    const release = hold(writers[1], "COMMIT PREPARED");
    let isTold = false;
    const committing = stage.commit(...writers).then((outcome) => {
      isTold = true;
      return outcome;
    });
    await until("the other shard has it", async () => (await stage.seen(13)) === 1);
    // Not even the session that made it sees it now.
    const own = await writers[1].connection.run("SELECT FROM t WHERE a = 13", 5_000);
    assert.deepEqual(own.kind === "complete" && own.rows, []);
    assert.equal(isTold, false);
    release();
    assert.deepEqual(await committing, { kind: "committed" });
    assert.equal(await stage.seen(13), 2);
  });
});

suite("traps of a failover between the phases", () => {
  let shards: TestShards;
  let stage: CommitStage;
  const said: string[] = [];
  let stopStandby: () => Promise<void> = async () => {};

  /** Commits on both shards, but east loses it: its standby took over without the PREPARE. */
  before(async () => {
    shards = await startShards(2);
    const servers = [...shards.shards];
    stage = await CommitStage.open({ ...shards, shards: servers });
    const [east] = shards.shards;
    const standby = await east!.makeStandby();
    stopStandby = () => standby.stop();
    await stage.restart();
    await until("the standby follows", async () => (await on(standby, "SELECT FROM t LIMIT 0")).length === 0);
    await standby.stop(); // from here on it is behind
    const note: Log["error"] = (event) => void said.push(event);
    stage.logTo = { debug() {}, info() {}, warn() {}, error: note, setLevel() {} };
    await stage.restart();
    const writers = await stage.writers(15);
    const release = hold(writers[0], "COMMIT PREPARED");
    const committing = stage.commit(...writers);
    await until("the other shard has it", async () => (await stage.seen(15)) === 1);
    await east!.kill("SIGKILL");
    release();
    const outcome = await committing;
    assert.ok(outcome.kind === "committed" && outcome.notice !== undefined);
    await standby.restart();
    await on(standby, "SELECT pg_promote(true, 60)");
    servers[0] = standby;
    await stage.restart();
  });
  after(async () => {
    await stage?.close();
    await stopStandby();
    await shards?.stop();
  });

  const isReportedAndKept = (): void => {
    assert.deepEqual(
      stage.resolver.inDoubt.map(({ shard, reason }) => [shard, /other server/.test(reason)]),
      [["east", true]],
    );
    assert.equal(stage.log.unconcluded().length, 1, "never counted as done");
  };

  test("trap 15: a decided branch that a failover lost is reported as an error, and never counted as done", async () => {
    assert.equal(await stage.seen(15), 1, "this is what was lost");
    assert.equal(said.filter((event) => event === "resolver.evidence_lost").length, 1);
    isReportedAndKept();
  });

  test("trap 22: after the failover the branch's id is a stranger's, who commits: that proves nothing", async () => {
    const [{ participants }] = stage.log.unconcluded() as [
      ReturnType<CommitStage["log"]["unconcluded"]>[number],
    ];
    const { xid } = participants.find(({ shard }) => shard === "east")!;
    assert.notEqual(xid, null);
    await until("a stranger has had the id and committed", async () => {
      await stage.query(0, "INSERT INTO t VALUES (22); DELETE FROM t WHERE a = 22");
      const [row] = await stage.query(0, "SELECT pg_current_xact_id()::text::int8 AS next");
      return Number(row!["next"]) > Number(xid);
    });
    const [status] = await stage.query(0, `SELECT pg_xact_status('${xid}') AS status`);
    assert.equal(status?.["status"], "committed", "going by the id alone all were well");
    await stage.restart();
    isReportedAndKept();
  });
});
