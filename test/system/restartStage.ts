/** Real shards, and `pgxa up` in processes of its own that are restarted online. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { areGone, isAlive, signalProcess } from "../../src/cli/osProcess.ts";
import { DATABASE, OPENING_BALANCE, Stage, type StageOptions } from "./stage.ts";
import "../support/compileCache.ts";

const PROGRAM = join(import.meta.dirname, "restartingProxy.ts");
const LISTENING = /^pgxa is listening on 127\.0\.0\.1:(\d+)/m;
const PATIENCE_MS = 90_000;

export class RestartStage {
  readonly stage: Stage;
  /** Every process that served, the last one last. */
  readonly pids: number[] = [];
  port = 0;
  /** What all of them logged. */
  log = "";
  readonly #configFile: string;
  readonly #diesFile: string;
  readonly #pidFile: string;
  #first: ChildProcess | null = null;

  private constructor(stage: Stage) {
    this.stage = stage;
    this.#configFile = join(stage.home, "pgxa.yaml");
    this.#diesFile = join(stage.home, "dies");
    this.#pidFile = join(stage.home, "pgxa.pid");
    this.write(stage.configText);
  }

  static async open(options: StageOptions = {}): Promise<RestartStage> {
    const config = { pid_file: "pgxa.pid", log: { level: "debug" }, ...options.config };
    const stage = await Stage.open({ accounts: 40, ...options, config, isOpen: false });
    return new RestartStage(stage);
  }

  /** Replaces the configuration file. */
  write(text: string): void {
    writeFileSync(this.#configFile, text);
  }

  async start(): Promise<void> {
    const child = spawn(process.execPath, [PROGRAM, "--config", this.#configFile], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, PGXA_TEST_DIES: this.#diesFile },
    });
    this.#first = child;
    let said = "";
    child.stdout!.setEncoding("utf8").on("data", (text: string) => (said += text));
    child.stderr!.setEncoding("utf8").on("data", (text: string) => (this.log += text));
    while (!LISTENING.test(said)) {
      const isOver = await Promise.race([
        once(child.stdout!, "data").then(() => false),
        once(child, "exit").then(() => true),
      ]);
      if (isOver) throw new Error(`pgxa did not start: ${said}${this.log}`);
    }
    this.port = Number(LISTENING.exec(said)![1]);
    await this.until(() => this.#servingPid() === child.pid, "the pid file is there");
    this.pids.push(child.pid!);
  }

  get pid(): number {
    return this.pids.at(-1)!;
  }

  /** Asks for a restart; resolves when the new process serves. */
  async restart(): Promise<void> {
    const before = this.pid;
    signalProcess(before, "SIGUSR2");
    await this.until(() => this.#servingPid() !== before, "the new process serves");
    this.pids.push(this.#servingPid()!);
  }

  /** The process `pid`, or any, dies at `point`. */
  die(point: string, pid: number | "any" = "any"): void {
    rmSync(`${this.#diesFile}.taken`, { force: true });
    writeFileSync(this.#diesFile, `${pid} ${point}`);
  }

  /** Whether the process that was to die is gone. */
  get hasDied(): boolean {
    const [, pid] = /^died (\d+)$/.exec(readFileSync(this.#diesFile, "utf8")) ?? [];
    return pid !== undefined && !isAlive(Number(pid));
  }

  count(event: string): number {
    return this.log.split(`"event":"${event}"`).length - 1;
  }

  async until(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    while (!(await isSo())) {
      if (performance.now() > deadline) throw new Error(`not yet: ${what}\n${this.log}`);
      await delay(10);
    }
  }

  async connect(options: pg.ClientConfig = {}): Promise<pg.Client> {
    const client = new pg.Client({
      host: "127.0.0.1",
      port: this.port,
      database: DATABASE,
      user: "postgres",
      ...options,
    });
    client.on("error", () => {});
    await client.connect();
    return client;
  }

  /** The last worker that was started with each number. */
  get workers(): ReadonlyMap<number, number> {
    const started = this.log.matchAll(/"event":"worker\.started","worker":(\d+),"pid":(\d+)/g);
    return new Map([...started].map(([, index, pid]) => [Number(index), Number(pid)]));
  }

  /** Resolves with the exit code of the first process, or the signal that ended it. */
  async exit(): Promise<number | string> {
    const child = this.#first!;
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    return (child.exitCode ?? child.signalCode)!;
  }

  /** Waits until nothing is prepared on any shard. */
  async settled(): Promise<void> {
    const count = async (): Promise<number> =>
      (await this.stage.onShards("SELECT gid FROM pg_prepared_xacts")).flat().length;
    await this.until(async () => (await count()) === 0, "nothing is prepared");
  }

  /** The sum of all balances, less what it was at the beginning. */
  async surplus(): Promise<number> {
    const sums = await this.stage.onShards<{ sum: string }>("SELECT sum(balance) FROM accounts");
    const total = sums.flat().reduce((sum, row) => sum + Number(row.sum), 0);
    return total - this.stage.accounts.flat().length * OPENING_BALANCE;
  }

  /** Ends every process that ever served, or tried to, and does not wait for clients. */
  async stopPgxa(): Promise<void> {
    rmSync(this.#diesFile, { force: true });
    const pidsAfter = (event: RegExp): number[] =>
      [...this.log.matchAll(event)].map(([, pid]) => Number(pid));
    const started = pidsAfter(/"event":"restart\.began","pid":(\d+)/g);
    const all = [...new Set([...this.pids, ...started])].filter(isAlive);
    for (const pid of all) signalProcess(pid, "SIGINT");
    const workers = pidsAfter(/"event":"worker\.started","worker":\d+,"pid":(\d+)/g);
    if (!(await areGone([...all, ...workers], PATIENCE_MS))) {
      for (const pid of [...all, ...workers]) signalProcess(pid, "SIGKILL");
      throw new Error(`pgxa did not stop: ${this.log}`);
    }
    this.pids.length = 0;
    this.#first?.stdout?.destroy();
    this.#first?.stderr?.destroy();
    this.log = "";
  }

  async stop(): Promise<void> {
    await this.stopPgxa();
    await this.stage.stop();
  }

  #servingPid(): number | null {
    try {
      return Number(readFileSync(this.#pidFile, "utf8")) || null;
    } catch {
      return null;
    }
  }
}
