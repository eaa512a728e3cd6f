// Pure.
/**
 * A decision log whose writes reach the disk when the simulation says so. A crash keeps some first part of what was
 * written and not synced; a conclusion is written lazily and may be lost, too.
 */
import type { SeededRandom } from "./seededRandom.ts";

export type SimulatedVerdict = "commit" | "abort" | "absent" | "unknowable";

export interface WaitingDecision {
  readonly gtrid: string;
  /** Told what stands; null: the write failed. */
  readonly onDurable: (outcome: "commit" | "abort" | null) => void;
}

export class SimulatedLog {
  readonly commits = new Set<string>();
  #concluded = new Set<string>();
  #aborts = new Set<string>();
  #waiting: WaitingDecision[] = [];
  #hasFailed = false;
  /** Transactions before this one are of a log that was lost. */
  firstSeq = 0;
  readonly #random: SeededRandom;

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  get isWriting(): boolean {
    return this.#waiting.length > 0;
  }

  decideCommit(decision: WaitingDecision): void {
    if (this.#aborts.has(decision.gtrid)) decision.onDurable("abort");
    else if (this.#hasFailed) decision.onDurable(null);
    else this.#waiting.push(decision);
  }

  /** Whether the abort stands. */
  decideAbort(gtrid: string): boolean {
    if (this.commits.has(gtrid) || this.#isWaiting(gtrid)) return false;
    this.#aborts.add(gtrid);
    return true;
  }

  sync(): void {
    const batch = this.#waiting.splice(0);
    for (const { gtrid } of batch) this.commits.add(gtrid);
    for (const { onDurable } of batch) onDurable("commit");
  }

  /** The disk fails: what of the batch it holds is not known until the log is read again. */
  failSync(): void {
    this.#hasFailed = true;
    for (const { onDurable } of [...this.#waiting]) onDurable(null);
  }

  lookup(gtrid: string, seq: number): SimulatedVerdict {
    if (this.#isWaiting(gtrid)) return "unknowable";
    if (this.#aborts.has(gtrid)) return "abort";
    if (this.commits.has(gtrid)) return "commit";
    return seq < this.firstSeq ? "unknowable" : "absent";
  }

  conclude(gtrid: string): void {
    this.commits.delete(gtrid);
    this.#concluded.add(gtrid);
  }

  crash(): void {
    const kept = this.#random.below(this.#waiting.length + 1);
    for (const { gtrid } of this.#waiting.slice(0, kept)) this.commits.add(gtrid);
    for (const gtrid of this.#concluded) if (this.#random.chance(0.5)) this.commits.add(gtrid);
    this.#concluded = new Set();
    this.#waiting = [];
    this.#aborts = new Set();
    this.#hasFailed = false;
  }

  /** The directory is gone; the next start begins an empty log that knows nothing of transactions before `seq`. */
  lose(seq: number): void {
    this.commits.clear();
    this.#concluded.clear();
    this.firstSeq = seq;
  }

  #isWaiting(gtrid: string): boolean {
    return this.#waiting.some((decision) => decision.gtrid === gtrid);
  }
}
