/**
 * The decision log in files of one directory; of several with workers, and during an online restart (logFamily.ts).
 *
 * Decisions that arrive while the disk is busy with the ones before are written together and made durable by one
 * sync: group commit without a timer. A segment that has grown is replaced by a new one that begins with all commits
 * not concluded yet, made beside it while decisions go on (segmentDraft.ts); then the old one goes.
 *
 * Invariants: a promise of `decide` resolves only when its decision is durable; after a failed sync nothing is
 * decided any more, for what the disk holds is not known until the log is read again (fsync that failed once may claim
 * success the next time: https://wiki.postgresql.org/wiki/Fsync_Errors). A write that failed before any sync is cut off
 * again; if that is durable, its decisions are not in the log for sure, and the transactions are aborted. The same goes
 * for decisions that come while the log has failed: nothing of them was ever written.
 *
 * Interrupted before the write: no decision. Between write and sync: perhaps one, and nobody has been told; recovery
 * believes what it finds. After the sync: committed.
 */
import type { Gtrid } from "../../base/brands.ts";
import { detach } from "../../base/detach.ts";
import type { Fault } from "../../base/fault.ts";
import type { FaultPointListener } from "../../base/faultPoint.ts";
import { Buckets } from "../../observe/buckets.ts";
import type { Log } from "../../observe/log.ts";
import {
  type Decision,
  type DecisionLog,
  isRefusal,
  type Lookup,
  type Outcome,
  type Participant,
} from "../decisionLog.ts";
import type { LogDisk, SyncKind } from "./logDisk.ts";
import { LogFailure } from "./logFailure.ts";
import { LogFamily } from "./logFamily.ts";
import { type LogState, seqOf } from "./logState.ts";
import { NODE_DISK } from "./nodeDisk.ts";
import { Rotation } from "./rotation.ts";
import type { Entry } from "./segment.ts";
import { makeSegment, weightOf } from "./segmentDraft.ts";
import { readSegments, removeSegments, takeIn } from "./segmentFiles.ts";
import { NotWritten, type SegmentWriter } from "./segmentWriter.ts";

export interface FileLogOptions {
  readonly directory: string;
  /** That of this machine if absent. */
  readonly disk?: LogDisk;
  /** How decisions are made durable; fdatasync if absent. */
  readonly sync?: SyncKind;
  readonly log: Log;
  /** Wall time in ms: epochs are never below it, so that a log that was lost does not repeat one. */
  readonly wallMs: number;
  /** The clock by which syncs are measured. */
  monotonicMs?(): number;
  readonly faultPoint: FaultPointListener;
  /** A segment that has grown beyond this is replaced, in bytes. */
  readonly segmentBytesMax?: number;
  /** The latest epoch of the processes beside which this one starts; absent in an ordinary start. */
  readonly heirAfter?: number;
}

const SEGMENT_BYTES_MAX = 16 * 1024 * 1024;
const ABORTS_MAX = 10_000;
/** Entries with all their participants in one frame, which stays far below FRAME_BYTES_MAX. */
const FRAME_WEIGHT_MAX = 16_384;
/** What must be free again before a full disk is written to. */
const ROOM_BYTES = 64 * 1024;

interface Waiting {
  readonly entries: readonly Entry[];
  resolve(): void;
  reject(error: Fault): void;
}

export class FileLog implements DecisionLog {
  readonly #options: FileLogOptions;
  readonly #sync: SyncKind;
  readonly #state: LogState;
  readonly #family: LogFamily;
  readonly epoch: number;
  /** Aborts decided here, so that a commit that comes later loses. */
  readonly #aborts = new Set<Gtrid>();
  /** Commits on their way to the disk. */
  readonly #pending = new Map<Gtrid, Promise<Outcome>>();
  readonly #rotation: Rotation;
  #segment: SegmentWriter;
  #queue: Waiting[] = [];
  #lazy: Entry[] = [];
  /** The greatest number of a transaction that was to be committed. */
  #reachedSeq = 0;
  #writing: Promise<void> | null = null;
  #failure: LogFailure | null = null;
  #surveying: Promise<void> | null = null;
  /** How many times the disk was made to sync. For tests and metrics. */
  syncs = 0;
  readonly syncMs = new Buckets();

  private constructor(options: FileLogOptions, state: LogState, family: LogFamily, segment: SegmentWriter) {
    const { disk = NODE_DISK, sync = "fdatasync", segmentBytesMax = SEGMENT_BYTES_MAX, log } = options;
    const { directory } = family;
    this.#options = options;
    this.#sync = sync;
    this.#state = state;
    this.#family = family;
    this.epoch = state.epoch;
    this.#segment = segment;
    this.#rotation = new Rotation({ disk, directory, log, segmentBytesMax }, state, this.epoch, segment);
  }

