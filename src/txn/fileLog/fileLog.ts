/**
 * The decision log in files of one directory; of several directories during an online restart (logFamily.ts).
 *
 * Decisions that arrive while the disk is busy with the ones before are written together and made durable by one
 * fdatasync: group commit without a timer. A segment that has grown is replaced by a new one that begins with all
 * commits not concluded yet; then the old one goes.
 *
 * Invariants: a promise of `decide` resolves only when its decision is durable; after a failed write or sync nothing is
 * decided any more, for what the disk holds is not known until the log is read again (fsync that failed once may claim
 * success the next time: https://wiki.postgresql.org/wiki/Fsync_Errors).
 *
 * Interrupted before the write: no decision. Between write and sync: perhaps one, and nobody has been told; recovery
 * believes what it finds. After the sync: committed.
 */
import type { Gtrid } from "../../base/brands.ts";
import { detach } from "../../base/detach.ts";
import { Fault } from "../../base/fault.ts";
import type { FaultPointListener } from "../../base/faultPoint.ts";
import { Buckets } from "../../observe/buckets.ts";
import type { Log } from "../../observe/log.ts";
import type { Decision, DecisionLog, Lookup, Outcome, Participant } from "../decisionLog.ts";
import { type LogDisk, type LogFile, writeAll } from "./logDisk.ts";
import { LogFamily } from "./logFamily.ts";
import { LogState } from "./logState.ts";
import { NODE_DISK } from "./nodeDisk.ts";
import { type Entry, encodeFrame } from "./segment.ts";
import { createSegment, type OpenSegment, readSegments, removeSegments, takeIn } from "./segmentFiles.ts";

export interface FileLogOptions {
  readonly directory: string;
  /** That of this machine if absent. */
  readonly disk?: LogDisk;
  readonly log: Log;
  /** Wall time in ms: epochs are never below it, so that a log that was lost does not repeat one. */
  readonly wallMs: number;
  /** The clock by which syncs are measured. */
  monotonicMs?(): number;
  readonly faultPoint: FaultPointListener;
  /** A segment that has grown beyond this is replaced, in bytes. */
  readonly segmentBytesMax?: number;
  /** The latest epoch of the process that this one takes over from, which lives; absent in an ordinary start. */
  readonly heirAfter?: number;
}

const SEGMENT_BYTES_MAX = 16 * 1024 * 1024;
const ABORTS_MAX = 10_000;

interface Waiting {
  readonly entries: readonly Entry[];
  resolve(): void;
  reject(error: unknown): void;
}

export class FileLog implements DecisionLog {
  readonly #options: FileLogOptions;
  readonly #disk: LogDisk;
  readonly #state: LogState;
  readonly #family: LogFamily;
  readonly epoch: number;
  /** Aborts decided here, so that a commit that comes later loses. */
  readonly #aborts = new Set<Gtrid>();
  /** Commits on their way to the disk. */
  readonly #pending = new Map<Gtrid, Promise<Outcome>>();
  #file: LogFile;
  #segment: number;
  #segmentBytes: number;
  #queue: Waiting[] = [];
  #lazy: Entry[] = [];
  #writing: Promise<void> | null = null;
  #failure: unknown = null;
  #surveying: Promise<void> | null = null;
  /** How many times the disk was made to sync. For tests and metrics. */
  syncs = 0;
  readonly syncMs = new Buckets();

  private constructor(options: FileLogOptions, state: LogState, family: LogFamily, segment: OpenSegment) {
    this.#options = options;
    this.#disk = options.disk ?? NODE_DISK;
    this.#state = state;
    this.#family = family;
    this.epoch = state.epoch;
    this.#file = segment.file;
    this.#segment = segment.number;
    this.#segmentBytes = segment.bytes;
  }

