/** Rulings over played shards and a played log; on real shards: test/system/inDoubt*.test.ts. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type Gtrid, shardId } from "../../../src/base/brands.ts";
import { silentLog } from "../../../src/observe/log.ts";
import { gid, gtrid } from "../../../src/txn/gid.ts";
import type { HeuristicRecord, HeuristicRecords } from "../../../src/txn/heuristic/heuristicRecord.ts";
import { HeuristicReview } from "../../../src/txn/heuristic/heuristicReview.ts";
import { Resolution } from "../../../src/txn/heuristic/resolution.ts";
import { remarksOn } from "../../../src/txn/heuristic/risk.ts";
import { FakeControl, FakeDecisions } from "../fakeControl.ts";
import { ManualEnvironment, settle } from "../manualEnvironment.ts";

const EAST = shardId("east");
const WEST = shardId("west");
const WISH = { by: "ann", reason: "" };

/** Records in memory. */
class Records implements HeuristicRecords {
  readonly all: HeuristicRecord[] = [];
  fails = false;

  async list() {
    return this.all;
  }

  async add(record: HeuristicRecord) {
    if (this.fails) throw new Error("disk full");
    const standing = this.all.find(({ gtrid: name }) => name === record.gtrid);
    if (standing === undefined) this.all.push(record);
    return standing ?? record;
  }

  async note(record: HeuristicRecord, verdict: HeuristicRecord["verdict"]) {
    const at = this.all.findIndex(({ gtrid: name }) => name === record.gtrid);
    this.all[at] = { ...record, verdict };
  }
}

class Stage {
  readonly environment = new ManualEnvironment();
  readonly decisions = new FakeDecisions();
  readonly east = new FakeControl(EAST);
  readonly west = new FakeControl(WEST);
  readonly records = new Records();
  readonly running = new Set<Gtrid>();
  readonly errors: string[] = [];
  readonly resolution: Resolution;
  readonly review: HeuristicReview;

  constructor(t: TestContext) {
    const controls = [this.east.asControl, this.west.asControl];
    for (const control of controls) control.ask = async () => [];
    const { decisions, records } = this;
    const { clock } = this.environment;
    const log = { ...silentLog, error: (event: string) => void this.errors.push(event) };
    const common = { coordinator: "c", controls, decisions, records, clock, log };
    this.resolution = new Resolution({
      ...common,
      fleet: "f",
      youngMs: 30_000,
      epoch: () => 0,
      isRunning: (name) => this.running.has(name),
    });
    this.review = new HeuristicReview({ ...common, everyMs: 1_000 });
    t.after(() => this.review.stop());
  }

  /** A branch on each shard, of an epoch that the log knows nothing of. */
  prepare(seq: number, coordinator = "c"): Gtrid {
    const transaction = gtrid({ fleet: "f", coordinator, epoch: 1, seq });
    for (const control of [this.east, this.west]) control.gids.push(gid(transaction, control.id));
    return transaction;
  }
}

test("what this process commits is refused, and so is what only the next start can know", async (t) => {
  const stage = new Stage(t);
  const transaction = stage.prepare(1);
  stage.running.add(transaction);
  await assert.rejects(stage.resolution.resolve(transaction, { ...WISH, outcome: "abort" }), {
    id: "resolve.running",
  });
  stage.running.clear();
  stage.decisions.isSound = false;
  await assert.rejects(stage.resolution.resolve(transaction, { ...WISH, outcome: "abort" }), {
    id: "resolve.restart_first",
  });
  assert.deepEqual([...stage.east.told, ...stage.west.told, ...stage.records.all], []);
});

test("names of others, and what is nowhere prepared, are refused with what was looked at", async (t) => {
  const { resolution, west } = new Stage(t);
  for (const name of ["", "x", "other:c:1:1"])
    await assert.rejects(resolution.look(name), { id: "resolve.no_gtrid" });
  await assert.rejects(resolution.look("f:c:1:1"), {
    id: "resolve.nothing_prepared",
    detail: 'Looked for on "east", "west".',
  });
  west.beforePrepared = () => {
    throw new Error("connection refused");
  };
  await assert.rejects(resolution.look("f:c:1:1"), {
    id: "resolve.unreachable",
    detail: 'Looked for on "east". Not asked: "west": connection refused.',
  });
});

test("nothing is done that could not be recorded", async (t) => {
  const stage = new Stage(t);
  const transaction = stage.prepare(1);
  stage.records.fails = true;
  await assert.rejects(stage.resolution.resolve(transaction, { ...WISH, outcome: "commit" }), {
    id: "resolve.not_recorded",
  });
  assert.deepEqual(stage.east.told, []);
});

test("what a shard refuses, or another is ending, is told, and ended again later as it was said", async (t) => {
  const { resolution, east, west, records } = new Stage(t);
  const transaction = gtrid({ fleet: "f", coordinator: "c", epoch: 1, seq: 1 });
  const [one, two] = [gid(transaction, EAST), gid(transaction, WEST)];
  east.gids.push(one);
  west.gids.push(two);
  east.finishes.set(one, { kind: "refused", reason: "permission denied (42501)" });
  west.finishes.set(two, { kind: "busy" });
  const ended = await resolution.resolve(transaction, { ...WISH, outcome: "commit" });
  assert.match(
    ended[0]!.says,
    /permission denied \(42501\); as the role that prepared it.*COMMIT PREPARED 'pgxa:/,
  );
  assert.deepEqual(
    ended.map(({ isDone }) => isDone),
    [false, false],
  );
  await assert.rejects(resolution.resolve(transaction, { ...WISH, outcome: "abort" }), {
    id: "resolve.decided",
    detail: "Ann has said so before.",
  });
  east.finishes.clear();
  west.finishes.set(two, new Error("connection lost"));
  assert.equal(await resolution.endAgain(new Set([transaction])), true);
  west.finishes.set(two, { kind: "missing" });
  assert.equal(await resolution.endAgain(new Set([transaction])), false);
  assert.deepEqual([east.gids, records.all.length], [[], 1]);
});

test("what another coordinator has is a guess that names it, and whoever else is there", async (t) => {
  const { resolution, east } = new Stage(t);
  const transaction = gtrid({ fleet: "f", coordinator: "two", epoch: 1, seq: 1 });
  east.gids.push(gid(transaction, EAST));
  east.asControl.ask = async () => [{}];
  const found = await resolution.look(transaction);
  const says = remarksOn(found, "abort", resolution.rule(found, "abort") as "heuristic").map(
    (one) => one.says,
  );
  assert.match(says.join("\n"), /it is in the decision log of coordinator "two"/);
  assert.match(
    says.join("\n"),
    /another pgxa lives and is connected to "east": if that is coordinator "two"/,
  );
  assert.equal(await resolution.known(gid(transaction, EAST)), "unknowable");
});

test("an outcome that a restored log contradicts is reported once, and kept as that", async (t) => {
  const stage = new Stage(t);
  const transaction = stage.prepare(1);
  await stage.resolution.resolve(transaction, { ...WISH, outcome: "abort" });
  stage.review.start();
  await settle();
  assert.equal(stage.review.counts.unproven, 1);
  stage.decisions.commits.set(transaction, []);
  await stage.review.look();
  await stage.review.look();
  assert.deepEqual([stage.errors, stage.review.counts.contradicted], [["heuristic.contradicted"], 1]);
});
