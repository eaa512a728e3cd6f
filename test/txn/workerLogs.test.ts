/**
 * The decision logs of workers, on one simulated disk: they are started, killed and started again in whatever order, alone
 * and all together, in whatever number, while they decide and take over each other's logs. A failure prints its seed;
 * `SEED=…` runs that one.
 */
import assert from "node:assert/strict";
import { dirname } from "node:path";
import { test } from "node:test";
import { type Gtrid, gidOf, shardId, xidOf } from "../../src/base/brands.ts";
import { Fault } from "../../src/base/fault.ts";
import { LogTurns, openInTurn } from "../../src/fleet/logTurns.ts";
import { silentLog } from "../../src/observe/log.ts";
import { FileLog } from "../../src/txn/fileLog/fileLog.ts";
import { gtrid, parseGtrid } from "../../src/txn/gid.ts";
import { CrewStage, type StagedWorker } from "../fleet/crewStage.ts";
import { SeededRandom } from "../sim/seededRandom.ts";
import { type DiskProcess, SimulatedDisk } from "../world/simulatedDisk.ts";
import { ManualEnvironment } from "./manualEnvironment.ts";

const DIRECTORY = "/var/pgxa";
const SEEDS = Number(process.env.SEEDS ?? 150);
const STEPS = 80;
const SIZE_MAX = 4;

/**
 * What is known of a transaction. `running`: nobody was told anything, and it may be decided or not. `told`: its worker
 * was told commit. `found…`: what was said of it after its worker's death. `concluded`: every shard has applied it.
 */
type Fate = "running" | "told" | "foundCommitted" | "foundAbsent" | "concluded";

interface Worker {
  readonly staged: StagedWorker;
  readonly process: DiskProcess;
  /** Null while it is opened. */
  log: FileLog | null;
}

class World {
  readonly random: SeededRandom;
  readonly disk: SimulatedDisk;
  readonly fates = new Map<Gtrid, Fate>();
  readonly workers = new Map<number, Worker>();
  /** Of workers that live. */
  readonly failures: unknown[] = [];
  #stage = new CrewStage(SIZE_MAX);
  #size = 1;
  #seq = 0;
  #wallMs = 10_000;
  readonly epochs = new Set<number>();

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
    this.disk = new SimulatedDisk(this.random, () => this.#pause());
    this.disk.faults.shortWrites = 0.1;
  }

