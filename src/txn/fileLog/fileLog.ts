/**
 * The decision log in files of one directory.
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
import { writeSync } from "node:fs";
import { type FileHandle, open, readdir, readFile, rename, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { Gtrid } from "../../base/brands.ts";
import { detach } from "../../base/detach.ts";
import { Fault } from "../../base/fault.ts";
import type { FaultPointListener } from "../../base/faultPoint.ts";
import { Buckets } from "../../observe/buckets.ts";
import type { Log } from "../../observe/log.ts";
import type { Decision, DecisionLog, Lookup, Outcome, Participant } from "../decisionLog.ts";
import { LogState } from "./logState.ts";
import { type OwnerLock, takeOwnership } from "./ownerLock.ts";
import { type Entry, encodeFrame, MAGIC, readSegment, type SegmentContents } from "./segment.ts";

export interface FileLogOptions {
  readonly directory: string;
  readonly log: Log;
  /** Wall time in ms: epochs are never below it, so that a log that was lost does not repeat one. */
  readonly wallMs: number;
  /** The clock by which syncs are measured. */
  monotonicMs?(): number;
  readonly faultPoint: FaultPointListener;
  /** A segment that has grown beyond this is replaced, in bytes. */
  readonly segmentBytesMax?: number;
}

const SEGMENT_BYTES_MAX = 16 * 1024 * 1024;
const ABORTS_MAX = 10_000;
const SEGMENT_NAME = /^decisions-(\d{10})\.log$/;
const segmentName = (number: number): string => `decisions-${String(number).padStart(10, "0")}.log`;

interface Waiting {
  readonly entry: Entry;
  resolve(): void;
  reject(error: unknown): void;
}

export class FileLog implements DecisionLog {
  readonly #options: FileLogOptions;
  readonly #state: LogState;
  readonly #lock: OwnerLock;
  /** Aborts decided here, so that a commit that comes later loses. */
  readonly #aborts = new Set<Gtrid>();
  /** Commits on their way to the disk. */
  readonly #pending = new Map<Gtrid, Promise<Outcome>>();
  #handle: FileHandle;
  #segment: number;
  #segmentBytes: number;
  #queue: Waiting[] = [];
  #lazy: Entry[] = [];
  #writing: Promise<void> | null = null;
  #failure: unknown = null;
  /** How many times the disk was made to sync. For tests and metrics. */
  syncs = 0;
  readonly syncMs = new Buckets();

  private constructor(options: FileLogOptions, state: LogState, lock: OwnerLock, segment: OpenSegment) {
    this.#options = options;
    this.#state = state;
    this.#lock = lock;
    this.#handle = segment.handle;
    this.#segment = segment.number;
    this.#segmentBytes = segment.bytes;
  }

  /** Opens the log, made if there is none. Rejects with `log.owned`, or the system's error. */
  static async open(options: FileLogOptions): Promise<FileLog> {
    const lock = await takeOwnership(options.directory);
    try {
      const state = new LogState();
      const found = await readSegments(options.directory);
      const damaged = adopt(found, state, options.log);
      state.epoch = Math.max(state.epoch + 1, options.wallMs);
      if (state.firstEpoch === 0) state.firstEpoch = state.epoch;
      // Which epochs the damaged bytes told of is not known: any before this one.
      if (damaged.length > 0) state.damagedUpToEpoch = state.epoch - 1;
      const next = (found.at(-1)?.number ?? 0) + 1;
      const segment = await createSegment(options.directory, next, state);
      // Only now: interrupted before, the next start must find the same damage again.
      for (const { path } of damaged) await rename(path, `${path}.damaged`);
      const intact = found.filter((one) => !damaged.includes(one));
      await removeSegments(
        options.directory,
        intact.map(({ number }) => number),
      );
      options.log.info("log.opened", { epoch: state.epoch, unconcluded: state.commits.size });
      return new FileLog(options, state, lock, segment);
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  get epoch(): number {
    return this.#state.epoch;
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
    const durable = this.#append({ kind: "commit", gtrid, participants }).then((): Outcome => {
      this.#pending.delete(gtrid);
      return "commit";
    });
    this.#pending.set(gtrid, durable);
    return durable;
  }

  lookup(gtrid: Gtrid, epoch: number): Lookup {
    // A decision whose write failed, or is on its way, may stand or not: only a restart will know.
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
    this.#lazy.push({ kind: "concluded", gtrid });
  }

