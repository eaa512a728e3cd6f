/**
 * The decision log of files on a disk that loses what disks lose: thousands of crashes, each followed by a start that
 * must find what was told. A failure prints its seed; `SEED=… ROUNDS=…` runs that one.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Gtrid, gidOf, shardId, xidOf } from "../../src/base/brands.ts";
import { Fault } from "../../src/base/fault.ts";
import { silentLog } from "../../src/observe/log.ts";
import type { Participant } from "../../src/txn/decisionLog.ts";
import { FileLog } from "../../src/txn/fileLog/fileLog.ts";
import { gtrid, parseGtrid } from "../../src/txn/gid.ts";
import { SeededRandom } from "../sim/seededRandom.ts";
import { type DiskProcess, SimulatedDisk } from "../world/simulatedDisk.ts";

const DIRECTORY = "/var/pgxa";
const SEEDS = Number(process.env.SEEDS ?? 250);
const ROUNDS = Number(process.env.ROUNDS ?? 12);

/**
 * What somebody knows of a transaction. `told`: the log said commit. `unsure`: it said nothing, or that it failed.
 * `refused`: it said that there is no decision and will be none. `concluded`: no longer of interest.
 */
type Fate = "told" | "unsure" | "refused" | "concluded" | "never" | "seenCommitted" | "seenAbsent";

interface Running {
  readonly process: DiskProcess;
  readonly log: FileLog;
}

class World {
  readonly random: SeededRandom;
  readonly disk: SimulatedDisk;
  readonly fates = new Map<Gtrid, Fate>();
  readonly epochs: number[] = [];
  running: Running[] = [];
  #seq = 0;
  #wallMs = 1_000;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
    this.disk = new SimulatedDisk(this.random, () => this.#pause());
    this.disk.faults.shortWrites = 0.1;
  }

