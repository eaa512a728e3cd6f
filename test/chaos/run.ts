/**
 * A run: clients transfer money, faults come by a seeded schedule, one or two at a time; after each everything is
 * healed, and what the shards have is held against what clients were told.
 *
 * The seed decides which faults come, what they strike and how long they last. What the processes are doing at that
 * moment it does not decide: a run that is repeated strikes the same parts, at other moments of their work.
 */
import { setTimeout as delay } from "node:timers/promises";
import { SeededRandom } from "../sim/seededRandom.ts";
import { ChaosFailure } from "./chaosFailure.ts";
import { ChaosStage } from "./chaosStage.ts";
import { Client, type ClientParts, commitOnce } from "./client.ts";
import { type Fault, repeatedly, type Scene, type Strike } from "./fault.ts";
import { Ledger } from "./ledger.ts";
import type { LogKind } from "./options.ts";
import type { FaultFigures, Summary } from "./summary.ts";
import {
  checkLogs,
  checkMoney,
  checkTransfers,
  seconds,
  untilForgotten,
  untilQuiet,
  untilResolved,
} from "./verdict.ts";

export interface RunOptions {
  readonly log: LogKind;
  readonly seed: number;
  /** It ends after the phase in which one of these is reached. */
  readonly endsAfter: { readonly minutes?: number; readonly transfers?: number; readonly phases?: number };
  readonly faults: readonly Fault[];
  readonly clients: number;
  /** The directory for logs; it is there, and is removed unless the run fails. */
  readonly home: string;
  readonly hasDisks: boolean;
  /** The chance that a phase has two faults. */
  readonly twoAtOnce: number;
  tell(progress: Progress): void;
  /** Once it is aborted the run ends after the phase that is under way. */
  readonly stop?: AbortSignal;
}

export interface Progress {
  readonly ledger: Ledger;
  readonly phases: number;
  /** What goes on. */
  readonly phase: string;
  /** Of a phase that is over and was checked: how long after all was up everything was resolved. Null while it runs. */
  readonly resolvedMs: number | null;
}

const CALM = "none, in between";
const TWO = "two at once";
const CALM_MS = [300, 900] as const;
const PATIENCE_MS = 60_000;
const TIMELINE_MAX = 60;
const LOOK_MS = 100;

/** Rejects with a ChaosFailure that tells all, and leaves what there is in the home; resolves with the figures. */
export async function runChaos(options: RunOptions): Promise<Summary> {
  const stage = await ChaosStage.open(options);
  let isPassed = false;
  try {
    const summary = await new Run(stage, options).run();
    isPassed = true;
    return summary;
  } finally {
    await stage.close(!isPassed);
  }
}

class Run {
  readonly #stage: ChaosStage;
  readonly #options: RunOptions;
  readonly #random: SeededRandom;
  readonly #ledger = new Ledger();
  readonly #figures = new Map<string, FaultFigures>();
  readonly #timeline: string[] = [];
  readonly #faults: readonly Fault[];
  readonly #leftOut: string[] = [];
  readonly #clients: Client[];
  readonly #ports: readonly number[];
  readonly #fromMs = performance.now();
  #deck: Fault[] = [];
  #phases = 0;
  /** Transfers up to this id have been checked once. */
  #checkedUpTo = 0;

