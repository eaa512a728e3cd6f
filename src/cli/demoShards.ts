/**
 * The demo's shards: made at the first start, kept between runs, and taken back from a demo that was killed.
 *
 * A killed demo leaves its servers running, as pgxa's death leaves any shard running. The next start stops them in
 * order and starts them again under its own care; what was prepared on them stays prepared.
 */
import { existsSync, renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import pg from "pg";
import type { ShardId } from "../base/brands.ts";
import { BANK_DATABASE } from "./bankSchema.ts";
import type { DemoHome } from "./demoHome.ts";
import type { EmbeddedPostgres } from "./embeddedPostgres.ts";
import {
  embeddedShardIds,
  ensureDatabase,
  initializeDataDirectory,
  isDataDirectory,
  makeDirectoryFor,
  SHARD_HOST,
  SHARD_USER,
  startEmbeddedShard,
} from "./embeddedShards.ts";
import { isPortFree, Postmaster } from "./postmaster.ts";
import { makeSchema } from "./shardSchema.ts";

export interface DemoShard {
  readonly id: ShardId;
  readonly port: number;
  readonly server: Postmaster;
}

/** Stops the servers that a killed demo left running; returns how many there were. */
export async function stopLeftServers(home: DemoHome): Promise<number> {
  const left = home.shards().flatMap((directory) => Postmaster.serving(directory) ?? []);
  await Promise.all(left.map((server) => server.stop()));
  return left.length;
}

/** How many of the shards have no data directory yet. */
export const missingShards = (home: DemoHome, count: number): number =>
  embeddedShardIds(count).filter((id) => !isDataDirectory(home.shard(id))).length;

/** Makes the data directories that do not exist. */
export async function makeShards(
  home: DemoHome,
  programs: EmbeddedPostgres,
  count: number,
  onMade: (id: ShardId) => void,
): Promise<void> {
  await Promise.all(
    embeddedShardIds(count).map(async (id) => {
      if (isDataDirectory(home.shard(id))) return;
      await makeShard(programs, home.shard(id));
      onMade(id);
    }),
  );
}

/** Starts `count` shards, on the ports they had before where those are free. Stops all of them if one fails. */
export async function startDemoShards(
  home: DemoHome,
  programs: EmbeddedPostgres,
  count: number,
): Promise<readonly DemoShard[]> {
  const ports = home.state?.ports ?? [];
  const starting = embeddedShardIds(count).map(async (id, i) => {
    const server = await startEmbeddedShard(programs, home.shard(id), await portLike(ports[i] ?? 0));
    return { id, port: server.port, server };
  });
  const results = await Promise.allSettled(starting);
  const shards = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  const failed = results.find((result) => result.status === "rejected");
  try {
    if (failed !== undefined) throw failed.reason;
    await Promise.all(shards.map(({ port }) => ensureDatabase(port, BANK_DATABASE)));
    // The demo's file may be copied, and its log set to shard.
    await Promise.all(
      shards.map(({ id, port }) =>
        makeSchema({
          id,
          port,
          host: SHARD_HOST,
          user: SHARD_USER,
          database: BANK_DATABASE,
          password: undefined,
        }),
      ),
    );
    return shards;
  } catch (error) {
    await stopDemoShards(shards);
    throw error;
  }
}

export async function stopDemoShards(shards: readonly DemoShard[]): Promise<void> {
  await Promise.all(shards.map(({ server }) => server.stop()));
}

/** How to connect to a shard itself. */
export const shardClient = (port: number): pg.ClientConfig => ({
  host: SHARD_HOST,
  port,
  user: SHARD_USER,
  database: BANK_DATABASE,
});

/** How many transactions are prepared on each shard, in the order of the shards. */
export function preparedOn(shards: readonly DemoShard[]): Promise<number[]> {
  return Promise.all(
    shards.map(async ({ port }) => {
      const client = new pg.Client(shardClient(port));
      await client.connect();
      const { rows } = await client.query<{ count: string }>("SELECT count(*) FROM pg_prepared_xacts");
      await client.end();
      return Number(rows[0]!.count);
    }),
  );
}

/** Made aside and moved, so that an interrupted initdb is not taken for a data directory. */
async function makeShard(programs: EmbeddedPostgres, directory: string): Promise<void> {
  const aside = `${directory}.new`;
  if (existsSync(aside)) rmSync(aside, { recursive: true });
  makeDirectoryFor(programs.runner, dirname(directory));
  await initializeDataDirectory(programs, aside);
  renameSync(aside, directory);
}

const portLike = async (port: number): Promise<number> =>
  port !== 0 && (await isPortFree(SHARD_HOST, port)) ? port : 0;
