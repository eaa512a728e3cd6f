/**
 * pgbench as a load generator: it fills the database of a shard, and it runs a case against an endpoint.
 *
 * It is its own process, so that its processor time is never counted as a proxy's.
 */
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import type { Belongings } from "./belongings.ts";
import type { PgbenchLoad } from "./cases.ts";
import { complaint } from "./complaint.ts";
import type { Endpoint } from "./endpoint.ts";
import { parseLog, parseReport } from "./pgbenchOutput.ts";
import type { Measurement } from "./stats.ts";

/** How pgbench's clients get in. */
export interface Access {
  /** Whether each transaction has a connection of its own. */
  readonly isAnew: boolean;
  /** libpq's variables. https://www.postgresql.org/docs/current/libpq-envars.html */
  readonly environment: Readonly<Record<string, string>>;
}

const LASTING: Access = { isAnew: false, environment: {} };

/** The time of a round begins before its clients connect, though throughput does not count that: many get some for it. */
const CLIENTS_PER_SECOND = 150;

export class Pgbench {
  readonly #command: string;
  readonly #belongings: Belongings;
  /** Where the logs of single transactions go while they are needed. */
  readonly #directory: string;

  constructor(command: string, belongings: Belongings, directory: string) {
    this.#command = command;
    this.#belongings = belongings;
    this.#directory = directory;
  }

  /** Makes pgbench's tables, 100,000 accounts for each `scale`. */
  async initialize(endpoint: Endpoint, scale: number): Promise<void> {
    await this.#run(["-i", "-q", "-s", String(scale), ...address(endpoint)]);
  }

  /** One round; pgbench counts in whole seconds, at least 1. `access`: how its clients get in. */
  async run(
    load: PgbenchLoad,
    endpoint: Endpoint,
    seconds: number,
    access: Access = LASTING,
  ): Promise<Measurement> {
    const logs = join(this.#directory, "pgbench-log");
    await mkdir(logs, { recursive: true });
    try {
      const text = await this.#run(
        [
          ...roundArguments(load, seconds),
          ...(access.isAnew ? ["--connect"] : []),
          `--log-prefix=${join(logs, "log")}`,
          ...address(endpoint),
        ],
        access.environment,
      );
      const report = parseReport(text);
      if (report?.transactions === 0)
        throw new Error(`connecting took longer than the round of ${seconds} s`);
      if (report === null) throw new Error(complaint("pgbench", text));
      return {
        transactions: report.transactions,
        elapsedSeconds: report.tps > 0 ? report.transactions / report.tps : 0,
        latenciesMs: await latencies(logs),
        loadCpuUs: null,
      };
    } finally {
      await rm(logs, { recursive: true, force: true });
    }
  }

  /** Everything it wrote; throws with its first complaint if it failed. */
  async #run(args: readonly string[], environment: Access["environment"] = {}): Promise<string> {
    const env = { ...process.env, ...environment };
    const child = this.#belongings.spawn(this.#command, args, { env });
    const code = await child.ended();
    if (code !== 0) throw new Error(complaint("pgbench", child.words()));
    return child.words();
  }
}

function roundArguments(one: PgbenchLoad, seconds: number): string[] {
  const threads = Math.min(one.clients, Math.max(1, Math.floor(cpus().length / 2)));
  return [
    "-n", // a pooler must not be asked for VACUUM in the middle of a comparison
    typeof one.script === "string" ? `--builtin=${one.script}` : `--file=${one.script.file}`,
    `--protocol=${one.protocol}`,
    `--client=${one.clients}`,
    `--jobs=${threads}`,
    `--time=${Math.max(1, Math.ceil(seconds)) + Math.floor(one.clients / CLIENTS_PER_SECOND)}`,
    "--log",
    ...(one.samplingRate < 1 ? [`--sampling-rate=${one.samplingRate}`] : []),
  ];
}

function address({ host, port, user, database }: Endpoint): string[] {
  return ["-h", host, "-p", String(port), "-U", user, database];
}

async function latencies(directory: string): Promise<number[]> {
  const names = await readdir(directory);
  const texts = await Promise.all(names.map((name) => readFile(join(directory, name), "utf8")));
  return texts.flatMap(parseLog);
}
