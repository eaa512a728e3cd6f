/**
 * The decision logs of one coordinator: one in the log directory itself, and one more for each other process of it, an
 * *heir*, in a directory of its own below. Heirs are the workers of one pgxa, but for the first (fleet/logTurns.ts), and
 * processes that were started by another in an online restart.
 *
 *     decisions/owner                      the lock of the process that is responsible (responsibility.ts)
 *     decisions/decisions-….log
 *     decisions/heir-<epoch>/owner         the lock of an heir
 *     decisions/heir-<epoch>/decisions-….log
 *
 * A log whose process is gone, however it ended, is taken over by the responsible one: its decisions are written to the
 * own log and synced, then the files go. Interrupted in between, they stand in both, which says the same.
 *
 * An heir becomes responsible when the lock of the directory itself is free; it keeps its own directory. A process that
 * nobody started as an heir refuses to run beside one that lives.
 */
import { basename, dirname, join } from "node:path";
import type { Log } from "../../observe/log.ts";
import { answersFor, type Epochs, type Role } from "../responsibility.ts";
import type { LogDisk, OwnerLock } from "./logDisk.ts";
import { isOwned } from "./ownerLock.ts";
import type { Entry } from "./segment.ts";
import { type FoundSegment, readSegments, removeSegments, takeIn } from "./segmentFiles.ts";

const HEIR_NAME = /^heir-([0-9a-z]{1,11})$/;
const ATTEMPTS_MAX = 5;

/** A log that nobody writes any more, and what it says. */
interface DeadLog {
  readonly directory: string;
  readonly lock: OwnerLock;
  readonly segments: readonly FoundSegment[];
  readonly damaged: readonly FoundSegment[];
  readonly entries: readonly Entry[];
}

export interface FamilyOptions {
  /** That of the configuration. */
  readonly directory: string;
  readonly disk: LogDisk;
  readonly log: Log;
}

export class LogFamily {
  readonly #options: FamilyOptions;
  /** Where the process's own log is. */
  readonly directory: string;
  /** The epoch that an heir's directory is named after; null for the process that took the log directory itself. */
  readonly heirEpoch: number | null;
  readonly #own: OwnerLock;
  /** The lock of the log directory, once an heir has it. */
  #main: OwnerLock | null = null;
  /** Whether it has also seen the logs of all others since: the one before it may have known of epochs that nobody else does. */
  #isResponsible = false;
  /** What was found dead at the start. */
  #found: readonly DeadLog[] = [];
  #living: ReadonlySet<number> = new Set();
  readonly #failed = new Set<string>();

  private constructor(
    options: FamilyOptions,
    directory: string,
    heirEpoch: number | null,
    own: OwnerLock,
    found: readonly DeadLog[],
  ) {
    this.#options = options;
    this.directory = directory;
    this.heirEpoch = heirEpoch;
    this.#own = own;
    this.#found = found;
  }

  /** Takes the log directory. Rejects with `log.owned` if a process has it, or one of its heirs lives. */
  static async main(options: FamilyOptions): Promise<LogFamily> {
    const { disk } = options;
    const lock = await disk.own(options.directory);
    const dead: DeadLog[] = [];
    try {
      // Whoever made the directory may have died before that was durable.
      await disk.syncDirectory(dirname(options.directory)).catch((error: unknown) => {
        if (!isCode(error, "EACCES", "EPERM")) throw error;
      });
      for (const { directory } of await listHeirs(disk, options.directory)) {
        dead.push(await open(options, directory, await disk.own(directory)));
      }
      return new LogFamily(options, options.directory, null, lock, dead);
    } catch (error) {
      for (const { lock: other } of dead) await other.release();
      await lock.release();
      throw error;
    }
  }

  /** Makes a log directory for a process beside others, or after one, whose latest epoch is `after`. */
  static async heir(options: FamilyOptions, after: number, wallMs: number): Promise<LogFamily> {
    const { disk } = options;
    let epoch = Math.max(after + 1, wallMs);
    for (let attempt = 1; ; attempt += 1, epoch += 1) {
      const directory = join(options.directory, `heir-${epoch.toString(36)}`);
      try {
        await disk.makeDirectory(directory);
        const lock = await disk.own(directory);
        await disk.syncDirectory(options.directory);
        return new LogFamily(options, directory, epoch, lock, []);
      } catch (error) {
        // Who is responsible may have cleared the directory away before its lock was there.
        if (attempt === ATTEMPTS_MAX || !(isOwned(error) || isCode(error, "ENOENT", "EEXIST"))) throw error;
      }
    }
  }

  get role(): Role {
    return this.heirEpoch === null || this.#isResponsible ? "responsible" : "heir";
  }

