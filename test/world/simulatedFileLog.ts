/**
 * The decision log of files on a simulated disk: what was written is durable when the disk says so, and a crash before
 * leaves it or takes it. What entries add up to is src/txn's own (`LogState`).
 */
import type { Gtrid } from "../../src/base/brands.ts";
import type { Decision, DecisionLog, Lookup, Outcome, Participant } from "../../src/txn/decisionLog.ts";
import { LogState } from "../../src/txn/fileLog/logState.ts";
import type { Entry } from "../../src/txn/fileLog/segment.ts";
import type { OpenedLog, ProcessDisk } from "./processDisk.ts";

/** What entries were written. */
export class SimulatedDisk implements ProcessDisk {
  readonly durable: Entry[] = [];
  /** Written, and not synced. */
  written: Entry[] = [];

  /** The machine or the process is gone; whether what was not synced is found again. */
  crash(isKept: boolean): void {
    if (isKept) this.durable.push(...this.written);
    this.written = [];
  }

  get hasWritten(): boolean {
    return this.written.length > 0;
  }

  async open(): Promise<SimulatedFileLog> {
    return new SimulatedFileLog(this);
  }

  fingerprint(): string {
    return [this.durable, this.written].map((entries) => entries.map(told)).join("/");
  }
}

const told = (entry: Entry): string => ("gtrid" in entry ? `${entry.kind} ${entry.gtrid}` : entry.kind);

export class SimulatedFileLog implements DecisionLog, OpenedLog {
  readonly #disk: SimulatedDisk;
  readonly #state = new LogState();
  readonly #aborts = new Set<Gtrid>();
  readonly #pending = new Map<Gtrid, { readonly promise: Promise<Outcome>; readonly resolve: () => void }>();
  readonly epoch: number;
  readonly isSound = true;

  constructor(disk: SimulatedDisk) {
    this.#disk = disk;
    for (const entry of disk.durable) this.#state.apply(entry);
    this.epoch = this.#state.epoch + 1;
    const opened: Entry = { kind: "open", epoch: this.epoch, known: [[1, this.epoch]], gaps: [] };
    disk.durable.push(opened);
    this.#state.apply(opened);
  }

  get decisions(): DecisionLog {
    return this;
  }

  get latestEpoch(): number {
    return this.epoch;
  }

  answersFor(epoch: number): boolean {
    return epoch <= this.epoch;
  }

  async survey(): Promise<void> {}

  decide(gtrid: Gtrid, outcome: Outcome, participants: readonly Participant[]): Promise<Outcome> {
    const pending = this.#pending.get(gtrid);
    if (pending !== undefined) return pending.promise;
    if (this.#state.commits.has(gtrid)) return Promise.resolve("commit");
    if (outcome === "abort" || this.#aborts.has(gtrid)) {
      this.#aborts.add(gtrid);
      return Promise.resolve("abort");
    }
    this.#disk.written.push({ kind: "commit", gtrid, participants });
    let resolve = (): void => {};
    const promise = new Promise<Outcome>((settle) => {
      resolve = () => settle("commit");
    });
    this.#pending.set(gtrid, { promise, resolve });
    return promise;
  }

  /** Whether somebody waits for the disk. */
  get isWaiting(): boolean {
    return this.#pending.size > 0;
  }

  /** The disk has made durable what was written. */
  sync(): void {
    for (const entry of this.#disk.written) this.#state.apply(entry);
    this.#disk.crash(true);
    for (const { resolve } of this.#pending.values()) resolve();
    this.#pending.clear();
  }

  lookup(gtrid: Gtrid, epoch: number): Lookup {
    if (this.#pending.has(gtrid)) return "unknowable";
    return this.#aborts.has(gtrid) ? "abort" : this.#state.lookup(gtrid, epoch);
  }

  unconcluded(): readonly Decision[] {
    return [...this.#state.commits].map(([gtrid, participants]) => ({ gtrid, participants }));
  }

  unconcludedParticipants(gtrid: Gtrid): readonly Participant[] | null {
    return this.#state.commits.get(gtrid) ?? null;
  }

  conclude(gtrid: Gtrid): void {
    if (this.#state.commits.delete(gtrid)) this.#disk.written.push({ kind: "concluded", gtrid });
  }

  async close(): Promise<void> {}

  /** All that can matter for what comes, as text. */
  fingerprint(): string {
    return `${[...this.#aborts]}|${[...this.#pending.keys()]}|${[...this.#state.commits.keys()]}`;
  }
}
