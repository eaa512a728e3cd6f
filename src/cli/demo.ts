/**
 * `pgxa demo`: a bank on Postgres shards of its own, with pgxa in front, on any machine with Node.
 *
 * Everything that starts is noted in `started` and stopped in reverse order, whether the demo is told to stop, fails
 * half way, or is told to stop while it starts. One SIGINT is enough; npm and the terminal may each send one, so that
 * later ones mean nothing.
 */
import { createWriteStream, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { delimiter, join, relative } from "node:path";
import { createInterface } from "node:readline/promises";
import { setTimeout as delay } from "node:timers/promises";
import type { ClientConfig } from "pg";
import { Fault } from "../base/fault.ts";
import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { createLog } from "../observe/log.ts";
import { accountsByShard, createBank, loadBank } from "./bankLoad.ts";
import { ACCOUNTS } from "./bankSchema.ts";
import { startProxy } from "./compose.ts";
import { demoConfig } from "./demoConfig.ts";
import { demoGuide } from "./demoGuide.ts";
import { DemoHome, DemoProblem } from "./demoHome.ts";
import { DEMO_HELP, type DemoOptions, parseDemoOptions, UsageError } from "./demoOptions.ts";
import {
  type DemoShard,
  makeShards,
  missingShards,
  preparedOn,
  shardClient,
  startDemoShards,
  stopDemoShards,
  stopLeftServers,
} from "./demoShards.ts";
import { type EmbeddedPostgres, findEmbeddedPostgres } from "./embeddedPostgres.ts";
import { isPortFree } from "./postmaster.ts";
import { Progress } from "./progress.ts";
import { RecoveryReport } from "./recoveryReport.ts";
import { StopRequest } from "./stopRequest.ts";

const DEFAULT_SHARDS = 3;
const HOST = "127.0.0.1";
const RECOVERY_POLL_MS = 20;
const RECOVERY_SHOWN_MS = 10_000;
/** How many ports after a taken one are tried for the offer. */
const PORTS_TRIED = 100;

/** Runs until it is told to stop; resolves with the exit code. */
export async function runDemo(argv: readonly string[]): Promise<number> {
  // Whoever read the output may go; what was started still has to be stopped in order.
  process.stdout.on("error", () => {});
  try {
    const options = parseDemoOptions(argv);
    if (options === null) {
      console.log(DEMO_HELP);
      return 0;
    }
    return await new Demo(options).run();
  } catch (error) {
    console.error(explain(error));
    return error instanceof UsageError ? 2 : 1;
  }
}

class Demo {
  readonly #options: DemoOptions;
  readonly #progress = new Progress();
  readonly #stop = new StopRequest();
  /** What ends what was started, in the order of starting. */
  readonly #started: (() => unknown)[] = [];

  constructor(options: DemoOptions) {
    this.#options = options;
  }

  async run(): Promise<number> {
    this.#stop.listen(() => this.#progress.say("\nstopping …"));
    try {
      await this.#start();
      await this.#stop.requested;
      return 0;
    } catch (error) {
      if (this.#stop.isRequested) return 0;
      throw error;
    } finally {
      for (const end of this.#started.reverse()) await end();
      this.#stop.dispose();
    }
  }

  async #start(): Promise<void> {
    const port = await this.#choosePort();
    const programs = findEmbeddedPostgres();
    const home = this.#openHome(programs);
    const shards = await this.#startShards(home, programs);
    writeFileSync(home.configFile, demoConfig({ port, shards, decisions: home.decisions }));
    const config = loadConfig(home.configFile, process.env);
    await this.#startProxy(home, config, shards);
    const accounts = accountsByShard(config);
    if (!home.state?.isLoaded) await this.#fill(home, shards, port, accounts);
    this.#stop.throwIfRequested();
    this.#progress.say(`\n${this.#guide(home, shards, port, accounts)}\n`);
  }

  /** The port asked for; another one if it is taken and the user agrees. */
  async #choosePort(): Promise<number> {
    const { port } = this.#options;
    if (await isPortFree(HOST, port)) return port;
    const other = await freePortAfter(port);
    const question = `Port ${port} is taken by another program. Use ${other} instead? [Y/n] `;
    if (process.stdin.isTTY && process.stdout.isTTY) {
      const terminal = createInterface({ input: process.stdin, output: process.stdout });
      terminal.once("SIGINT", this.#stop.request);
      const answer = await terminal
        .question(question, { signal: this.#stop.signal })
        .finally(() => terminal.close());
      if (/^\s*(y(es)?)?\s*$/i.test(answer)) return other;
    }
    throw new DemoProblem(`port ${port} is taken by another program; try: npm start -- --port ${other}`);
  }

  #openHome(programs: EmbeddedPostgres): DemoHome {
    const home = DemoHome.open(this.#options.data, programs.runner);
    this.#started.push(() => home.unlock());
    return home;
  }

  async #startShards(home: DemoHome, programs: EmbeddedPostgres): Promise<readonly DemoShard[]> {
    await stopLeftServers(home);
    if (this.#options.isFresh) home.empty();
    const count = this.#shardCount(home);
    const { ports = [], isLoaded = false } = home.state ?? {};
    home.save({ shards: count, ports, isLoaded });
    const missing = missingShards(home, count);
    if (missing > 0) {
      await this.#progress.step(`making ${shardsOf(missing)} in ${shortest(home.directory)}`, (step) => {
        let made = 0;
        return makeShards(home, programs, count, () => step.update(`${++made} of ${missing}`));
      });
    }
    this.#stop.throwIfRequested();
    const shards = await this.#progress.step(
      `starting ${shardsOf(count)}, Postgres ${programs.version}`,
      () => startDemoShards(home, programs, count),
    );
    this.#started.push(() => stopDemoShards(shards));
    home.save({ shards: count, ports: shards.map((shard) => shard.port), isLoaded });
    this.#stop.throwIfRequested();
    return shards;
  }

  #shardCount(home: DemoHome): number {
    const kept = home.state?.shards;
    const wanted = this.#options.shards ?? kept ?? DEFAULT_SHARDS;
    if (kept === undefined || kept === wanted) return wanted;
    throw new DemoProblem(
      `${home.directory} was made with ${shardsOf(kept)}, not ${wanted}; rows do not move by themselves. ` +
        `Keep it and leave out --shards, begin anew with --fresh, or use another directory with --data`,
    );
  }

  async #startProxy(home: DemoHome, config: Config, shards: readonly DemoShard[]): Promise<void> {
    mkdirSync(home.decisions, { recursive: true });
    const inDoubt = await preparedOn(shards);
    const destination = createWriteStream(home.logFile, { flags: "a" });
    this.#started.push(() => new Promise((resolve) => destination.end(resolve)));
    const report = new RecoveryReport(createLog(config.log.level, destination));
    const started = performance.now();
    const proxy = await this.#progress.step(`opening pgxa on ${HOST}:${config.listen.port}`, () =>
      startProxy(config, { log: report.log }),
    );
    this.#started.push(() => proxy.stop());
    if (inDoubt.some((count) => count > 0)) await this.#tellRecovery(shards, inDoubt, report, started);
    this.#stop.throwIfRequested();
  }

  /** Tells what the last run left prepared, and what became of it. */
  async #tellRecovery(
    shards: readonly DemoShard[],
    inDoubt: readonly number[],
    report: RecoveryReport,
    started: number,
  ): Promise<void> {
    const where = shards.map(({ id }, i) => `${inDoubt[i]} on ${id}`).join(", ");
    this.#progress.say(`  left prepared by the last run: ${where}`);
    for (;;) {
      const elapsed = performance.now() - started;
      const left = sum(await preparedOn(shards));
      if (left === 0) return this.#progress.say(`✓ recovered in ${Math.ceil(elapsed)} ms: ${report}`);
      if (elapsed > RECOVERY_SHOWN_MS)
        return this.#progress.say(`! ${left} are still prepared; pgxa goes on trying`);
      await delay(RECOVERY_POLL_MS);
    }
  }

  async #fill(
    home: DemoHome,
    shards: readonly DemoShard[],
    port: number,
    accounts: readonly (readonly number[])[],
  ): Promise<void> {
    await this.#progress.step(
      `loading ${ACCOUNTS.toLocaleString("en")} accounts through pgxa`,
      async (step) => {
        await Promise.all(shards.map((shard) => createBank(shardClient(shard.port))));
        const pgxa: ClientConfig = { ...shardClient(port), host: HOST };
        await loadBank(pgxa, accounts, (count) => step.update(count.toLocaleString("en")));
      },
    );
    home.save({ ...home.state!, isLoaded: true });
  }

  #guide(
    home: DemoHome,
    shards: readonly DemoShard[],
    port: number,
    accounts: readonly (readonly number[])[],
  ): string {
    return demoGuide({
      port,
      pid: process.pid,
      configFile: shortest(home.configFile),
      logFile: shortest(home.logFile),
      hasPsql: isInstalled("psql"),
      startCommand: startCommand(this.#options, port),
      shards: shards.map(({ id, port }, i) => ({ id, port, accounts: accounts[i]! })),
    });
  }
}

