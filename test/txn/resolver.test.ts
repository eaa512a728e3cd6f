import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { backendPid, type Gtrid, shardId, xidOf } from "../../src/base/brands.ts";
import type { Log } from "../../src/observe/log.ts";
import { gid, gtrid } from "../../src/txn/gid.ts";
import { Resolver } from "../../src/txn/resolver.ts";
import { FakeControl, FakeDecisions } from "./fakeControl.ts";
import { ManualEnvironment, settle } from "./manualEnvironment.ts";

const EAST = shardId("east");
const WEST = shardId("west");
const INTERVAL_MS = 5_000;

const transactionOf = (seq: number, epoch = 100, coordinator = "c"): Gtrid =>
  gtrid({ fleet: "f", coordinator, epoch, seq });

/** A resolver over two shards, all played. */
class Stage {
  readonly environment = new ManualEnvironment();
  readonly decisions = new FakeDecisions();
  readonly east = new FakeControl(EAST);
  readonly west = new FakeControl(WEST);
  readonly running = new Set<Gtrid>();
  readonly events: string[] = [];
  readonly resolver: Resolver;

  constructor(t: TestContext) {
    const note = (event: string, fields: object = {}) =>
      void this.events.push(`${event} ${JSON.stringify(fields)}`);
    const log: Log = { debug: note, info: note, warn: note, error: note, setLevel() {} };
    this.resolver = new Resolver({
      fleet: "f",
      coordinator: "c",
      controls: [this.east.asControl, this.west.asControl],
      decisions: this.decisions,
      isRunning: (transaction) => this.running.has(transaction),
      environment: this.environment,
      log,
      intervalMs: INTERVAL_MS,
    });
    t.after(() => this.resolver.stop());
  }

  prepare(transaction: Gtrid, ...controls: readonly FakeControl[]): void {
    for (const control of controls) control.gids.push(gid(transaction, control.id));
  }

  decide(transaction: Gtrid): void {
    const participants = [EAST, WEST].map((shard, i) => {
      return { shard, gid: gid(transaction, shard), xid: xidOf(`7${i}`), server: "1/00000001" };
    });
    this.decisions.commits.set(transaction, participants);
  }

  count(event: string): number {
    return this.events.filter((line) => line.startsWith(event)).length;
  }
}

test("at start what was decided is committed and concluded, the rest is rolled back", async (t) => {
  const stage = new Stage(t);
  const [decided, absent] = [transactionOf(1), transactionOf(2)];
  stage.decide(decided);
  stage.prepare(decided, stage.east, stage.west);
  stage.prepare(absent, stage.west);
  await stage.resolver.start();
  assert.deepEqual(stage.east.told, [`COMMIT ${gid(decided, EAST)}`]);
  assert.deepEqual(stage.west.told, [`COMMIT ${gid(decided, WEST)}`, `ROLLBACK ${gid(absent, WEST)}`]);
  assert.deepEqual(stage.decisions.concluded, [decided]);
  assert.ok(stage.decisions.aborts.has(absent), "nobody can commit it any more");
  assert.equal(stage.resolver.resolved, 3);
  assert.deepEqual(stage.resolver.inDoubt, []);
});

test("what runs here, what another coordinator decides and what is none of the fleet's is left alone", async (t) => {
  const stage = new Stage(t);
  stage.prepare(transactionOf(1), stage.east);
  stage.running.add(transactionOf(1));
  stage.prepare(transactionOf(2, 100, "other"), stage.east);
  stage.east.gids.push("pgxa:g:c:2s:1::east", "pgxa:f:odd name:1:1::east", "pgxa:f:::::");
  await stage.resolver.start();
  assert.deepEqual(stage.east.told, []);
  const reason = 'it belongs to coordinator "other", in whose decision log its outcome is';
  assert.deepEqual(
    stage.resolver.inDoubt.map((one) => [one.gid, one.reason]),
    [[gid(transactionOf(2, 100, "other"), EAST), reason]],
  );
  assert.deepEqual(
    [stage.resolver.nextLookMs(EAST), stage.resolver.nextLookMs(shardId("none"))],
    [INTERVAL_MS, 0],
  );
  stage.running.clear();
  await stage.environment.pass(INTERVAL_MS);
  assert.deepEqual(stage.east.told, [`ROLLBACK ${gid(transactionOf(1), EAST)}`]);
});