  /** Opens the log, made if there is none. Rejects with `log.owned`, or the system's error. */
  static async open(options: FileLogOptions): Promise<FileLog> {
    const { directory, disk = NODE_DISK, wallMs, heirAfter, log } = options;
    const place = { directory, disk, log };
    const family =
      heirAfter === undefined ? await LogFamily.main(place) : await LogFamily.heir(place, heirAfter, wallMs);
    try {
      const state = new LogState();
      const found = await readSegments(disk, family.directory);
      const damaged = takeIn(found, state, log);
      for (const entry of family.found.entries) state.apply(entry);
      state.epoch = family.heirEpoch ?? Math.max(state.epoch + 1, wallMs);
      if (state.firstEpoch === 0) state.firstEpoch = state.epoch;
      // Which epochs the damaged bytes told of is not known: any before this one.
      if (damaged.length > 0 || family.found.isDamaged) state.damagedUpToEpoch = state.epoch - 1;
      const next = (found.at(-1)?.number ?? 0) + 1;
      const segment = await createSegment(disk, family.directory, next, state);
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

  survey(): Promise<void> {
    this.#surveying ??= this.#family
      .survey(this.epoch, (entries) => this.#append(entries))
      .finally(() => {
        this.#surveying = null;
      });
    return this.#surveying;
  }

  get isSound(): boolean {
    return this.#failure === null;
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
    const durable = this.#append([{ kind: "commit", gtrid, participants }]).then((): Outcome => {
      this.#pending.delete(gtrid);
      return "commit";
    });
    this.#pending.set(gtrid, durable);
    return durable;
  }

  lookup(gtrid: Gtrid, epoch: number): Lookup {
    // A decision whose write failed, or is on its way, may stand or not: only a restart will know.
    if (this.#pending.has(gtrid)) return "unknowable";
    if (this.#aborts.has(gtrid)) return "abort";
    const found = this.#state.lookup(gtrid, epoch);
    // What another process's log lost was not of this epoch.
    return found === "unknowable" && epoch === this.epoch ? "absent" : found;
  }

  unconcluded(): readonly Decision[] {
    return [...this.#state.commits].map(([gtrid, participants]) => ({ gtrid, participants }));
  }

  unconcludedParticipants(gtrid: Gtrid): readonly Participant[] | null {
    return this.#state.commits.get(gtrid) ?? null;
  }

  conclude(gtrid: Gtrid): void {
    if (!this.#state.commits.delete(gtrid)) return;
    this.#lazy.push({ kind: "concluded", gtrid });
  }

  async close(): Promise<void> {
    await this.#surveying;
    await this.#writing;
    if (this.isSound && this.#lazy.length > 0) this.#start();
    await this.#writing;
    await this.#file.close();
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
    if (this.#failure !== null) return Promise.reject(logFailed(this.#failure));
    return new Promise((resolve, reject) => {
      this.#queue.push({ entries, resolve, reject });
      if (this.#writing === null) this.#start();
    });
  }

  #start(): void {
    this.#writing = this.#writeAll().finally(() => {
      this.#writing = null;
    });
    detach(this.#writing, "whoever waits for a decision is told of its failure");
  }

  async #writeAll(): Promise<void> {
    do {
      const batch = this.#queue;
      this.#queue = [];
      try {
        await this.#write(batch);
      } catch (error) {
        this.#fail(error, batch);
        return;
      }
      for (const { resolve } of batch) resolve();
    } while (this.#queue.length > 0);
  }

  async #write(batch: readonly Waiting[]): Promise<void> {
    const { faultPoint, segmentBytesMax } = this.#options;
    if (this.#segmentBytes > (segmentBytesMax ?? SEGMENT_BYTES_MAX)) await this.#rotate();
    const frame = encodeFrame([...this.#lazy.splice(0), ...batch.flatMap(({ entries }) => entries)]);
    faultPoint("decision.before-write", 0);
    writeAll(this.#file, frame);
    this.#segmentBytes += frame.length;
    faultPoint("decision.before-sync", 0);
    const fromMs = this.#options.monotonicMs?.() ?? 0;
    await this.#file.sync("fdatasync");
    this.syncs += 1;
    for (const { entries } of batch) for (const entry of entries) this.#state.apply(entry);
    this.syncMs.observe((this.#options.monotonicMs?.() ?? 0) - fromMs);
    faultPoint("decision.after-sync", 0);
  }

  async #rotate(): Promise<void> {
    const { directory } = this.#family;
    const old = { file: this.#file, number: this.#segment };
    const segment = await createSegment(this.#disk, directory, old.number + 1, this.#state);
    this.#lazy = []; // the new segment does not have what they conclude
    this.#file = segment.file;
    this.#segment = segment.number;
    this.#segmentBytes = segment.bytes;
    await old.file.close();
    await removeSegments(this.#disk, directory, [old.number]);
  }

  #fail(error: unknown, batch: readonly Waiting[]): void {
    this.#failure = error;
    const reason = error instanceof Error ? error.message : String(error);
    this.#options.log.error("log.failed", { reason });
    for (const { reject } of [...batch, ...this.#queue.splice(0)]) reject(logFailed(error));
  }
}

const logFailed = (cause: unknown): Fault =>
  new Fault("commit.log_failed", {
    detail: cause instanceof Error ? `${cause.message}.` : String(cause),
    hint: "Free the disk that transaction.log_directory is on, and start pgxa again; transactions in doubt are settled then.",
    cause,
  });
