/**
 * The directory in which the demo keeps everything between runs.
 *
 *     demo.json   how many shards, on which ports, whether the bank is filled
 *     demo.lock   which process uses it now
 *     pgxa.yaml   the configuration, written anew at every start
 *     pgxa.log    what pgxa logs
 *     decisions/  the decision log
 *     shards/     one Postgres data directory for each shard
 *
 * Invariants: one demo at a time uses a directory, which the lock ensures by the pid and start of its process; a
 * directory with files but without demo.json is never used.
 */
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { isReachable, type Runner } from "./embeddedPostgres.ts";
import { startOfProcess } from "./osProcess.ts";

const DEFAULT_DIRECTORY = ".pgxa";
const SYSTEM_DIRECTORY = "/var/lib/pgxa-demo";
const STATE_FILE = "demo.json";
const LOCK_FILE = "demo.lock";

/** Something the user can put right; told without a stack trace. */
export class DemoProblem extends Error {
  override readonly name = "DemoProblem";
}

export interface DemoState {
  readonly shards: number;
  /** In the order of the shards. */
  readonly ports: readonly number[];
  readonly isLoaded: boolean;
}

export class DemoHome {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  /** Takes the directory for this process. Throws a `DemoProblem` if another has it, or Postgres cannot get there. */
  static open(wanted: string | null, runner: Runner | null): DemoHome {
    const home = new DemoHome(resolve(wanted ?? defaultDirectory(runner)));
    if (!isReachable(home.directory, runner)) {
      throw new DemoProblem(
        `${home.directory} cannot be entered by the user ${runner?.name}, as whom Postgres runs because it refuses to run as root; choose another directory with --data`,
      );
    }
    mkdirSync(home.directory, { recursive: true });
    if (runner !== null) chmodSync(home.directory, 0o755);
    home.#requireOwn();
    home.#lock();
    return home;
  }

  get configFile(): string {
    return join(this.directory, "pgxa.yaml");
  }

  get logFile(): string {
    return join(this.directory, "pgxa.log");
  }

  get decisions(): string {
    return join(this.directory, "decisions");
  }

  shard(id: string): string {
    return join(this.directory, "shards", id);
  }

  /** The shards' data directories that exist. */
  shards(): string[] {
    const parent = join(this.directory, "shards");
    return existsSync(parent) ? readdirSync(parent).map((name) => join(parent, name)) : [];
  }

  /** Null if the directory is new. */
  get state(): DemoState | null {
    if (!existsSync(this.#stateFile)) return null;
    return JSON.parse(readFileSync(this.#stateFile, "utf8")) as DemoState;
  }

  save(state: DemoState): void {
    const aside = `${this.#stateFile}.new`;
    writeFileSync(aside, `${JSON.stringify(state)}\n`);
    renameSync(aside, this.#stateFile);
  }

  /** Removes everything in it but the lock; demo.json last, so that what is cut short can be done again. */
  empty(): void {
    for (const name of [...this.#contents().filter((name) => name !== STATE_FILE), STATE_FILE]) {
      rmSync(join(this.directory, name), { recursive: true, force: true });
    }
  }

  unlock(): void {
    rmSync(this.#lockFile, { force: true });
  }

  get #stateFile(): string {
    return join(this.directory, STATE_FILE);
  }

  get #lockFile(): string {
    return join(this.directory, LOCK_FILE);
  }

  #contents(): string[] {
    return readdirSync(this.directory).filter((name) => name !== LOCK_FILE);
  }

  #requireOwn(): void {
    if (this.state !== null || this.#contents().length === 0) return;
    throw new DemoProblem(
      `${this.directory} holds files that are not a demo's; choose another directory with --data`,
    );
  }

  #lock(): void {
    const owner = readLock(this.#lockFile);
    if (owner !== null && startOfProcess(owner.pid) === owner.start) {
      throw new DemoProblem(
        `a demo runs here already (pid ${owner.pid}, ${this.directory}); stop it, or use another directory with --data`,
      );
    }
    rmSync(this.#lockFile, { force: true });
    const lock = { pid: process.pid, start: startOfProcess(process.pid) };
    writeFileSync(this.#lockFile, JSON.stringify(lock), { flag: "wx" });
  }
}

/** Root's own directories are often closed to the user that Postgres runs as; then the system's place for data. */
function defaultDirectory(runner: Runner | null): string {
  const local = resolve(DEFAULT_DIRECTORY);
  if (isReachable(local, runner)) return local;
  return join(SYSTEM_DIRECTORY, createHash("sha256").update(local).digest("hex").slice(0, 12));
}

function readLock(file: string): { readonly pid: number; readonly start: string } | null {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return null;
  }
}