  async close(): Promise<void> {
    await this.#writing;
    if (this.isSound && this.#lazy.length > 0) this.#start();
    await this.#writing;
    await this.#handle.close();
    await this.#lock.release();
  }

  /** Names are never used again, so old ones may be forgotten. */
  #abort(gtrid: Gtrid): void {
    this.#aborts.add(gtrid);
    if (this.#aborts.size <= ABORTS_MAX) return;
    const [oldest] = this.#aborts;
    this.#aborts.delete(oldest!);
  }

  // --- writing ---

  #append(entry: Entry): Promise<void> {
    if (this.#failure !== null) return Promise.reject(logFailed(this.#failure));
    return new Promise((resolve, reject) => {
      this.#queue.push({ entry, resolve, reject });
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
    const frame = encodeFrame([...this.#lazy.splice(0), ...batch.map(({ entry }) => entry)]);
    faultPoint("decision.before-write", 0);
    writeAll(this.#handle.fd, frame);
    this.#segmentBytes += frame.length;
    faultPoint("decision.before-sync", 0);
    const fromMs = this.#options.monotonicMs?.() ?? 0;
    await this.#handle.datasync();
    this.syncs += 1;
    this.syncMs.observe((this.#options.monotonicMs?.() ?? 0) - fromMs);
    for (const { entry } of batch) this.#state.apply(entry);
    faultPoint("decision.after-sync", 0);
  }

  async #rotate(): Promise<void> {
    const { directory } = this.#options;
    const old = { handle: this.#handle, number: this.#segment };
    const segment = await createSegment(directory, old.number + 1, this.#state);
    this.#lazy = []; // the new segment does not have what they conclude
    this.#handle = segment.handle;
    this.#segment = segment.number;
    this.#segmentBytes = segment.bytes;
    await old.handle.close();
    await removeSegments(directory, [old.number]);
  }

  #fail(error: unknown, batch: readonly Waiting[]): void {
    this.#failure = error;
    const reason = error instanceof Error ? error.message : String(error);
    this.#options.log.error("log.failed", { reason });
    for (const { reject } of [...batch, ...this.#queue.splice(0)]) reject(logFailed(error));
  }
}

interface OpenSegment {
  readonly handle: FileHandle;
  readonly number: number;
  readonly bytes: number;
}

interface FoundSegment {
  readonly number: number;
  readonly path: string;
  readonly contents: SegmentContents;
}

/** All segments of the directory, oldest first. */
async function readSegments(directory: string): Promise<readonly FoundSegment[]> {
  const numbers = (await readdir(directory))
    .map((name) => SEGMENT_NAME.exec(name)?.[1])
    .filter((number) => number !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
  const found: FoundSegment[] = [];
  for (const number of numbers) {
    const path = join(directory, segmentName(number));
    found.push({ number, path, contents: readSegment(await readFile(path)) });
  }
  return found;
}

/**
 * Takes what was found into `state`, without a torn tail; returns the segments that are damaged.
 *
 * The last segment with a good beginning says all that those before it say, whatever state they are in. One without
 * can follow it only if a crash fell into its making: then it holds nothing.
 */
function adopt(found: readonly FoundSegment[], state: LogState, log: Log): readonly FoundSegment[] {
  const from = found.findLastIndex(({ contents }) => contents.hasBeginning);
  const current = found.slice(Math.max(from, 0));
  for (const { number, contents } of current) {
    for (const entry of contents.entries) state.apply(entry);
    const fields = { segment: segmentName(number), goodBytes: contents.goodBytes };
    if (contents.kind === "torn") log.warn("log.tail_cut", fields);
    if (contents.kind === "damaged") log.error("log.damaged", fields);
  }
  return current.filter(({ contents }) => contents.kind === "damaged");
}

/** Makes a segment that says all of `state`, durable before it returns. */
async function createSegment(directory: string, number: number, state: LogState): Promise<OpenSegment> {
  const handle = await open(join(directory, segmentName(number)), "ax", 0o600);
  const bytes = Buffer.concat([MAGIC, encodeFrame(state.snapshot())]);
  writeAll(handle.fd, bytes);
  await handle.sync();
  await syncDirectory(directory);
  return { handle, number, bytes: bytes.length };
}

async function removeSegments(directory: string, numbers: readonly number[]): Promise<void> {
  for (const number of numbers) await unlink(join(directory, segmentName(number)));
}

/** A new file is found after a crash only if its directory is durable too. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Small writes to the page cache: not worth a thread. */
function writeAll(fd: number, bytes: Buffer): void {
  for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written);
}

const logFailed = (cause: unknown): Fault =>
  new Fault("commit.log_failed", {
    detail: cause instanceof Error ? `${cause.message}.` : String(cause),
    hint: "Free the disk that transaction.log_directory is on, and start pgxa again; transactions in doubt are settled then.",
    cause,
  });
