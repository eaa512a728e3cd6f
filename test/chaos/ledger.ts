// Pure.
/**
 * What clients were told of their transfers, and whether that is what the shards have.
 *
 * A transfer is on all its shards or on none. If COMMIT was acknowledged it is on all; if it was reported as failed, or
 * COMMIT was never said, on none. Only where the connection was lost on the way, or pgxa said 08007, either will do.
 */
import type { Step, Transfer } from "./transfer.ts";

export type Told = "committed" | "aborted" | "unknown";

export interface Entry {
  readonly transfer: Transfer;
  /** `null` while it runs. */
  told: Told | null;
  /** The command tag, the SQLSTATE and message, or what the driver said. */
  words: string;
  /** Which pgxa the client was connected to. */
  readonly pgxa: number;
  readonly beganMs: number;
  endedMs: number;
  /** The phase in which it ended. */
  phase: string;
}

/** A row of `transfers` as a shard has it. */
export interface Row {
  readonly shard: number;
  readonly account: number;
  readonly amount: number;
}

export interface Counts {
  committed: number;
  aborted: number;
  unknown: number;
}

/** `sqlstate` is null where no server said anything. COMMIT not said: nothing can have been applied. */
export function toldBy(sqlstate: string | null, isCommitSaid: boolean): Told {
  if (!isCommitSaid) return "aborted";
  return sqlstate === null || sqlstate === "08007" ? "unknown" : "aborted";
}

/** What is wrong with a transfer of which the shards have `rows`; null if nothing is. */
export function complaintAbout({ transfer, told }: Entry, rows: readonly Row[]): string | null {
  const missing = transfer.steps.filter((step) => !rows.some((row) => isSame(row, step)));
  const strange = rows.filter((row) => !transfer.steps.some((step) => isSame(row, step)));
  if (strange.length > 0) return "has rows that nobody wrote";
  if (rows.length > 0 && missing.length > 0) return "is on some of its shards and not on others";
  const isThere = rows.length > 0;
  if (isThere && transfer.isDoomed) return "is there although it must not be";
  if (isThere && told === "aborted") return "was reported as failed and is there";
  if (!isThere && told === "committed") return "was acknowledged and is not there";
  return null;
}

const isSame = (row: Row, step: Step): boolean =>
  row.shard === step.shard && row.account === step.account && row.amount === step.amount;

export class Ledger {
  readonly entries = new Map<number, Entry>();
  readonly #counts = new Map<string, Counts>();
  /** The phase that runs. */
  phase = "calm";
  #nextId = 1;

  nextId(): number {
    return this.#nextId++;
  }

  begin(transfer: Transfer, pgxa: number, nowMs: number): Entry {
    const { phase } = this;
    const entry = { transfer, told: null, words: "", pgxa, beganMs: nowMs, endedMs: 0, phase };
    this.entries.set(transfer.id, entry);
    return entry;
  }

  end(entry: Entry, told: Told, words: string, nowMs: number): void {
    entry.told = told;
    entry.words = words;
    entry.endedMs = nowMs;
    entry.phase = this.phase;
    this.countsOf(this.phase)[told] += 1;
  }

  countsOf(phase: string): Counts {
    const counts = this.#counts.get(phase) ?? { committed: 0, aborted: 0, unknown: 0 };
    this.#counts.set(phase, counts);
    return counts;
  }

  get total(): Counts {
    const total = { committed: 0, aborted: 0, unknown: 0 };
    for (const counts of this.#counts.values()) {
      total.committed += counts.committed;
      total.aborted += counts.aborted;
      total.unknown += counts.unknown;
    }
    return total;
  }

  /** How many have ended. */
  get size(): number {
    const { committed, aborted, unknown } = this.total;
    return committed + aborted + unknown;
  }
}
