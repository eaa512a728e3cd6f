// Pure.
/** The last deadlocks, whole, for the console. */
import type { WaitRow } from "./report.ts";

/** What a deadlock went through: locks alone, or the shortage of connections too. */
export type DeadlockCause = "lock" | "pool";

export interface DeadlockRecord {
  readonly id: number;
  /** Wall time in ms since 1970. */
  readonly atMs: number;
  readonly cause: DeadlockCause;
  /** How many waited for each other in the circle. */
  readonly size: number;
  /** How long the youngest wait of the circle had lasted when it was broken, in ms. */
  readonly detectionMs: number;
  /** The client that gave way; null if nobody could. */
  readonly victim: number | null;
  readonly circle: readonly WaitRow[];
}

export const HISTORY_MAX = 100;

export class DeadlockHistory {
  readonly #records: DeadlockRecord[] = [];
  #next = 1;

  add(record: Omit<DeadlockRecord, "id">): void {
    this.#records.push({ id: this.#next, ...record });
    this.#next += 1;
    if (this.#records.length > HISTORY_MAX) this.#records.shift();
  }

  /** The oldest first. */
  get records(): readonly DeadlockRecord[] {
    return this.#records;
  }
}
