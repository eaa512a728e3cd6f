/**
 * One running Postgres server on a data directory, from its postmaster's start to its end.
 *
 * The server runs in a process group of its own, so that a Ctrl-C in the terminal reaches pgxa alone and pgxa stops
 * the shards in order. It outlives a killed pgxa, as a shard on another machine would. `postmaster.pid` in the data
 * directory says who serves it and when it is ready; a pid in it is believed only if that process works in this very
 * directory, since pids are used again.
 * https://www.postgresql.org/docs/current/server-shutdown.html
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type EmbeddedPostgres, runAs } from "./embeddedPostgres.ts";
import {
  areGone,
  childrenOf,
  commandOfProcess,
  directoryOfProcess,
  isAlive,
  signalProcess,
} from "./osProcess.ts";

export const SERVER_LOG = "server.log";
const START_TIMEOUT_MS = 60_000;
const FAST_SHUTDOWN_MS = 10_000;
const POLL_MS = 10;

/** Its server settings by name; what they leave out is Postgres's default. */
export type ServerSettings = Readonly<Record<string, string>>;

export class Postmaster {
  readonly directory: string;
  readonly port: number;
  readonly pid: number;

  private constructor(directory: string, port: number, pid: number) {
    this.directory = directory;
    this.port = port;
    this.pid = pid;
  }

  /** Starts a server and resolves when it takes connections. Throws with the end of its log if it does not come up. */
  static async start(
    programs: EmbeddedPostgres,
    directory: string,
    port: number,
    settings: ServerSettings,
  ): Promise<Postmaster> {
    removeDeadPidFile(directory);
    const log = openSync(join(directory, SERVER_LOG), "a", 0o640);
    const child = spawn(programs.postgres, ["-D", directory, ...settingArguments(port, settings)], {
      stdio: ["ignore", log, log],
      detached: true,
      cwd: directory,
      ...runAs(programs.runner),
    });
    closeSync(log);
    child.unref();
    await once(child, "spawn");
    const server = new Postmaster(directory, port, child.pid!);
    await server.#untilReady();
    return server;
  }

  /** The server that serves `directory` now, whoever started it; null if none does. */
  static serving(directory: string): Postmaster | null {
    const file = readPidFile(directory);
    if (file === null || !worksIn(file.pid, directory)) return null;
    return new Postmaster(directory, file.port, file.pid);
  }

  /** Stops the server: fast first, then at once; resolves when nothing of it is left. */
  async stop(): Promise<void> {
    const children = childrenOf(this.pid);
    signalProcess(this.pid, "SIGINT");
    if (await areGone([this.pid], FAST_SHUTDOWN_MS)) return;
    signalProcess(this.pid, "SIGQUIT");
    if (await areGone([this.pid, ...children], FAST_SHUTDOWN_MS)) return;
    await this.kill("SIGKILL");
  }

  /**
   * Sends `signal`; resolves when the server is gone. SIGKILL takes the whole server at one blow, as a power failure
   * would: the postmaster is held still meanwhile, so that it starts no more children.
   */
  async kill(signal: NodeJS.Signals): Promise<void> {
    const pids = signal === "SIGKILL" ? this.killTree() : [this.pid];
    if (signal !== "SIGKILL") signalProcess(this.pid, signal);
    if (!(await areGone(pids, START_TIMEOUT_MS))) throw new Error(`Postgres ${this.pid} outlived ${signal}`);
  }

  /** SIGKILL for the postmaster and its children, without waiting; returns their pids. */
  killTree(): number[] {
    if (!isAlive(this.pid) || !signalProcess(this.pid, "SIGSTOP")) return [];
    const pids = [this.pid, ...childrenOf(this.pid)];
    for (const pid of pids) signalProcess(pid, "SIGKILL");
    return pids;
  }

  async #untilReady(): Promise<void> {
    const deadline = performance.now() + START_TIMEOUT_MS;
    for (;;) {
      const file = readPidFile(this.directory);
      if (file?.pid === this.pid && file.status === "ready") return;
      if (!isAlive(this.pid) || performance.now() > deadline) {
        await this.kill("SIGKILL");
        throw new Error(`Postgres in ${this.directory} did not start:\n${endOfLog(this.directory)}`);
      }
      await delay(POLL_MS);
    }
  }
}

/** A port on 127.0.0.1 that was free a moment ago. */
export async function freePort(): Promise<number> {
  const port = await listenOnce("127.0.0.1", 0);
  if (port === null) throw new Error("no port is free on 127.0.0.1");
  return port;
}

export const isPortFree = async (host: string, port: number): Promise<boolean> =>
  (await listenOnce(host, port)) !== null;

function settingArguments(port: number, settings: ServerSettings): string[] {
  const all = { listen_addresses: "127.0.0.1", port: String(port), unix_socket_directories: "", ...settings };
  return Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
}

interface PidFile {
  readonly pid: number;
  readonly port: number;
  readonly status: string;
}

/** Its lines: https://doxygen.postgresql.org/pidfile_8h.html. Null if there is none, or it is not complete yet. */
function readPidFile(directory: string): PidFile | null {
  let lines: string[];
  try {
    lines = readFileSync(join(directory, "postmaster.pid"), "utf8").split("\n");
  } catch {
    return null;
  }
  const pid = Number(lines[0]);
  return Number.isInteger(pid) && pid > 0
    ? { pid, port: Number(lines[3]), status: lines[7]?.trim() ?? "" }
    : null;
}

/**
 * Postgres takes a zombie for a running server, and where nobody reaps orphans one may stay for ever. What the file
 * also guards against, backends that outlived their postmaster, Postgres finds by its shared memory.
 */
function removeDeadPidFile(directory: string): void {
  const file = readPidFile(directory);
  if (file !== null && !isAlive(file.pid)) rmSync(join(directory, "postmaster.pid"), { force: true });
}

function worksIn(pid: number, directory: string): boolean {
  if (!isAlive(pid)) return false;
  const works = directoryOfProcess(pid);
  if (works !== null) return works === realpathSync(directory);
  return commandOfProcess(pid)?.includes(directory) ?? false;
}

function endOfLog(directory: string): string {
  return readFileSync(join(directory, SERVER_LOG), "utf8").trimEnd().split("\n").slice(-8).join("\n");
}

/** Listens for a moment; the port it got, or null if it is taken or forbidden. */
function listenOnce(host: string, port: number): Promise<number | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(null));
    server.listen(port, host, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : null));
    });
  });
}
