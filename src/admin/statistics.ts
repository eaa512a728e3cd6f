/**
 * Averages over the last whole minute, as SHOW STATS has them; before there has been one, over what has passed of it.
 */
import type { Clock, Timer } from "../base/environment.ts";
import { noTotals, TOTAL_NAMES, type Totals, type Traffic } from "../observe/traffic.ts";

const PERIOD_MS = 60_000;

/** What was counted up to a moment. */
interface Reading {
  readonly atMs: number;
  readonly totals: ReadonlyMap<string, Totals>;
}

export interface Averages {
  /** Of each number how much a second. */
  readonly perSecond: Totals;
  /** Of one transaction and of one query, in ms. */
  readonly transactionMs: number;
  readonly queryMs: number;
}

/** With those of one transaction and one query. */
export const averagesOf = (perSecond: Totals): Averages => ({
  perSecond,
  transactionMs: ratio(perSecond.transactionMs, perSecond.transactions),
  queryMs: ratio(perSecond.queryMs, perSecond.queries),
});

export class Statistics {
  readonly #traffic: Traffic;
  readonly #clock: Clock;
  #older: Reading;
  /** The end of the last whole period; null before there has been one. */
  #newer: Reading | null = null;
  #timer: Timer;

  constructor(traffic: Traffic, clock: Clock) {
    this.#traffic = traffic;
    this.#clock = clock;
    this.#older = this.#read();
    this.#timer = this.#schedule();
  }

  of(database: string): Averages {
    const to = this.#newer ?? this.#read();
    const before = this.#older.totals.get(database) ?? noTotals();
    const after = to.totals.get(database) ?? before;
    const seconds = Math.max(0.001, (to.atMs - this.#older.atMs) / 1_000);
    const perSecond = noTotals();
    for (const name of TOTAL_NAMES) perSecond[name] = (after[name] - before[name]) / seconds;
    return averagesOf(perSecond);
  }

  stop(): void {
    this.#timer.cancel();
  }

  #read(): Reading {
    const totals = new Map<string, Totals>();
    for (const database of this.#traffic.databases) totals.set(database.name, database.totals);
    return { atMs: this.#clock.monotonicMs(), totals };
  }

  #schedule(): Timer {
    return this.#clock.after(PERIOD_MS, () => {
      if (this.#newer !== null) this.#older = this.#newer;
      this.#newer = this.#read();
      this.#timer = this.#schedule();
    });
  }
}

const ratio = (sum: number, count: number): number => (count === 0 ? 0 : sum / count);
