/** Traps of the decision: what makes it one, and who may read it when. The numbers are those of docs/two-phase-commit.md. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, suite, test } from "node:test";
import { type Gtrid, gtridOf, shardId } from "../../src/base/brands.ts";
import { silentLog } from "../../src/observe/log.ts";
import { gid, gtrid, parseGid } from "../../src/txn/gid.ts";
import { Resolver } from "../../src/txn/resolver.ts";
import { ShardControl } from "../../src/txn/shardControl.ts";
import { decideOn } from "../../src/txn/shardLog/decisionTable.ts";
import { startShards, type TestShards } from "../support/shards.ts";
import { type Branch, type CommitStage, shardConfig } from "../txn/commitStage.ts";
import { FakeControl, FakeDecisions } from "../txn/fakeControl.ts";
import { FleetStage } from "../txn/fleetStage.ts";
import { ManualEnvironment } from "../txn/manualEnvironment.ts";
import { faultOf, on, openUnswept } from "./trapStage.ts";

let shards: TestShards;
before(async () => {
  shards = await startShards(2);
});
after(() => shards?.stop());

suite("traps of the decision in files", () => {
  let stage: CommitStage;

  beforeEach(async () => {
    stage = await openUnswept(shards);
  });
  afterEach(() => stage.close());

  /** Commits until `point`, where pgxa is dead for its shards. */
  const dieAt = async (point: string, ...writers: readonly Branch[]): Promise<void> => {
    let isDead = false;
    stage.faultPoint = (passed) => {
      isDead ||= passed === point;
    };
    for (const writer of writers) {
      const run = writer.run.bind(writer);
      writer.run = (sql, timeoutMs) =>
        isDead ? Promise.resolve({ kind: "lost", reason: "dead" }) : run(sql, timeoutMs);
    }
    stage.resolver.stop();
    await stage.commit(...writers);
    stage.faultPoint = () => {};
  };
  const gidsOn = async (shard: number): Promise<readonly string[]> =>
    (await stage.query(shard, "SELECT gid FROM pg_prepared_xacts")).map((row) => String(row["gid"]));

  test("trap 16: no COMMIT PREPARED is said before the decision is durable, and without one all is rolled back", async () => {
    const order: string[] = [];
    stage.faultPoint = (point) => void order.push(point);
    const writers = await stage.writers(16);
    for (const writer of writers) {
      const run = writer.run.bind(writer);
      writer.run = (sql, timeoutMs) => {
        if (sql.startsWith("COMMIT PREPARED")) order.push("COMMIT PREPARED");
        return run(sql, timeoutMs);
      };
    }
    assert.deepEqual(await stage.commit(...writers), { kind: "committed" });
    assert.ok(order.indexOf("decision.after-sync") >= 0);
    assert.ok(order.indexOf("decision.after-sync") < order.indexOf("COMMIT PREPARED"));
    // A disk that fails: nobody knows whether it stands, and so nothing is committed and nothing is rolled back.
    stage.faultPoint = (point) => {
      if (point === "decision.before-sync") throw new Error("input/output error");
    };
    const outcome = await stage.commit(...(await stage.writers(17)));
    assert.equal(outcome.kind === "unknown" && outcome.fault.sqlstate, "08007");
    await stage.resolver.start();
    assert.equal(await stage.prepared(), 2);
    assert.equal(await stage.seen(17), 0);
    stage.faultPoint = () => {};
    await stage.restart();
    await stage.rest();
    assert.equal(await stage.seen(17), 2, "it had been written, and the next start finds it");
  });

  test("trap 16: what has no decision when its coordinator is gone is rolled back by the next start", async () => {
    stage.faultPoint = (point) => {
      if (point === "decision.before-write") throw new Error("dead");
    };
    stage.resolver.stop();
    await stage.commit(...(await stage.writers(160)));
    assert.equal(await stage.prepared(), 2);
    stage.faultPoint = () => {};
    await stage.restart();
    await stage.rest();
    assert.equal(await stage.seen(160), 0);
  });

  test("trap 18: damage in the middle of the log is found, and what the gap may hold is not rolled back", async () => {
    await dieAt("decision.after-sync", ...(await stage.writers(18)));
    await stage.restart();
    await stage.rest();
    const writers = await stage.writers(180);
    await dieAt("decision.after-sync", ...writers);
    // Another decision behind it, so that the damage is in the middle and no torn end.
    await stage.log.decide(gtridOf("f:c:1:zz"), "commit", []);
    const gids = (await Promise.all([gidsOn(0), gidsOn(1)])).flat();
    assert.equal(gids.length, 2);
    for (const name of readdirSync(stage.directory)) {
      const path = join(stage.directory, name);
      if (!/^\d/.test(name) && !name.includes("segment") && !name.endsWith(".log")) continue;
      const bytes = readFileSync(path);
      const at = bytes.indexOf(gids[0]!);
      if (at < 0) continue;
      bytes[at + 8]! ^= 1;
      writeFileSync(path, bytes);
    }
    await stage.restart();
    assert.deepEqual((await Promise.all([gidsOn(0), gidsOn(1)])).flat(), gids, "nobody touches them");
    assert.equal(stage.resolver.inDoubt.length, 2);
    assert.match(stage.resolver.inDoubt[0]!.reason, /decision/);
    assert.deepEqual(
      await stage.commit(...(await stage.writers(181))),
      { kind: "committed" },
      "the rest goes on",
    );
    for (const [i, shard] of shards.shards.entries()) await on(shard, `COMMIT PREPARED '${gids[i]}'`);
  });

  test("trap 18: after a sync that failed nothing is decided any more, for the next one might claim success", async () => {
    let failures = 0;
    stage.faultPoint = (point) => {
      if (point === "decision.before-sync" && ++failures === 1) throw new Error("input/output error");
    };
    await stage.commit(...(await stage.writers(182)));
    assert.match(faultOf(await stage.commit(...(await stage.writers(183)))) ?? "", /^commit\.log_/);
    assert.equal(failures, 1, "it was not tried again");
    await stage.restart();
    await stage.rest();
    assert.equal(await stage.seen(183), 0);
  });

  test("trap 19: the next start, under another epoch, finds every branch by the log and the shards alone", async () => {
    await dieAt("decision.after-sync", ...(await stage.writers(19)));
    const { epoch } = stage.log;
    const names = (await Promise.all([gidsOn(0), gidsOn(1)])).flat();
    for (const [i, name] of names.entries()) {
      const parts = parseGid(name)!;
      assert.deepEqual([parts.fleet, parts.coordinator, parts.epoch], ["f", "c", epoch]);
      assert.equal(gid(gtrid(parts), shards.shards[i]!.id), name);
      assert.equal(stage.log.lookup(gtrid(parts), parts.epoch), "commit");
    }
    await stage.restart();
    assert.notEqual(stage.log.epoch, epoch);
    await stage.rest();
    assert.equal(await stage.seen(19), 2);
  });
});