  async #pause(): Promise<void> {
    for (let i = this.random.below(4); i > 0; i -= 1) await Promise.resolve();
  }

  /** A parent, for so many workers. */
  begin(size: number): void {
    this.#stage = new CrewStage(size);
    this.#size = size;
    const { clock } = new ManualEnvironment();
    new LogTurns({ ...clock, wallMs: () => this.#now() }).serve(this.#stage.crew);
    for (let index = 0; index < size; index += 1) this.start(index);
  }

  /** It is set back now and then. */
  #now(): number {
    this.#wallMs = Math.max(1, this.#wallMs + this.random.below(20) - 8);
    return this.#wallMs;
  }

  start(index: number): void {
    const worker: Worker = { staged: this.#stage.join(index), process: this.disk.process(), log: null };
    this.workers.set(index, worker);
    this.#watch(worker, this.#open(worker));
  }

  async #open(worker: Worker): Promise<void> {
    const { staged, process: disk } = worker;
    const options = { directory: DIRECTORY, disk, log: silentLog, faultPoint() {}, segmentBytesMax: 2_000 };
    const log = await openInTurn(staged.membership, null, (after) =>
      FileLog.open({
        ...options,
        ...(after === null ? { wallMs: this.#now() } : { wallMs: 0, heirAfter: after }),
      }),
    ).catch((error: unknown) => {
      if (error instanceof Fault && error.id === "fleet.gone") return null;
      throw error;
    });
    if (log === null || !disk.isAlive) return;
    assert.ok(!this.epochs.has(log.epoch), "no epoch is given twice");
    this.epochs.add(log.epoch);
    worker.log = log;
  }

  kill(index: number): void {
    const worker = this.workers.get(index);
    if (worker === undefined) return;
    worker.process.kill();
    this.workers.delete(index);
    this.#stage.leave(worker.staged);
  }

  killAll(): void {
    for (const index of [...this.workers.keys()]) this.kill(index);
  }

  step(): void {
    const { random } = this;
    const index = random.below(this.#size);
    const worker = this.workers.get(index);
    const chance = random.fraction();
    if (worker === undefined) {
      if (chance < 0.5) this.start(index);
    } else if (chance < 0.08) this.kill(index);
    else if (worker.log !== null) this.#work(worker, worker.log, chance);
    if (random.chance(0.02)) this.#restartAll();
  }

  #work(worker: Worker, log: FileLog, chance: number): void {
    if (chance < 0.3) this.#watch(worker, log.survey());
    else if (chance < 0.4) this.#concludeSome(log);
    else this.#watch(worker, this.#decide(worker, log));
  }

  async #decide({ process: disk }: Worker, log: FileLog): Promise<void> {
    this.#seq += 1;
    const name = gtrid({ fleet: "f", coordinator: "c", epoch: log.epoch, seq: this.#seq });
    this.fates.set(name, "running");
    if (this.random.chance(0.3)) return; // it waits for votes
    const participant = {
      shard: shardId("s"),
      gid: gidOf(`pgxa:${name}::s`),
      xid: xidOf("7"),
      server: "1/1",
    };
    await log.decide(name, "commit", [participant]);
    if (disk.isAlive) this.fates.set(name, "told");
  }

  #concludeSome(log: FileLog): void {
    for (const { gtrid: name } of log.unconcluded()) {
      if (this.fates.get(name) === "running" || this.random.chance(0.7)) continue;
      log.conclude(name);
      this.fates.set(name, "concluded");
    }
  }

  /** pgxa ends as a whole, perhaps with the machine, and comes back with another number of workers. */
  #restartAll(): void {
    if (this.random.chance(0.5)) this.disk.crash();
    this.killAll();
    this.begin(1 + this.random.below(SIZE_MAX));
  }

  /** What a dead process runs into is nobody's. */
  #watch({ process: disk }: Worker, work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      if (disk.isAlive) this.failures.push(error);
    });
  }

  /** Who lives is left alone; whoever answers for a dead one knows what was decided. */
  check(): void {
    for (const failure of this.failures) throw failure;
    const opened = [...this.workers.values()].filter(({ log }) => log !== null);
    for (const [name, fate] of this.fates) {
      const { epoch } = parseGtrid(name)!;
      const answering = opened.filter(({ log }) => log!.answersFor(epoch));
      const owner = opened.find(({ log }) => log!.epoch === epoch);
      const says = `${name}, ${fate}`;
      assert.ok(answering.length <= 1, `${says}: one answers at most`);
      if (owner !== undefined) assert.deepEqual(answering, [owner], `${says}: its own worker answers`);
      for (const { log } of answering)
        this.#checkLookup(name, fate, log!.lookup(name, epoch), owner === undefined);
    }
  }

  #checkLookup(name: Gtrid, fate: Fate, found: string, isDead: boolean): void {
    const says = `${name}, ${fate}: ${found}`;
    if (fate === "told" || fate === "foundCommitted") assert.equal(found, "commit", says);
    if (fate === "foundAbsent") assert.equal(found, "absent", says);
    if (!isDead) return;
    assert.notEqual(found, "unknowable", says);
    if (fate === "running") this.fates.set(name, found === "commit" ? "foundCommitted" : "foundAbsent");
  }

  /** All is quiet, and everybody has looked: nothing is left without somebody who answers for it. */
  async settle(): Promise<void> {
    for (let index = 0; index < this.#size; index += 1) if (!this.workers.has(index)) this.start(index);
    const isOpen = (): boolean => [...this.workers.values()].every(({ log }) => log !== null);
    for (let turns = 0; turns < 1_000 && !isOpen(); turns += 1) await pass(100);
    assert.ok(isOpen(), "all have opened their logs");
    for (let round = 0; round < 2; round += 1)
      for (const { log } of this.workers.values()) await log!.survey();
    this.check();
    const logs = [...this.workers.values()].map(({ log }) => log!);
    for (const name of this.fates.keys()) {
      const { epoch } = parseGtrid(name)!;
      assert.equal(logs.filter((log) => log.answersFor(epoch)).length, 1, `${name}: one answers`);
    }
  }
}

async function pass(turns: number): Promise<void> {
  for (let i = 0; i < turns; i += 1) await Promise.resolve();
}

async function run(seed: number): Promise<void> {
  const world = new World(seed);
  try {
    await world.disk.process().own(dirname(DIRECTORY));
    world.begin(1 + world.random.below(SIZE_MAX));
    for (let step = 0; step < STEPS; step += 1) {
      world.step();
      await pass(world.random.below(60));
      world.check();
    }
    await world.settle();
  } catch (error) {
    throw new Error(`SEED=${seed}: ${String(error)}`, { cause: error });
  }
}

test("whichever workers die and come back, one process answers for each transaction, and knows what was decided", async () => {
  if (process.env.SEED !== undefined) return run(Number(process.env.SEED));
  for (let seed = 1; seed <= SEEDS; seed += 1) await run(seed);
});
