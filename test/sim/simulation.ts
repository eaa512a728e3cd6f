/**
 * Many transactions at a time in one simulated world, with faults, all by one seed.
 *
 * A world is begun, clients of its processes commit what they have written, and whatever may happen next is chosen by
 * chance: a statement arrives, an answer is heard, a disk has synced, a connection is lost, a process or a shard crashes.
 * After each step nothing may be wrong; then faults stop, all comes to rest, and everything must be resolved.
 */
import { RandomChoices, type Transition, type TransitionKind } from "../world/choice.ts";
import { brokenNow } from "../world/invariants.ts";
import { comeToRest } from "../world/rest.ts";
import type { BranchPlan } from "../world/simulatedProcess.ts";
import { type Budget, SHARD_NAMES, World, type WorldOptions } from "../world/world.ts";
import { LogOnDisk } from "./logOnDisk.ts";
import { SeededRandom } from "./seededRandom.ts";

export type LogKind = "file" | "shard";

/** What a test plants. */
export type Planted = Pick<WorldOptions, "rules" | "alterations">;

export interface SimulationOptions {
  /** Says all that happens. */
  readonly seed: number;
  readonly transactions: number;
  readonly planted?: Planted;
  /** Called with each step, in words. */
  readonly onStep?: (words: string) => void;
}

export interface Simulated {
  readonly log: LogKind;
  readonly problems: readonly string[];
  readonly steps: number;
  readonly faults: Readonly<Partial<Record<TransitionKind, number>>>;
  readonly outcomes: Readonly<Record<"committed" | "aborted" | "unknown" | "unheard", number>>;
}

/** How many transactions may be under way at once. */
const CONCURRENT_MAX = 6;
/** How likely it is that a client commits next, while other things move. */
const OFTEN = 0.08;
const MOVES: ReadonlySet<TransitionKind> = new Set(["execute", "hear", "sync"]);
const REFUSES: readonly BranchPlan["refuses"][] = [...Array(12).fill(null), "prepare", "commit"];
const FAULTS: readonly TransitionKind[] = ["crash", "shardCrash", "loss", "duplicate", "expiry"];
/** What goes off by itself, as often as chance will have it. */
const RECURRING: Budget = { sweep: 1_000, renewal: 1_000, oldLook: 1_000, slowLook: 1_000 };
const FAULTS_MAX = 12;

/** How often one is chosen in comparison with others. */
const WEIGHTS: Readonly<Partial<Record<TransitionKind, number>>> = {
  execute: 20,
  hear: 20,
  sync: 20,
  timer: 10,
  late: 4,
  vanish: 1,
  restart: 2,
  sweep: 0.4,
  renewal: 0.2,
  oldLook: 0.2,
  slowLook: 0.2,
  crash: 0.15,
  shardCrash: 0.1,
  failover: 0.02,
  loss: 0.2,
  duplicate: 0.2,
  expiry: 0.2,
};

export async function simulate(options: SimulationOptions): Promise<Simulated> {
  const random = new SeededRandom(options.seed);
  const log: LogKind = random.chance(0.5) ? "file" : "shard";
  const world = new World({
    shards: 3 + random.below(2),
    processes: ["p", "q", "r"].slice(0, 1 + random.below(3)),
    log,
    budget: budgetOf(random, log),
    removesOld: true,
    commitAck: random.chance(0.8) ? "applied" : "decided",
    disk: () => new LogOnDisk(random),
    ...options.planted,
  });
  const { onStep = () => {} } = options;
  const choices = new RandomChoices(
    () => random.fraction(),
    ({ kind }: Transition) => WEIGHTS[kind] ?? 0,
  );
  await world.start();
  const run = new Run(world, random, options.transactions, onStep);
  const problems = await run.play((transitions) => choices.choose(transitions));
  const isWell = problems.length === 0;
  if (isWell) onStep("faults are over, all comes to rest");
  const atRest = isWell ? await comeToRest(world) : problems;
  return { log, problems: atRest, steps: run.steps, faults: faultsOf(world), outcomes: outcomesOf(world) };
}

/** Of each fault none, or some. */
function budgetOf(random: SeededRandom, log: LogKind): Budget {
  const kinds: readonly TransitionKind[] = random.chance(0.1) ? [...FAULTS, "failover"] : FAULTS;
  const counts = kinds.map((kind) => [kind, random.chance(0.3) ? 0 : 1 + random.below(FAULTS_MAX)] as const);
  const budget = { ...RECURRING, ...Object.fromEntries(counts) };
  return log === "file" ? { ...budget, expiry: 0 } : budget;
}

class Run {
  readonly #world: World;
  readonly #random: SeededRandom;
  readonly #transactionsMax: number;
  readonly #onStep: (words: string) => void;
  steps = 0;

  constructor(world: World, random: SeededRandom, transactionsMax: number, onStep: (words: string) => void) {
    this.#world = world;
    this.#random = random;
    this.#transactionsMax = transactionsMax;
    this.#onStep = onStep;
  }

  /** Until all transactions have begun and nothing moves by itself; returns what is wrong by then. */
  async play(choose: (transitions: readonly Transition[]) => Transition | null): Promise<readonly string[]> {
    const world = this.#world;
    for (;;) {
      const isLast = world.transactions.length >= this.#transactionsMax;
      const transitions = world.transitions();
      const isStill = !transitions.some(({ kind }) => MOVES.has(kind));
      if (isLast && isStill) return [];
      if (!isLast && this.#mayBegin(isStill)) {
        await this.#begin();
        continue;
      }
      const next = choose(transitions);
      if (next === null) return [];
      this.steps += 1;
      this.#onStep(next.words);
      await world.take(next);
      const problems = brokenNow(world);
      if (problems.length > 0) return problems;
    }
  }

  #mayBegin(isStill: boolean): boolean {
    const { living, transactions } = this.#world;
    if (living.length === 0) return false;
    if (isStill) return true;
    if (!this.#random.chance(OFTEN)) return false;
    return transactions.filter(({ told }) => told === null).length < CONCURRENT_MAX;
  }

  async #begin(): Promise<void> {
    const world = this.#world;
    const process = this.#random.pick(world.living);
    const order = world.shards.map((_, shard) => ({ shard, at: this.#random.fraction() }));
    const count = Math.min(world.shards.length, 2 + this.#random.below(3));
    const plan = order
      .toSorted((a, b) => a.at - b.at)
      .slice(0, count)
      .map(({ shard }): BranchPlan => ({ shard, refuses: this.#random.pick(REFUSES) }));
    const where = plan.map(
      ({ shard, refuses }) => `${SHARD_NAMES[shard]}${refuses === null ? "" : ` (refuses ${refuses})`}`,
    );
    this.#onStep(`a client of ${process.name} commits what it wrote on ${where.join(", ")}`);
    await world.commit(plan, process.name);
  }
}

const faultsOf = ({ spent }: World): Simulated["faults"] =>
  Object.fromEntries([...spent].filter(([kind]) => FAULTS.includes(kind) || kind === "failover"));

function outcomesOf({ transactions }: World): Simulated["outcomes"] {
  const outcomes = { committed: 0, aborted: 0, unknown: 0, unheard: 0 };
  for (const { told } of transactions) outcomes[told?.kind ?? "unheard"] += 1;
  return outcomes;
}