/** The command that starts this demo again; without `--fresh`, which would throw away what is to be recovered. */
function startCommand({ data }: DemoOptions, port: number): string {
  const options = [...(port === 6432 ? [] : ["--port", port]), ...(data === null ? [] : ["--data", data])];
  return options.length === 0 ? "npm start" : `npm start -- ${options.join(" ")}`;
}

/** Seen from here, if that is shorter. */
function shortest(path: string): string {
  const fromHere = relative(process.cwd(), path);
  return fromHere.length < path.length ? fromHere : path;
}

const isInstalled = (program: string): boolean =>
  (process.env.PATH ?? "").split(delimiter).some((directory) => existsSync(join(directory, program)));

async function freePortAfter(port: number): Promise<number> {
  for (let other = port + 1; other < Math.min(port + PORTS_TRIED, 65_536); other++) {
    if (await isPortFree(HOST, other)) return other;
  }
  throw new DemoProblem(`port ${port} and those after it are taken; choose one with --port`);
}

function explain(error: unknown): string {
  if (error instanceof Fault)
    return ["pgxa:", error.message, error.detail, error.hint].filter(Boolean).join("\n");
  if (error instanceof DemoProblem || error instanceof UsageError) return `pgxa demo: ${error.message}`;
  return `pgxa demo: ${error instanceof Error ? error.stack : error}`;
}

const shardsOf = (count: number): string => (count === 1 ? "1 shard" : `${count} shards`);

const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0);
