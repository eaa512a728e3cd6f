/**
 * One pgxa, as `pgxa up` in a process of its own: killed, held still, restarted online, and started again.
 *
 * Which process it is, its pid file says, since an online restart replaces it. Nobody else may end it: one that ends
 * by itself is a failure of the run.
 */
import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { areGone, isAlive, signalProcess } from "../../src/cli/osProcess.ts";
import "../support/compileCache.ts";

const PROGRAM = join(import.meta.dirname, "..", "..", "src", "cli", "main.ts");
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 30_000;

export interface PgxaOptions {
  readonly name: string;
  /** The directory of its files: `NAME.pid`, `NAME.log`. */
  readonly home: string;
  readonly configFile: string;
  readonly port: number;
  /** The variables of the configuration file. */
  readonly variables: Readonly<Record<string, string>>;
}

export class PgxaProcess {
  readonly name: string;
  /** Where it listens, whichever process it is. */
  readonly port: number;
  readonly #options: PgxaOptions;
  readonly #pidFile: string;
  readonly #logFile: string;
  #pid = 0;

  constructor(options: PgxaOptions) {
    this.#options = options;
    this.name = options.name;
    this.port = options.port;
    this.#pidFile = join(options.home, `${options.name}.pid`);
    this.#logFile = join(options.home, `${options.name}.log`);
  }

  get isUp(): boolean {
    return this.#pid !== 0 && isAlive(this.#pid);
  }

  /** Whether it was started and is gone without having been told to. */
  get hasEnded(): boolean {
    return this.#pid !== 0 && !isAlive(this.#servingPid());
  }

  get logEnd(): string {
    return this.#lines().slice(-8).join("\n");
  }

  /** The lines of its log that contain `text`. */
  linesWith(text: string): string[] {
    return this.#lines().filter((line) => line.includes(text));
  }

  /** Resolves when it serves. */
  async start(): Promise<void> {
    const { configFile, home, variables } = this.#options;
    rmSync(this.#pidFile, { force: true });
    const log = openSync(this.#logFile, "a");
    const child = spawn(process.execPath, [PROGRAM, "up", "--config", configFile], {
      stdio: ["ignore", log, log],
      cwd: home,
      detached: true,
      env: { ...process.env, ...variables },
    });
    child.unref();
    closeSync(log);
    this.#pid = child.pid!;
    const untilMs = performance.now() + START_TIMEOUT_MS;
    while (this.#readPid() !== this.#pid) {
      if (!isAlive(this.#pid) || performance.now() > untilMs)
        throw new Error(`pgxa ${this.name} did not start:\n${this.logEnd}`);
      await delay(20);
    }
  }

  /** As `kill -9`. */
  async kill(): Promise<void> {
    const pid = this.#servingPid();
    this.#pid = 0;
    signalProcess(pid, "SIGKILL");
    if (!(await areGone([pid], STOP_TIMEOUT_MS))) throw new Error(`pgxa ${this.name} outlived SIGKILL`);
  }

  /** SIGSTOP or SIGCONT. */
  signal(signal: NodeJS.Signals): void {
    signalProcess(this.#servingPid(), signal);
  }

  /** Asks for an online restart; resolves when the new process serves. */
  async restartOnline(): Promise<void> {
    const before = this.#servingPid();
    signalProcess(before, "SIGUSR2");
    const untilMs = performance.now() + START_TIMEOUT_MS;
    while (this.#servingPid() === before) {
      if (performance.now() > untilMs) throw new Error(`pgxa ${this.name} was not replaced:\n${this.logEnd}`);
      await delay(20);
    }
  }

  /** Ends it in order, and at once if that takes too long. */
  async stop(): Promise<void> {
    if (this.#pid === 0) return;
    const pid = this.#servingPid();
    this.#pid = 0;
    signalProcess(pid, "SIGINT");
    if (!(await areGone([pid], STOP_TIMEOUT_MS))) signalProcess(pid, "SIGKILL");
  }

  #lines(): string[] {
    return readFileSync(this.#logFile, "utf8").trimEnd().split("\n");
  }

  #servingPid(): number {
    const pid = this.#readPid();
    if (pid !== 0) this.#pid = pid;
    return this.#pid;
  }

  /** 0 while there is none. */
  #readPid(): number {
    try {
      return Number(readFileSync(this.#pidFile, "utf8"));
    } catch {
      return 0;
    }
  }
}