  /** Opens the log, made if there is none. Rejects with `log.owned`, or the system's error. */
  static async open(options: FileLogOptions): Promise<FileLog> {
    const { directory, disk = NODE_DISK, wallMs, heirAfter, log } = options;
    const place = { directory, disk, log };
    const family =
      heirAfter === undefined ? await LogFamily.main(place) : await LogFamily.heir(place, heirAfter, wallMs);
    try {
      const found = await readSegments(disk, family.directory);
      const { reading, damaged } = takeIn(family.directory, found, log);
      const { state } = reading;
      for (const entry of family.found) state.apply(entry);
      state.epoch = family.heirEpoch ?? Math.max(state.epoch + 1, wallMs);
      state.known.add(state.epoch, state.epoch);
      const next = Math.max(0, reading.lastNumber, found.at(-1)?.number ?? 0) + 1;
      const opening = { ...state.opening(), writer: state.epoch };
      const segment = await makeSegment(disk, family.directory, next, opening, state.commits);
      // Only now: interrupted before, the next start must find the same damage again.
      for (const { path } of damaged) await disk.rename(path, `${path}.damaged`);
      const intact = found.filter((one) => !damaged.includes(one));
      await removeSegments(
        disk,
        family.directory,
        intact.map(({ number }) => number),
      );
      await family.buryFound();
      log.info("log.opened", { epoch: state.epoch, unconcluded: state.commits.size });
      return new FileLog(options, state, family, segment);
    } catch (error) {
      await family.release();
      throw error;
    }
  }

  get latestEpoch(): number {
    return this.#state.epoch;
  }

  answersFor(epoch: number): boolean {
    return this.#family.answersFor(epoch, this.epoch, this.latestEpoch);
  }

  leavesToOthers(epoch: number): boolean {
    return this.#family.leaves(epoch, this.epoch);
  }

