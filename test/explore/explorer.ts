/**
 * Every schedule of a configuration, within its budgets: depth-first, each run from the beginning, for the real code
 * cannot be put back.
 *
 * Two things keep that finite, and small enough. A state that was seen is not gone on from again; it is known by a
 * fingerprint of the shards, of what is on its way, and of what each process was told and when. And of two
 * transitions that are independent (of different shards and of different processes) only one order is tried: sleep sets,
 * joined with states that were seen as in Godefroid, Partial-Order Methods for the Verification of Concurrent Systems,
 * 1996, section 5.
 */
import { areIndependent, type Transition, type TransitionKind } from "../world/choice.ts";
import { hash } from "../world/fingerprint.ts";
import { brokenNow } from "../world/invariants.ts";
import { comeToRest } from "../world/rest.ts";
import { World } from "../world/world.ts";
import type { Configuration } from "./configurations.ts";

export interface Counts {
  states: number;
  /** Runs that came to rest. */
  schedules: number;
  /** Runs from the beginning. */
  runs: number;
  /** Transitions that were taken, replays included. */
  steps: number;
  /** Of the longest schedule, in steps. */
  depth: number;
}

export interface Violation {
  readonly problems: readonly string[];
  /** The ids of what happened, in order. */
  readonly schedule: readonly string[];
}

export interface Explored extends Counts {
  readonly violation: Violation | null;
  /** Whether nothing was left out. */
  readonly isExhausted: boolean;
}

export interface ExploreOptions {
  /** Gives up after so many states; exhausts all if it is not given. */
  readonly statesMax?: number;
  readonly onProgress?: (counts: Readonly<Counts>, isLast: boolean) => void;
}

/** A way through the states, from its end. */
interface Path {
  readonly before: Path | null;
  readonly id: string;
  readonly kind: TransitionKind;
  readonly length: number;
}

interface Task {
  readonly path: Path | null;
  /** What need not be tried there: it was, before, in another order. */
  readonly sleep: readonly Transition[];
}

export class Explorer {
  readonly #configuration: Configuration;
  readonly #options: ExploreOptions;
  readonly #counts: Counts = { states: 0, schedules: 0, runs: 0, steps: 0, depth: 0 };
  /** By fingerprint: what was not tried there. */
  readonly #seen = new Map<number, readonly string[]>();
  readonly #tasks: Task[] = [{ path: null, sleep: [] }];
  #violation: Violation | null = null;

  constructor(configuration: Configuration, options: ExploreOptions = {}) {
    this.#configuration = configuration;
    this.#options = options;
  }

  /** Until all is tried, or something is wrong. */
  async run(): Promise<Explored> {
    const { statesMax = Number.POSITIVE_INFINITY, onProgress } = this.#options;
    while (this.#violation === null && this.#counts.states < statesMax) {
      const task = this.#tasks.pop();
      if (task === undefined) break;
      await this.#goOn(task);
      this.#counts.runs += 1;
      if (this.#counts.runs % 1_000 === 0) onProgress?.(this.#counts, false);
    }
    onProgress?.(this.#counts, true);
    const isExhausted = this.#violation === null && this.#tasks.length === 0;
    return { ...this.#counts, violation: this.#violation, isExhausted };
  }

  /** One run, from the beginning along the path, and on as far as there is something new. */
  async #goOn({ path, sleep }: Task): Promise<void> {
    const world = await begin(this.#configuration);
    for (const { id, kind } of stepsOf(path)) await this.#take(world, id, kind);
    if (path?.kind === "rest") return this.#rest(world, path);
    let here = path;
    let asleep = sleep;
    for (;;) {
      const problems = brokenNow(world);
      if (problems.length > 0) return this.#fail(problems, here);
      const next = this.#next(world, here, asleep);
      if (next === null) return;
      here = pathTo(here, next.transition);
      asleep = next.sleep;
      if (next.transition.kind === "rest") return this.#rest(world, here);
      await this.#take(world, next.transition.id, next.transition.kind);
    }
  }

  async #take(world: World, id: string, kind: TransitionKind): Promise<void> {
    this.#counts.steps += 1;
    await world.take({ id, kind });
  }

  async #rest(world: World, path: Path): Promise<void> {
    this.#counts.schedules += 1;
    this.#counts.depth = Math.max(this.#counts.depth, path.length);
    const problems = await comeToRest(world);
    if (problems.length > 0) this.#fail(problems, path);
  }

  #fail(problems: readonly string[], path: Path | null): void {
    this.#violation ??= { problems, schedule: stepsOf(path).map(({ id }) => id) };
  }

  /** What to try from here; the rest of it is left for later runs. Null if there is nothing new. */
  #next(
    world: World,
    path: Path | null,
    asleep: readonly Transition[],
  ): { readonly transition: Transition; readonly sleep: readonly Transition[] } | null {
    const key = hash(world.fingerprint());
    const untried = this.#seen.get(key);
    const enabled = world.transitions();
    let sleep = asleep;
    let awake = enabled.filter(({ id }) => !asleep.some((one) => one.id === id));
    if (untried !== undefined) {
      awake = awake.filter(({ id }) => untried.includes(id));
      sleep = asleep.filter(({ id }) => untried.includes(id));
    } else this.#counts.states += 1;
    this.#seen.set(
      key,
      sleep.map(({ id }) => id),
    );
    const branches = awake.map((transition, i) => ({
      transition,
      sleep: [...sleep, ...awake.slice(0, i)].filter((one) => areIndependent(one, transition)),
    }));
    for (const { transition, sleep: below } of branches.slice(1).reverse())
      this.#tasks.push({ path: pathTo(path, transition), sleep: below });
    return branches[0] ?? null;
  }
}

/** The world as every schedule of `configuration` begins: all have looked around, and a client says COMMIT. */
export async function begin({ world: options, plan }: Configuration): Promise<World> {
  const world = new World(options);
  process.setUncaughtExceptionCaptureCallback(null);
  process.setUncaughtExceptionCaptureCallback((error) => world.broken.push(error as Error));
  await world.start();
  await world.commit(plan);
  return world;
}

const pathTo = (before: Path | null, { id, kind }: Transition): Path => ({
  before,
  id,
  kind,
  length: (before?.length ?? 0) + 1,
});

function stepsOf(path: Path | null): readonly Path[] {
  const steps: Path[] = [];
  for (let step = path; step !== null; step = step.before) steps.push(step);
  return steps.reverse();
}
