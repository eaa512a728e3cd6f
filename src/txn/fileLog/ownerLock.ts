/**
 * One process owns a log directory.
 *
 * The lock is a file `owner` that names a process: its pid, when that process started, and on which boot. A lock whose
 * process is gone is stale, however it died, and a pid that was given to another process does not pass for the owner.
 * A stale lock is taken over by linking a file of one's own to its place; of two who try, the link of one exists.
 *
 * The directory must not be shared between machines: a process elsewhere cannot be seen.
 */
import { link, mkdir, readFile, rename, rm, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Fault } from "../../base/fault.ts";
import type { OwnerLock } from "./logDisk.ts";

export interface ProcessIdentity {
  readonly pid: number;
  /** What tells this process from another one that had or will have its pid. */
  readonly started: string;
}

const ATTEMPTS_MAX = 5;
const GONE = "gone";

/** Takes the lock of `directory` for this process; rejects with `log.owned`. */
export async function takeOwnership(directory: string): Promise<OwnerLock> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, "owner");
  const own = join(directory, `owner.${process.pid}`);
  const self: ProcessIdentity = { pid: process.pid, started: await startedAt(process.pid) };
  await writeFile(own, JSON.stringify(self), { mode: 0o600 });
  try {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
      if (await isLinked(own, path)) return { release: () => rm(path, { force: true }) };
      await removeStale(directory, path);
    }
    throw owned(directory, "others keep taking it");
  } finally {
    await rm(own, { force: true });
  }
}

async function isLinked(own: string, path: string): Promise<boolean> {
  try {
    await link(own, path);
    return true;
  } catch (error) {
    if (isCode(error, "EEXIST")) return false;
    throw error;
  }
}

/** Removes the lock if its process is gone; throws `log.owned` if it lives. */
async function removeStale(directory: string, path: string): Promise<void> {
  const owner = await readOwner(path);
  if (owner === null) return;
  if (owner !== "broken" && (await isAlive(owner))) throw owned(directory, `process ${owner.pid} has it`);
  // Moved aside under a name of one's own first: what is deleted is what was looked at, or a newer lock comes back.
  const aside = join(directory, `stale.${process.pid}`);
  await rename(path, aside).catch(ignoreMissing);
  const moved = await readOwner(aside);
  if (moved !== null && moved !== "broken" && (await isAlive(moved))) await link(aside, path).catch(() => {});
  await unlink(aside).catch(ignoreMissing);
}

async function readOwner(path: string): Promise<ProcessIdentity | "broken" | null> {
  try {
    const { pid, started } = JSON.parse(await readFile(path, "utf8"));
    return typeof pid === "number" && typeof started === "string" ? { pid, started } : "broken";
  } catch (error) {
    return isCode(error, "ENOENT") ? null : "broken";
  }
}

async function isAlive(owner: ProcessIdentity): Promise<boolean> {
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    if (isCode(error, "ESRCH")) return false;
  }
  return (await startedAt(owner.pid)) === owner.started;
}

/** On Linux boot and clock tick of the start; elsewhere nothing, and the pid alone must do. */
async function startedAt(pid: number): Promise<string> {
  try {
    const [stat, boot] = await Promise.all([
      readFile(`/proc/${pid}/stat`, "utf8"),
      readFile("/proc/sys/kernel/random/boot_id", "utf8"),
    ]);
    // The second field is the program's name in parentheses and may hold anything; the start is the 22nd.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // A zombie is gone: it owns nothing but an entry that its parent has not read.
    return fields[0] === "Z" || fields[0] === "X" ? GONE : `${boot.trim()}/${fields[19]}`;
  } catch {
    return "";
  }
}

const isCode = (error: unknown, code: string): boolean => (error as NodeJS.ErrnoException).code === code;

function ignoreMissing(error: unknown): void {
  if (!isCode(error, "ENOENT")) throw error;
}

/** Whether `error` says that a process which lives has the directory. */
export const isOwned = (error: unknown): boolean => error instanceof Fault && error.id === "log.owned";

const owned = (directory: string, who: string): Fault =>
  new Fault("log.owned", {
    message: `the decision log in ${directory} belongs to another process`,
    detail: `One process owns a decision log; ${who}.`,
    hint: "Stop the other pgxa, or give this one a transaction.log_directory and a coordinator name of its own.",
  });