  constructor(stage: ChaosStage, options: RunOptions) {
    this.#stage = stage;
    this.#options = options;
    this.#random = new SeededRandom(options.seed);
    this.#faults = options.faults.filter((fault) => {
      const why = fault.whyNot?.(stage) ?? null;
      if (why !== null) this.#leftOut.push(`${fault.name}: ${why}`);
      return why === null;
    });
    if (this.#faults.length === 0) throw new ChaosFailure(`no fault is left: ${this.#leftOut.join("; ")}`);
    this.#ports = stage.pgxas.map(({ front }) => front.port);
    this.#ledger.phase = CALM;
    this.#clients = Array.from({ length: options.clients }, (_, i) => new Client(this.#partsOf(i)));
  }

  async run(): Promise<Summary> {
    const stopLooking = repeatedly(() => this.#look(), LOOK_MS);
    try {
      while (!this.#isOver()) await this.#phase();
      await this.#finish();
    } catch (error) {
      throw this.#told(error as Error);
    } finally {
      await stopLooking();
      await this.#stopClients();
    }
    return this.#summary();
  }

  /** What is seen prepared is remembered, so that a report can name it. */
  async #look(): Promise<void> {
    await Promise.allSettled(this.#stage.watches.map((watch) => watch.prepared(0)));
  }

  #partsOf(i: number): ClientParts {
    return {
      bank: this.#stage.bank,
      ledger: this.#ledger,
      random: new SeededRandom(this.#options.seed + 1_000 * (i + 1)),
      ports: this.#ports,
      pgxa: i % this.#ports.length,
    };
  }

  #isOver(): boolean {
    const { minutes, transfers, phases } = this.#options.endsAfter;
    if (this.#options.stop?.aborted) return true;
    if (minutes !== undefined && performance.now() - this.#fromMs >= minutes * 60_000) return true;
    if (transfers !== undefined && this.#ledger.size >= transfers) return true;
    return phases !== undefined && this.#phases >= phases;
  }

  async #phase(): Promise<void> {
    await delay(this.#between(CALM_MS));
    const faults = this.#next();
    const name = faults.length > 1 ? TWO : faults[0]!.name;
    const said = faults.map((fault) => fault.name).join(" and ");
    this.#enter(name, said);
    const strikes: Strike[] = [];
    const scene: Scene = { stage: this.#stage, random: this.#random, struck: new Set() };
    for (const fault of faults) {
      const strike = await fault.strike(scene);
      strikes.push(strike);
      this.#note(`${fault.name}: ${strike.what}`);
      await delay(this.#between(fault.lastsMs));
    }
    if (this.#random.chance(0.5)) strikes.reverse();
    const resolvedMs = await this.#heal(strikes);
    await this.#recovered();
    const figures = this.#figuresOf(name, faults);
    figures.times += 1;
    figures.resolvedMsMax = Math.max(figures.resolvedMsMax, resolvedMs);
    await this.#check();
    this.#phases += 1;
    this.#options.tell({ ledger: this.#ledger, phases: this.#phases, phase: said, resolvedMs });
    this.#enter(CALM, "calm");
    for (const client of this.#clients) client.resume();
  }

  /** Every fault once, in an order of chance, before any comes again. */
  #next(): Fault[] {
    const first = this.#draw();
    if (this.#faults.length === 1 || !this.#random.chance(this.#options.twoAtOnce)) return [first];
    return [first, this.#random.pick(this.#faults.filter((fault) => fault !== first))];
  }

  #draw(): Fault {
    if (this.#deck.length === 0) this.#deck = [...this.#faults];
    const [drawn] = this.#deck.splice(this.#random.below(this.#deck.length), 1);
    return drawn!;
  }

  /** Resolves with the ms from when all is up again to when nothing is left that was prepared before; often 0. */
  async #heal(strikes: readonly Strike[]): Promise<number> {
    const resolving = untilResolved(this.#stage, Date.now()).then(() => performance.now());
    resolving.catch(() => {}); // whoever heals may fail first
    for (const strike of strikes) await strike.heal();
    await Promise.all(this.#stage.watches.map((watch) => watch.up()));
    this.#throwIfEnded();
    const upMs = performance.now();
    this.#note("healed, and all is up");
    const resolvedMs = Math.max(0, (await resolving) - upMs);
    this.#note(`resolved ${seconds(resolvedMs)} later`);
    return resolvedMs;
  }

  /** After the heal every pgxa is there, and commits on all shards. */
  async #recovered(): Promise<void> {
    for (const pgxa of this.#stage.pgxas.keys()) await this.#commits(pgxa);
    this.#throwIfEnded();
  }

  #throwIfEnded(): void {
    for (const { process } of this.#stage.pgxas)
      if (process.hasEnded)
        throw new ChaosFailure(`pgxa ${process.name} ended by itself:\n${process.logEnd}`);
  }

  async #commits(pgxa: number): Promise<void> {
    const untilMs = performance.now() + PATIENCE_MS;
    for (;;) {
      const why = await commitOnce(this.#partsOf(pgxa));
      if (why === null) return;
      const { name } = this.#stage.pgxas[pgxa]!.process;
      if (performance.now() > untilMs)
        throw new ChaosFailure(
          `pgxa ${name} does not commit, ${PATIENCE_MS / 1000} s after all was healed: ${why}`,
        );
      await delay(50);
    }
  }

  async #check(): Promise<void> {
    await this.#pause();
    await untilQuiet(this.#stage);
    const upTo = this.#ledger.nextId();
    await checkTransfers(this.#stage, this.#ledger, this.#checkedUpTo, upTo);
    this.#checkedUpTo = upTo;
    await checkMoney(this.#stage);
    this.#note("checked");
  }

  /** Resolves when no client has a transfer under way. */
  async #pause(): Promise<void> {
    const over = new AbortController();
    const tooLong = delay(PATIENCE_MS, undefined, { signal: over.signal }).then(() => {
      const doing = this.#clients.map((client) => client.doing).filter((what) => what !== "paused");
      throw new ChaosFailure(
        `clients still wait, ${PATIENCE_MS / 1000} s after all was healed: ${doing.join(", ")}`,
      );
    });
    try {
      await Promise.race([Promise.all(this.#clients.map((client) => client.pause())), tooLong]);
    } finally {
      over.abort();
      tooLong.catch(() => {});
    }
  }

  /** Everything once more: what was right in its phase must be right still. */
  async #finish(): Promise<void> {
    this.#enter(CALM, "the last check");
    await this.#pause();
    await untilQuiet(this.#stage);
    await untilForgotten(this.#stage);
    await checkTransfers(this.#stage, this.#ledger, 0, this.#ledger.nextId());
    await checkMoney(this.#stage);
    checkLogs(this.#stage);
  }

  async #stopClients(): Promise<void> {
    for (const { front } of this.#stage.pgxas) front.heal("reset");
    await Promise.all(this.#clients.map((client) => client.stop()));
  }

  #enter(name: string, said: string): void {
    this.#ledger.phase = name;
    this.#note(said);
    this.#options.tell({ ledger: this.#ledger, phases: this.#phases, phase: said, resolvedMs: null });
  }

  #note(says: string): void {
    this.#timeline.push(`${seconds(performance.now())}  ${says}`);
    if (this.#timeline.length > TIMELINE_MAX) this.#timeline.shift();
  }

  #between([least, most]: readonly [number, number]): number {
    return least + this.#random.below(most - least + 1);
  }

  #figuresOf(name: string, faults: readonly Fault[] = []): FaultFigures {
    const known = this.#figures.get(name);
    if (known !== undefined) return known;
    const about = name === TWO ? "two of them at once" : (faults[0]?.about ?? "");
    const counts = this.#ledger.countsOf(name);
    const figures = { name, about, times: 0, counts, inconsistencies: 0, resolvedMsMax: 0 };
    this.#figures.set(name, figures);
    return figures;
  }

  #summary(): Summary {
    const names = [...this.#faults.map(({ name }) => name), TWO, CALM];
    this.#figuresOf(CALM);
    return {
      log: this.#options.log,
      seed: this.#options.seed,
      minutes: (performance.now() - this.#fromMs) / 60_000,
      phases: this.#phases,
      figures: names.flatMap((name) => this.#figures.get(name) ?? []),
      leftOut: this.#leftOut,
    };
  }

  #told(error: Error): Error {
    const { log, seed, home } = this.#options;
    const lines = [
      `log ${log}, seed ${seed}, after ${this.#phases} phases and ${this.#ledger.size} transfers:`,
      error.message,
      "what happened:",
      ...this.#timeline,
      `the logs of all processes are kept in ${home}`,
    ];
    const inconsistencies = error instanceof ChaosFailure ? error.inconsistencies : 0;
    const failure = new ChaosFailure(lines.join("\n"), inconsistencies);
    failure.cause = error;
    return failure;
  }
}