  answersFor(epoch: number, own: number, latest: number): boolean {
    const epochs: Epochs = { role: this.role, own, latest, living: this.#living };
    return answersFor(epoch, epochs);
  }

  /** Whether another process that lives sees to what transactions of `epoch` left, or the one that is responsible does. */
  leaves(epoch: number, own: number): boolean {
    return this.role === "heir" ? epoch !== own : epoch !== own && this.#living.has(epoch);
  }

  /** What was found dead at the start says. */
  get found(): readonly Entry[] {
    return this.#found.flatMap(({ entries }) => entries);
  }

  /** What was found is durable in the own log. */
  async buryFound(): Promise<void> {
    for (const dead of this.#found) await this.#bury(dead);
    this.#found = [];
  }

  /** Sees who lives, and takes over the logs of those who do not; `write` makes entries durable in the own log. */
  async survey(write: (entries: readonly Entry[]) => Promise<void>): Promise<void> {
    if (this.role === "heir" && this.#main === null && !(await this.#takeMain(write))) return;
    const heirs = await listHeirs(this.#options.disk, this.#options.directory);
    // Who may live is known before a log is taken over that tells of later epochs.
    const living = new Set(heirs.map(({ epoch }) => epoch));
    this.#living = living;
    for (const { directory, epoch } of heirs) {
      if (directory !== this.directory && (await this.#takeOver(directory, write))) living.delete(epoch);
    }
    this.#isResponsible = true;
  }

  async release(): Promise<void> {
    for (const { lock } of this.#found) await lock.release();
    await this.#own.release();
    await this.#main?.release();
  }

  async #takeMain(write: (entries: readonly Entry[]) => Promise<void>) {
    const { directory, disk, log } = this.#options;
    const lock = await tryOwnership(disk, directory);
    if (lock === null) return false;
    try {
      const dead = await open(this.#options, directory, lock);
      if (dead.entries.length > 0) await write(dead.entries);
      await this.#removeFiles(dead);
      this.#main = lock;
      log.info("log.adopted", { directory, commits: commitsOf(dead) });
      return true;
    } catch (error) {
      await lock.release();
      this.#noteFailure(directory, error);
      return false;
    }
  }

  /** False: its process lives, or it could not be taken over. */
  async #takeOver(directory: string, write: (entries: readonly Entry[]) => Promise<void>): Promise<boolean> {
    const lock = await tryOwnership(this.#options.disk, directory);
    if (lock === null) return false;
    try {
      const dead = await open(this.#options, directory, lock);
      if (dead.entries.length > 0) await write(dead.entries);
      await this.#bury(dead);
      this.#options.log.info("log.adopted", { directory, commits: commitsOf(dead) });
      return true;
    } catch (error) {
      await lock.release();
      this.#noteFailure(directory, error);
      return false;
    }
  }

  async #bury(dead: DeadLog): Promise<void> {
    await this.#removeFiles(dead);
    await dead.lock.release();
    await this.#options.disk.removeDirectory(dead.directory).catch(() => {}); // somebody may be making a lock of his own there
  }

  async #removeFiles({ directory, segments, damaged }: DeadLog): Promise<void> {
    const { disk } = this.#options;
    for (const { path } of damaged) {
      await disk.rename(
        path,
        join(this.#options.directory, `${basename(directory)}-${basename(path)}.damaged`),
      );
    }
    const intact = segments.filter((segment) => !damaged.includes(segment));
    await removeSegments(
      disk,
      directory,
      intact.map(({ number }) => number),
    );
  }

  /** Said once for each directory. */
  #noteFailure(directory: string, error: unknown): void {
    if (this.#failed.has(directory)) return;
    this.#failed.add(directory);
    const reason = error instanceof Error ? error.message : String(error);
    this.#options.log.error("log.adopt_failed", { directory, reason });
  }
}

const commitsOf = ({ entries }: DeadLog): number => entries.filter(({ kind }) => kind === "commit").length;

/** Reads the log in `directory`. */
async function open({ disk, log }: FamilyOptions, directory: string, lock: OwnerLock): Promise<DeadLog> {
  const segments = await readSegments(disk, directory);
  const { reading, damaged } = takeIn(directory, segments, log);
  const { state } = reading;
  // The name tells of an epoch of which nothing is known then.
  if (damaged.length > 0) state.epoch = Math.max(state.epoch, heirEpochOf(basename(directory)) ?? 0);
  // One that ended while it made its first segment has decided nothing. What is known comes last: then all of it is here.
  const commits = [...state.commits].map(([gtrid, participants]): Entry => {
    return { kind: "commit", gtrid, participants };
  });
  const entries = state.epoch === 0 ? [] : [...commits, state.opening()];
  return { directory, lock, segments, damaged, entries };
}

/** The lock of `directory` if its process is gone; null if it lives. */
async function tryOwnership(disk: LogDisk, directory: string): Promise<OwnerLock | null> {
  try {
    return await disk.own(directory);
  } catch (error) {
    if (isOwned(error) || isCode(error, "ENOENT")) return null;
    throw error;
  }
}

async function listHeirs(disk: LogDisk, directory: string) {
  const names = await disk.list(directory);
  return names.flatMap((name) => {
    const epoch = heirEpochOf(name);
    return epoch === null ? [] : [{ directory: join(directory, name), epoch }];
  });
}

function heirEpochOf(name: string): number | null {
  const [, text] = HEIR_NAME.exec(name) ?? [];
  return text === undefined ? null : Number.parseInt(text, 36);
}

const isCode = (error: unknown, ...codes: readonly string[]): boolean =>
  codes.includes((error as NodeJS.ErrnoException).code ?? "");