test("what a coordinator of the same name began that started later is left to its log", async (t) => {
  const stage = new Stage(t);
  stage.prepare(transactionOf(1, stage.decisions.epoch + 1), stage.east);
  stage.prepare(transactionOf(1, stage.decisions.epoch), stage.east);
  await stage.resolver.start();
  assert.deepEqual(stage.east.told, [`ROLLBACK ${gid(transactionOf(1, stage.decisions.epoch), EAST)}`]);
});

test("a branch that is gone at the second reading is not touched", async (t) => {
  const stage = new Stage(t);
  stage.prepare(transactionOf(1), stage.east);
  let readings = 0;
  stage.east.beforePrepared = () => {
    if ((readings += 1) === 2) stage.east.gids = [];
  };
  await stage.resolver.start();
  assert.deepEqual(stage.east.told, []);
});

test("where the log cannot know, nothing is touched, and it is shown and said once", async (t) => {
  const stage = new Stage(t);
  stage.prepare(transactionOf(1, 99), stage.east);
  await stage.resolver.start();
  await stage.environment.pass(5 * INTERVAL_MS);
  assert.deepEqual(stage.east.told, []);
  const [doubt] = stage.resolver.inDoubt;
  assert.deepEqual(
    [doubt?.gid, doubt?.shard, doubt?.preparedAtMs],
    [gid(transactionOf(1, 99), EAST), EAST, 5],
  );
  assert.equal(stage.count("resolver.in_doubt"), 1);
});

test("a PREPARE that lands after everybody stopped waiting is found by a later sweep", async (t) => {
  const stage = new Stage(t);
  await stage.resolver.start();
  stage.prepare(transactionOf(1), stage.east);
  await stage.environment.pass(INTERVAL_MS);
  assert.deepEqual(stage.east.told, [`ROLLBACK ${gid(transactionOf(1), EAST)}`]);
});

test("a shard that is down holds up nobody else and is tried again, at growing intervals", async (t) => {
  const stage = new Stage(t);
  let tries = 0;
  stage.east.beforePrepared = () => {
    tries += 1;
    throw new Error("connection refused");
  };
  stage.prepare(transactionOf(1), stage.east, stage.west);
  await stage.resolver.start();
  assert.deepEqual(stage.west.told, [`ROLLBACK ${gid(transactionOf(1), WEST)}`]);
  await stage.environment.pass(60_000);
  assert.ok(tries > 60_000 / 525 && tries < 60_000 / 200, `${tries} tries`);
  assert.equal(stage.count("resolver.failed"), 1);
  stage.east.beforePrepared = () => {};
  await stage.environment.pass(525); // however long it was down
  assert.deepEqual(stage.east.told, [`ROLLBACK ${gid(transactionOf(1), EAST)}`]);
});

test("the start waits two seconds at most for a shard that does not answer", async (t) => {
  const stage = new Stage(t);
  stage.east.beforePrepared = () => new Promise(() => {});
  let isStarted = false;
  const started = stage.resolver.start().then(() => (isStarted = true));
  await stage.environment.pass(1_999);
  assert.equal(isStarted, false);
  await stage.environment.pass(1);
  await started;
});

test("what somebody else is finishing is tried again soon", async (t) => {
  const stage = new Stage(t);
  stage.prepare(transactionOf(1), stage.east);
  stage.east.finishes.set(gid(transactionOf(1), EAST), { kind: "busy" });
  await stage.resolver.start();
  assert.match(stage.resolver.inDoubt[0]!.reason, /somebody else/);
  stage.east.finishes.clear();
  await stage.environment.pass(200);
  assert.equal(stage.east.told.length, 2);
  assert.deepEqual(stage.resolver.inDoubt, []);
});

test("a branch that the shard refuses to finish is shown with the reason and holds up none behind it", async (t) => {
  const stage = new Stage(t);
  stage.prepare(transactionOf(1), stage.east);
  stage.prepare(transactionOf(2), stage.east);
  stage.east.finishes.set(gid(transactionOf(1), EAST), {
    kind: "refused",
    reason: "permission denied (42501)",
  });
  await stage.resolver.start();
  assert.deepEqual(stage.east.gids, [gid(transactionOf(1), EAST)]);
  assert.match(stage.resolver.inDoubt[0]!.reason, /ROLLBACK PREPARED was refused: permission denied/);
});

