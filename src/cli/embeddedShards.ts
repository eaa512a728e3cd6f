/**
 * Shards made of the embedded Postgres: for the demo, the tests and the benchmark.
 *
 * Each shard is a data directory of its own, made by `initdb` with the superuser `postgres`, UTF-8 and the C.UTF-8
 * order, so that every machine sorts and hashes alike. The servers listen on 127.0.0.1 only and trust who comes from
 * there. They can take part in two-phase commit, which Postgres has switched off as it is shipped.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import pg from "pg";
import { type ShardId, shardId } from "../base/brands.ts";
import { type EmbeddedPostgres, type Runner, runAs } from "./embeddedPostgres.ts";
import { freePort, Postmaster, type ServerSettings } from "./postmaster.ts";

export const SHARD_HOST = "127.0.0.1";
export const SHARD_USER = "postgres";
export const SHARDS_MAX = 16;

/** Small, and fit for two-phase commit. */
export const SHARD_SETTINGS: ServerSettings = {
  max_connections: "200",
  max_prepared_transactions: "200",
  shared_buffers: "64MB",
  fsync: "on",
};

const POINTS_OF_THE_COMPASS = ["east", "north", "west", "south"];
const START_ATTEMPTS = 5;

/** `east`, `north`, `west`, `south`, `shard5` … */
export const embeddedShardIds = (count: number): ShardId[] =>
  Array.from({ length: count }, (_, i) => shardId(POINTS_OF_THE_COMPASS[i] ?? `shard${i + 1}`));

export const isDataDirectory = (directory: string): boolean => existsSync(join(directory, "PG_VERSION"));

/** Makes an empty directory that belongs to the runner. */
export function makeDirectoryFor(runner: Runner | null, directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (runner !== null) chownSync(directory, runner.uid, runner.gid);
}

/** Runs `initdb` on a directory that does not exist; leaves nothing behind if it fails. */
export async function initializeDataDirectory(programs: EmbeddedPostgres, directory: string): Promise<void> {
  makeDirectoryFor(programs.runner, directory);
  const child = spawn(programs.initdb, initdbArguments(directory), {
    stdio: ["ignore", "ignore", "pipe"],
    cwd: dirname(programs.initdb),
    detached: true,
    ...runAs(programs.runner),
  });
  let said = "";
  child.stderr.on("data", (chunk) => (said += chunk));
  const [code] = await once(child, "close");
  if (code === 0) return;
  rmSync(directory, { recursive: true, force: true });
  throw new Error(`initdb failed in ${directory}:\n${said.trimEnd()}`);
}

/** Starts a server on `directory`. With `port` 0 it takes a free one, and another if that is snatched away. */
export async function startEmbeddedShard(
  programs: EmbeddedPostgres,
  directory: string,
  port: number,
  settings: ServerSettings = SHARD_SETTINGS,
): Promise<Postmaster> {
  if (port !== 0) return Postmaster.start(programs, directory, port, settings);
  for (let attempt = 1; ; attempt++) {
    try {
      return await Postmaster.start(programs, directory, await freePort(), settings);
    } catch (error) {
      const isTaken = String(error).includes("Address already in use");
      if (!isTaken || attempt === START_ATTEMPTS) throw error;
    }
  }
}

/** Creates the database if it does not exist. */
export async function ensureDatabase(port: number, database: string): Promise<void> {
  const client = new pg.Client({ host: SHARD_HOST, port, user: SHARD_USER, database: "postgres" });
  await client.connect();
  try {
    const { rowCount } = await client.query("SELECT FROM pg_database WHERE datname = $1", [database]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${pg.escapeIdentifier(database)}`);
  } finally {
    await client.end();
  }
}

function initdbArguments(directory: string): string[] {
  const order = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"];
  return ["-D", directory, "-U", SHARD_USER, "--auth=trust", "--no-instructions", ...order];
}