  async #pause(): Promise<void> {
    for (let i = this.random.below(4); i > 0; i -= 1) await Promise.resolve();
  }

  /** Starts a process; null if it could not open the log. */
  async start(heirAfter?: number): Promise<Running | null> {
    const process = this.disk.process();
    this.#wallMs = Math.max(1, this.#wallMs + this.random.below(20) - 5);
    try {
      const log = await FileLog.open({
        ...{ directory: DIRECTORY, disk: process, log: silentLog, faultPoint() {} },
        ...{ wallMs: this.#wallMs, segmentBytesMax: 2_000 },
        ...(heirAfter === undefined ? {} : { heirAfter }),
      });
      assert.ok(log.epoch > Math.max(0, ...this.epochs), "epochs grow");
      this.epochs.push(log.epoch);
      const running = { process, log };
      this.running.push(running);
      return running;
    } catch (error) {
      if (!isSystemError(error)) throw error;
      process.kill();
      return null;
    }
  }

  newName(epoch: number): Gtrid {
    this.#seq += 1;
    return gtrid({ fleet: "f", coordinator: "c", epoch, seq: this.#seq });
  }

  async decide({ process, log }: Running): Promise<void> {
    const name = this.newName(log.epoch);
    if (this.random.chance(0.1)) return void this.fates.set(name, "never");
    this.fates.set(name, "unsure");
    try {
      await log.decide(name, "commit", participantsOf(name, 1 + this.random.below(8)));
      if (!process.isAlive) return; // nobody was told
      this.fates.set(name, "told");
      assert.equal(log.lookup(name, log.epoch), "commit");
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      assert.equal(log.isSound, false);
    }
  }

  concludeSome({ log }: Running): void {
    for (const { gtrid: name } of log.unconcluded()) {
      if (this.random.chance(0.5)) continue;
      log.conclude(name);
      this.fates.set(name, "concluded");
    }
  }

  /** What a process that answers for everything says must be what was told. */
  check({ log }: Running): void {
    const unconcluded = new Set(log.unconcluded().map((decision) => decision.gtrid));
    for (const [name, fate] of this.fates) {
      const { epoch } = parseGtrid(name)!;
      const found = log.lookup(name, epoch);
      const says = `${name}, ${fate}: ${found}`;
      if (!log.answersFor(epoch)) continue;
      assert.notEqual(found, "unknowable", says);
      if (fate === "told" || fate === "seenCommitted") {
        assert.equal(found, "commit", says);
        assert.ok(unconcluded.has(name), says);
        assert.deepEqual(log.unconcludedParticipants(name)?.[0]?.gid, gidOf(`pgxa:${name}::s0`));
      }
      if (fate === "never" || fate === "refused" || fate === "seenAbsent")
        assert.equal(found, "absent", says);
      if (fate === "unsure") this.fates.set(name, found === "commit" ? "seenCommitted" : "seenAbsent");
    }
  }

  kill(one: Running): void {
    one.process.kill();
    this.running = this.running.filter((other) => other !== one);
  }

  crash(): void {
    this.disk.crash();
    this.running = [];
  }
}

const isSystemError = (error: unknown): boolean => error instanceof Error && "code" in error;

const participantsOf = (name: Gtrid, count: number): readonly Participant[] =>
  Array.from({ length: count }, (_, i) => ({
    shard: shardId(`s${i}`),
    gid: gidOf(`pgxa:${name}::s${i}`),
    xid: xidOf("731"),
    server: "7300000000000000000/00000001",
  }));

/** Some work, of which the last is cut short by a crash. */
async function work(world: World): Promise<void> {
  const { random, disk } = world;
  const turns = 1 + random.below(8);
  for (let turn = 0; turn < turns && world.running.length > 0; turn += 1) {
    disk.faults.syncErrors = random.chance(0.1) ? 0.2 : 0;
    disk.faults.writeErrors = random.chance(0.1) ? 0.2 : 0;
    disk.faults.nameErrors = random.chance(0.05) ? 0.2 : 0;
    disk.faults.capacityBytes = random.chance(0.1) ? disk.usedBytes + random.below(3_000) : Infinity;
    const one = random.pick(world.running);
    const decisions = Array.from({ length: random.below(6) }, () => world.decide(one));
    world.concludeSome(one);
    if (random.chance(0.2)) await one.log.survey().catch(ignoreFailure);
    if (random.chance(0.1)) await world.start(one.log.latestEpoch);
    if (turn === turns - 1 && random.chance(0.7)) return void (await pass(random.below(30)));
    await Promise.all(decisions);
  }
}

function ignoreFailure(error: unknown): void {
  if (!isSystemError(error) && !(error instanceof Fault)) throw error;
}

async function pass(turns: number): Promise<void> {
  for (let i = 0; i < turns; i += 1) await Promise.resolve();
}

/** Everything ends; the next start must find what was told. */
async function end(world: World): Promise<void> {
  const { random } = world;
  Object.assign(world.disk.faults, { syncErrors: 0, writeErrors: 0, nameErrors: 0, capacityBytes: Infinity });
  if (random.chance(0.15)) {
    for (const one of world.running) await one.log.close();
    world.running = [];
  } else if (random.chance(0.2)) {
    for (const one of [...world.running]) world.kill(one);
  } else world.crash();
}

async function run(seed: number): Promise<void> {
  const world = new World(seed);
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      const first = await world.start();
      assert.ok(first !== null, "without faults it starts");
      world.check(first);
      await work(world);
      await end(world);
    }
    const last = await world.start();
    world.check(last!);
    await last!.log.close();
  } catch (error) {
    throw new Error(`SEED=${seed}: ${String(error)}`, { cause: error });
  }
}

test("whatever a crash leaves of the disk, what was told is found, and nothing that was not", async () => {
  if (process.env.SEED !== undefined) return run(Number(process.env.SEED));
  for (let seed = 1; seed <= SEEDS; seed += 1) await run(seed);
});