test("a missing branch of a commit counts as applied only by evidence", async (t) => {
  const stage = new Stage(t);
  stage.decide(transactionOf(1));
  stage.prepare(transactionOf(1), stage.east);
  stage.west.evidenceSaid = "in progress";
  await stage.resolver.start();
  assert.deepEqual(stage.decisions.concluded, []);
  stage.west.evidenceSaid = "committed";
  await stage.environment.pass(200);
  assert.deepEqual(stage.decisions.concluded, [transactionOf(1)]);
});

for (const evidence of ["aborted", "forgotten", "other server"] as const) {
  test(`a missing branch with evidence "${evidence}" is reported loudly, shown, and never counted as done`, async (t) => {
    const stage = new Stage(t);
    stage.decide(transactionOf(1));
    stage.east.evidenceSaid = evidence;
    await stage.resolver.start();
    await stage.environment.pass(5 * INTERVAL_MS);
    assert.equal(stage.count("resolver.evidence_lost"), 1);
    assert.deepEqual(stage.decisions.concluded, []);
    const [doubt] = stage.resolver.inDoubt;
    assert.deepEqual([doubt?.shard, doubt?.preparedAtMs], [EAST, null]);
    assert.ok(doubt!.reason.includes(evidence));
  });
}

test("42704 to the resolver's own COMMIT PREPARED is settled by evidence in the next sweep", async (t) => {
  const stage = new Stage(t);
  stage.decide(transactionOf(1));
  stage.prepare(transactionOf(1), stage.east);
  stage.east.finishes.set(gid(transactionOf(1), EAST), { kind: "missing" });
  stage.east.evidenceSaid = "aborted";
  await stage.resolver.start();
  stage.east.gids = [];
  await stage.environment.pass(200);
  assert.equal(stage.count("resolver.evidence_lost"), 1);
});

test("a backend that may still be preparing is fenced before the shard is looked at", async (t) => {
  const stage = new Stage(t);
  await stage.resolver.start();
  stage.prepare(transactionOf(1), stage.east);
  stage.resolver.fence(EAST, backendPid(77), "2026-01-01 00:00:00+00");
  await settle();
  assert.deepEqual(stage.east.told, ["fence 77", `ROLLBACK ${gid(transactionOf(1), EAST)}`]);
  assert.equal(stage.count("branch.fenced"), 1);
});

test("a fence that fails is tried again until it succeeds and holds up nothing else", async (t) => {
  const stage = new Stage(t);
  await stage.resolver.start();
  stage.east.fenceFails = new Error("still there");
  stage.prepare(transactionOf(1), stage.east);
  stage.resolver.fence(EAST, backendPid(77), "2026-01-01 00:00:00+00");
  await settle();
  assert.deepEqual(stage.east.gids, []);
  await stage.environment.pass(300);
  stage.east.fenceFails = null;
  await stage.environment.pass(INTERVAL_MS);
  const fences = stage.east.told.filter((line) => line === "fence 77").length;
  assert.ok(fences >= 3, `${fences} fences`);
  await stage.environment.pass(10 * INTERVAL_MS);
  assert.equal(stage.east.told.filter((line) => line === "fence 77").length, fences);
});

test("woken during a sweep the resolver looks again at once", async (t) => {
  const stage = new Stage(t);
  let release = () => {};
  stage.east.beforePrepared = () => new Promise<void>((resolve) => (release = resolve));
  const started = stage.resolver.start();
  stage.east.beforePrepared = () => {};
  stage.resolver.wake(EAST);
  release();
  await started;
  stage.prepare(transactionOf(1), stage.east);
  await stage.environment.pass(0);
  assert.deepEqual(stage.east.told, [`ROLLBACK ${gid(transactionOf(1), EAST)}`]);
  stage.resolver.wake(shardId("nowhere"));
});

test("a stopped resolver does nothing any more", async (t) => {
  const stage = new Stage(t);
  await stage.resolver.start();
  stage.resolver.stop();
  stage.prepare(transactionOf(1), stage.east);
  stage.resolver.wake(EAST);
  await stage.environment.pass(10 * INTERVAL_MS);
  assert.deepEqual(stage.east.told, []);
  assert.equal(stage.environment.nextMs, null);
});