  survey(): Promise<void> {
    this.#surveying ??= this.#resume()
      .then(() => this.#family.survey((entries) => this.#appendParts(entries)))
      .finally(() => {
        this.#surveying = null;
      });
    return this.#surveying;
  }

  get isSound(): boolean {
    return this.#failure === null;
  }

  refusal(): Fault | null {
    return this.#failure?.refusal() ?? null;
  }

  decide(gtrid: Gtrid, outcome: Outcome, participants: readonly Participant[]): Promise<Outcome> {
    const pending = this.#pending.get(gtrid);
    if (pending !== undefined) return pending;
    if (this.#state.commits.has(gtrid)) return Promise.resolve("commit");
    if (this.#aborts.has(gtrid)) return Promise.resolve("abort");
    if (outcome === "abort") {
      this.#abort(gtrid);
      return Promise.resolve("abort");
    }
    this.#reachedSeq = Math.max(this.#reachedSeq, seqOf(gtrid) || 0);
    const durable = this.#append([{ kind: "commit", gtrid, participants }]).then(
      (): Outcome => {
        this.#pending.delete(gtrid);
        return "commit";
      },
      (error: unknown) => {
        if (isRefusal(error)) {
          this.#abort(gtrid);
          this.#pending.delete(gtrid);
        }
        throw error;
      },
    );
    this.#pending.set(gtrid, durable);
    return durable;
  }

  lookup(gtrid: Gtrid, epoch: number): Lookup {
    // A decision whose sync failed, or is on its way, may stand or not: only a restart will know.
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
    if (!this.#state.commits.delete(gtrid)) return;
    const entry: Entry = { kind: "concluded", gtrid };
    this.#lazy.push(entry);
    this.#rotation.note(entry);
  }

  async close(): Promise<void> {
    await this.#surveying;
    while (this.#writing !== null) await this.#writing;
    if (this.isSound && this.#lazy.length > 0) this.#start();
    await this.#writing;
    await this.#rotation.stop(this.#segment);
    await this.#segment.close();
    await this.#family.release();
  }

  /** Names are never used again, so old ones may be forgotten. */
  #abort(gtrid: Gtrid): void {
    this.#aborts.add(gtrid);
    if (this.#aborts.size <= ABORTS_MAX) return;
    const [oldest] = this.#aborts;
    this.#aborts.delete(oldest!);
  }

  // --- writing ---

  /** Makes `entries` durable: all, or none is known of. */
  #append(entries: readonly Entry[]): Promise<void> {
    if (this.#failure !== null) return Promise.reject(this.#failure.refusal());
    return new Promise((resolve, reject) => {
      this.#queue.push({ entries, resolve, reject });
      if (this.#writing === null) this.#start();
    });
  }

  /** Makes `entries` durable in order, perhaps only some first ones. */
  async #appendParts(entries: readonly Entry[]): Promise<void> {
    let part: Entry[] = [];
    for (const entry of entries) {
      part.push(entry);
      if (part.length < 1_024) continue;
      await this.#append(part);
      part = [];
    }
    if (part.length > 0) await this.#append(part);
  }

  #start(): void {
    this.#writing = this.#writeAll().finally(() => {
      this.#writing = null;
      if (this.#queue.length > 0) this.#start(); // came when the last round was over
    });
    detach(this.#writing, "whoever waits for a decision is told of its failure");
  }

  async #writeAll(): Promise<void> {
    do {
      const batch = this.#takeBatch();
      try {
        await this.#write(batch);
      } catch (error) {
        this.#fail(error, batch);
        return;
      }
      for (const { resolve } of batch) resolve();
    } while (this.#queue.length > 0);
    await this.#seal();
  }

  #takeBatch(): readonly Waiting[] {
    let [count, weight] = [0, 0];
    for (const { entries } of this.#queue) {
      for (const entry of entries) weight += weightOf(entry);
      if (count > 0 && weight > FRAME_WEIGHT_MAX) break;
      count += 1;
    }
    return this.#queue.splice(0, count);
  }

  async #write(batch: readonly Waiting[]): Promise<void> {
    const { faultPoint, monotonicMs } = this.#options;
    const entries: Entry[] = [{ kind: "reached", seq: this.#reachedSeq }];
    for (const one of batch) for (const entry of one.entries) entries.push(entry);
    faultPoint("decision.before-write", 0);
    const segment = await this.#put(entries);
    faultPoint("decision.before-sync", 0);
    const fromMs = monotonicMs?.() ?? 0;
    await segment.sync(this.#sync);
    this.syncs += 1;
    this.syncMs.observe((monotonicMs?.() ?? 0) - fromMs);
    for (let i = 1; i < entries.length; i += 1) {
      this.#state.apply(entries[i]!);
      this.#rotation.note(entries[i]!);
    }
    this.#rotation.wrote(segment);
    faultPoint("decision.after-sync", 0);
  }

  /** Writes a frame to the next segment if that is ready, or else to the one in use. */
  async #put(entries: readonly Entry[]): Promise<SegmentWriter> {
    const next = await this.#rotation.put(entries);
    if (next !== null) {
      this.#lazy = []; // the next segment does not have what they conclude, or was told
      this.#segment = next;
      return next;
    }
    const lazy = this.#lazy.splice(0, FRAME_WEIGHT_MAX);
    try {
      this.#segment.append(lazy.length === 0 ? entries : [...lazy, ...entries]);
    } catch (error) {
      const certain = await this.#segment.cutBack(error);
      this.#lazy.unshift(...lazy);
      throw certain;
    }
    return this.#segment;
  }

  /** Says that all before is durable. Nobody waits for it, and a crash that comes before it is on the disk changes nothing. */
  async #seal(): Promise<void> {
    if (this.#sync === "none") return;
    try {
      this.#segment.seal();
    } catch (error) {
      const certain = await this.#segment.cutBack(error).catch((unknown: unknown) => unknown);
      this.#fail(certain, []);
    }
  }

  #fail(error: unknown, batch: readonly Waiting[]): void {
    const failure = new LogFailure(this.#family.directory, error);
    this.#failure = failure;
    this.#options.log.error(failure.isPassing ? "log.full" : "log.failed", failure.fields);
    for (const { reject } of batch)
      reject(error instanceof NotWritten ? failure.refusal() : failure.unknown());
    for (const { reject } of this.#queue.splice(0)) reject(failure.refusal());
  }

  /** Goes on once a full disk has room again. */
  async #resume(): Promise<void> {
    if (this.#failure?.isPassing !== true || this.#writing !== null) return;
    this.#writing = this.#tryRoom().finally(() => {
      this.#writing = null;
    });
    await this.#writing;
  }

  async #tryRoom(): Promise<void> {
    try {
      if (!(await this.#segment.hasRoom(ROOM_BYTES))) return;
      this.#failure = null;
      this.#options.log.info("log.resumed", { directory: this.#family.directory });
    } catch (error) {
      this.#fail(error, []);
    }
  }
}
