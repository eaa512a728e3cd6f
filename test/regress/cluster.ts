/**
 * What regression files run against: a PostgreSQL of its own with a database as pg_regress makes it, and pgxa before it.
 *
 * Each way of running the files has a server of its own, made alike, so that roles and tablespaces that one leaves
 * behind do not show in another.
 */
import { execFile } from "node:child_process";
import { chownSync, cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { stringify } from "yaml";
import { type Belongings, hasEnded } from "../../bench/belongings.ts";
import { complaint } from "../../bench/complaint.ts";
import { accepts, freePort } from "../../bench/endpoint.ts";
import {
  type EmbeddedPostgres,
  findEmbeddedPostgres,
  type Runner,
  runAs,
} from "../../src/cli/embeddedPostgres.ts";
import {
  makeDirectoryFor,
  SHARD_HOST,
  SHARD_USER,
  startEmbeddedShard,
} from "../../src/cli/embeddedShards.ts";
import type { RegressionSource } from "./source.ts";

const run = promisify(execFile);

export const DATABASE = "regression";
export const WAYS = ["direct", "session", "transaction"] as const;
/** `direct` is without pgxa, the others are modes of its pool. */
export type Way = (typeof WAYS)[number];

export interface RegressionCluster {
  readonly way: Way;
  /** Where psql connects. */
  readonly port: number;
  /** A copy of the files that belongs to the server's user: data, and what the files write. */
  readonly directory: string;
}

const START_TIMEOUT_MS = 20_000;
const POOL_SIZE = 20;
const MAIN = join(import.meta.dirname, "../../src/cli/main.ts");

/** As pg_regress starts its own, https://www.postgresql.org/docs/current/regress-run.html. */
const SETTINGS = { max_prepared_transactions: "2", log_lock_waits: "on", fsync: "off" };

/** What pg_regress sets on the database. */
const DATABASE_SETTINGS = [
  "lc_messages TO 'C'",
  "lc_monetary TO 'C'",
  "lc_numeric TO 'C'",
  "lc_time TO 'C'",
  "bytea_output TO 'hex'",
  "timezone_abbreviations TO 'Default'",
];

/** The programs in `bin`, run as whoever runs the embedded ones. */
export function programsIn(bin: string): EmbeddedPostgres {
  const { runner } = findEmbeddedPostgres();
  return { initdb: join(bin, "initdb"), postgres: join(bin, "postgres"), version: "", runner };
}

/** Starts all that `way` needs, in a directory below `home`. */
export async function openCluster(
  way: Way,
  programs: EmbeddedPostgres,
  source: RegressionSource,
  home: string,
  belongings: Belongings,
): Promise<RegressionCluster> {
  const directory = join(home, `${way}-files`);
  copyFor(programs.runner, source.files, directory);
  const data = join(home, way);
  const initdb = ["-D", data, "-U", SHARD_USER, "--auth=trust", "-E", "UTF8", "--no-locale", "--no-sync"];
  await run(programs.initdb, initdb, { cwd: "/", ...runAs(programs.runner) });
  const server = await startEmbeddedShard(programs, data, 0, SETTINGS);
  belongings.keep(`the server of ${way}`, () => server.stop());
  await createDatabase(server.port);
  const port = way === "direct" ? server.port : await startPgxa(way, server.port, home, belongings);
  return { way, port, directory };
}

async function createDatabase(port: number): Promise<void> {
  const client = new pg.Client({ host: SHARD_HOST, port, user: SHARD_USER, database: "postgres" });
  await client.connect();
  await client.query(`CREATE DATABASE ${DATABASE} TEMPLATE template0`);
  for (const setting of DATABASE_SETTINGS) await client.query(`ALTER DATABASE ${DATABASE} SET ${setting}`);
  await client.end();
}

function copyFor(runner: Runner | null, files: string, directory: string): void {
  makeDirectoryFor(runner, directory);
  for (const part of ["sql", "data"]) cpSync(join(files, part), join(directory, part), { recursive: true });
  const results = join(directory, "results");
  mkdirSync(results);
  if (runner !== null) chownSync(results, runner.uid, runner.gid);
}

async function startPgxa(
  mode: Way,
  shardPort: number,
  home: string,
  belongings: Belongings,
): Promise<number> {
  const port = await freePort();
  const file = join(home, `${mode}.yaml`);
  const shard = { name: "east", host: SHARD_HOST, port: shardPort, database: DATABASE, user: SHARD_USER };
  const config = {
    listen: { host: SHARD_HOST, port },
    database: DATABASE,
    shards: [shard],
    auth: { method: "trust" },
    pool: { mode, max: POOL_SIZE },
    log: { level: "warn" },
  };
  writeFileSync(file, stringify(config));
  const child = belongings.spawn(process.execPath, [MAIN, "up", "--config", file]);
  if (await accepts(port, START_TIMEOUT_MS, () => hasEnded(child.process))) return port;
  throw new Error(`pgxa did not start: ${complaint("it", child.words())}`);
}