suite("traps of the decision on a shard", () => {
  let stage: FleetStage;

  beforeEach(async () => {
    stage = await FleetStage.open(shards);
  });
  afterEach(() => stage.close());

  test("trap 16: who comes late to commit loses to the abort that stands, and who comes late to abort to the commit", async () => {
    const one = await stage.join("one");
    const [other, anchor] = await stage.writers(one, 16);
    const runBehind = anchor.runBehind.bind(anchor);
    anchor.runBehind = async (first, values, ...rest) => {
      const control = new ShardControl(shardConfig(shards.shards[1]!));
      assert.equal(await decideOn(control, gtridOf(values[0]!), "abort", []), "abort");
      await control.close();
      return runBehind(first, values, ...rest);
    };
    assert.equal(faultOf(await stage.commit(one, other, anchor)), "commit.taken_over");
    assert.equal(await stage.seen(16), 0);
    const control = new ShardControl(shardConfig(shards.shards[1]!));
    const decided = gtridOf("f:one:1:1");
    await stage.query(1, `INSERT INTO pgxa.commit_decision VALUES ('${decided}', 'commit', '[]')`);
    assert.equal(await decideOn(control, decided, "abort", []), "commit");
    const rows = await stage.query(1, `SELECT outcome FROM pgxa.decision WHERE gtrid = '${decided}'`);
    assert.deepEqual(rows, [{ outcome: "commit" }]);
    await control.close();
  });

  test("trap 16: a decision whose answer is lost is read, and the client is told what stands", async () => {
    const one = await stage.join("one");
    for (const [value, loss] of [
      [161, "before"],
      [162, "after"],
    ] as const) {
      const [other, anchor] = await stage.writers(one, value);
      anchor.losses.set("COMMIT", loss);
      const outcome = await stage.commit(one, other, anchor);
      assert.equal(outcome.kind, loss === "before" ? "aborted" : "committed");
      await stage.rest(false);
      assert.equal(await stage.seen(value), loss === "before" ? 0 : 2);
    }
  });
});

suite("traps of reading beside live work", () => {
  const EAST = shardId("east");
  const TRANSACTION: Gtrid = gtrid({ fleet: "f", coordinator: "c", epoch: 100, seq: 1 });
  const GID = gid(TRANSACTION, EAST);

  /** One look at a shard while a commit goes on; what the shard was told, and what was tried to decide. */
  async function look(
    control: FakeControl,
    decisions: FakeDecisions,
    isRunning: () => boolean,
  ): Promise<readonly string[]> {
    const resolver = new Resolver({
      ...{ fleet: "f", coordinator: "c", controls: [control.asControl], decisions, isRunning },
      ...{ environment: new ManualEnvironment(), log: silentLog, intervalMs: 5_000 },
    });
    const decide = decisions.decide.bind(decisions);
    const tried: string[] = [];
    decisions.decide = (name, outcome, participants) => {
      tried.push(`decide ${outcome}`);
      return decide(name, outcome, participants);
    };
    await resolver.start();
    resolver.stop();
    return [...control.told, ...tried];
  }

  test("trap 17: a commit that is decided and ends while it is looked at is not taken for a dead one", async () => {
    const [control, decisions] = [new FakeControl(EAST), new FakeDecisions()];
    control.gids = [GID];
    // The first question, whichever that is, still finds it undecided and running; then it commits and is over.
    let isOver = false;
    const end = (): void => {
      if (!isOver) decisions.commits.set(TRANSACTION, []);
      isOver = true;
    };
    const { lookup } = decisions;
    decisions.lookup = (name, epoch) => {
      const found = lookup.call(decisions, name, epoch);
      end();
      return found;
    };
    const told = await look(control, decisions, () => {
      const wasOver = isOver;
      end();
      return !wasOver;
    });
    // Not even tried: the compare-and-set would stop it, and is the second guard.
    assert.deepEqual(told, []);
  });

  test("trap 17: what is prepared only after the look began, or is gone when it ends, is left to who is at it", async () => {
    const [control, decisions] = [new FakeControl(EAST), new FakeDecisions()];
    let readings = 0;
    control.beforePrepared = () => {
      readings += 1;
      control.gids = readings === 1 ? [GID] : [gid(gtrid({ ...parseGid(GID)!, seq: 2 }), EAST)];
    };
    assert.deepEqual(await look(control, decisions, () => false), []);
    assert.equal(readings, 2);
  });
});
