/**
 * One process owns a log directory.
 *
 * The lock is a file `owner` that names a process: its pid, when that process started, and on which boot. A lock whose
 * process is gone is stale, however it died, and a pid that was given to another process does not pass for the owner.
 *
 * A stale lock is taken over by making a link `owner.after-…`, named after the dead process, to a file of one's own: of those
 * who try the link of one exists, and that one then puts its file in the lock's place. If it dies in between, who
 * comes next makes a link named after it, and so on. Nothing is ever moved away that may be somebody's: many workers
 * try at the same moment when the one that had the directory dies.
 *
 * The directory must not be shared between machines: a process elsewhere cannot be seen.
 */
import { createHash } from "node:crypto";
import { link, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
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
const AFTER = "owner.after-";

/** Takes the lock of `directory` for this process; rejects with `log.owned`. */
export async function takeOwnership(directory: string): Promise<OwnerLock> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, "owner");
  const own = join(directory, `owner.${process.pid}`);
  const self: ProcessIdentity = { pid: process.pid, started: await startedAt(process.pid) };
  await writeFile(own, JSON.stringify(self), { mode: 0o600 });
  try {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
      if ((await isLinked(own, path)) || (await isTakenFromDead(directory, own, path)))
        return { release: () => rm(path, { force: true }) };
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

/**
 * Puts the file `own` in the place of a stale lock; false: it has changed meanwhile. Throws `log.owned` if its process lives,
 * or one that has come before this one.
 */
async function isTakenFromDead(directory: string, own: string, path: string): Promise<boolean> {
  const first = await readLock(path);
  if (first === null) return false;
  for (let lock = first; ; ) {
    if (lock.owner !== null && (await isAlive(lock.owner)))
      throw owned(directory, `process ${lock.owner.pid} has it`);
    const after = join(directory, `${AFTER}${lock.key}`);
    if (await isLinked(own, after)) return isReplaced(directory, { own, path, after }, first);
    const next = await readLock(after);
    if (next === null) return false;
    lock = next;
  }
}

interface Paths {
  readonly own: string;
  readonly path: string;
  readonly after: string;
}

/** Who has made the link `after` is the only one to replace `first`, unless that was replaced before the link was made. */
async function isReplaced(directory: string, { own, path, after }: Paths, first: Lock): Promise<boolean> {
  try {
    if ((await readLock(path))?.key !== first.key) {
      await rm(after, { force: true });
      return false;
    }
    await rename(own, path);
  } catch (error) {
    await rm(after, { force: true });
    throw error;
  }
  // They say nothing any more; whoever makes one now sees that the lock is another.
  for (const name of await readdir(directory))
    if (name.startsWith(AFTER)) await rm(join(directory, name), { force: true });
  return true;
}

interface Lock {
  /** Null if the file is broken, as a crash of the machine may leave it. */
  readonly owner: ProcessIdentity | null;
  /** Of what it says. */
  readonly key: string;
}

async function readLock(path: string): Promise<Lock | null> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (isCode(error, "ENOENT")) return null;
    throw error;
  }
  return { owner: ownerIn(text), key: createHash("sha256").update(text).digest("hex").slice(0, 24) };
}

function ownerIn(text: string): ProcessIdentity | null {
  try {
    const { pid, started } = JSON.parse(text);
    return typeof pid === "number" && typeof started === "string" ? { pid, started } : null;
  } catch {
    return null;
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

/** Whether `error` says that a process which lives has the directory. */
export const isOwned = (error: unknown): boolean => error instanceof Fault && error.id === "log.owned";

const owned = (directory: string, who: string): Fault =>
  new Fault("log.owned", {
    message: `the decision log in ${directory} belongs to another process`,
    detail: `One process owns a decision log; ${who}.`,
    hint: "Stop the other pgxa, or give this one a transaction.log_directory and a coordinator name of its own.",
  });
