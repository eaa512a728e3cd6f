/**
 * The ways to one shard: directly, through PgBouncer and through pgxa, both in transaction mode.
 *
 * A proxy is started anew for each application, so that what one leaves on server connections, locks say, is no other's.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import type { Belongings } from "../../bench/belongings.ts";
import type { Endpoint } from "../../bench/endpoint.ts";
import { startPgbouncer } from "../../bench/pgbouncer.ts";
import { type ShardEndpoint, startPgxa } from "../../bench/pgxa.ts";
import { findTool } from "../../bench/tools.ts";
import { startShards } from "../support/shards.ts";

export interface Way {
  readonly name: "direct" | "PgBouncer" | "pgxa";
  /** As it stands in the table. */
  readonly title: string;
  /** Starts what is in front of the shard, to be stopped with the rest of `belongings`. */
  start(belongings: Belongings): Promise<Endpoint>;
}

/** As the bench's proxies call it. */
const DATABASE = "bench";

export async function openShard(belongings: Belongings): Promise<ShardEndpoint> {
  const running = await startShards(1, { databases: [DATABASE], settings: { max_connections: "200" } });
  belongings.keep("the shard", () => running.stop());
  const { id, host, port, user, database } = running.shards[0]!;
  return { id, host, port, user, database };
}

/** All ways to `shard`; a PgBouncer that is not on this machine is left out with a line. */
export async function waysTo(shard: ShardEndpoint, say: (line: string) => void): Promise<readonly Way[]> {
  const { rows } = await query(shard, "SHOW server_version");
  const { server_version: version } = rows[0] as { server_version: string };
  const direct: Way = { name: "direct", title: `Postgres ${version}`, start: async () => shard };
  const tool = await findTool("pgbouncer", false, say);
  if (typeof tool === "string") {
    say(`left out: ${tool}`);
    return [direct, pgxaTo(shard)];
  }
  const start = async (belongings: Belongings): Promise<Endpoint> => {
    const { endpoint } = await startPgbouncer(tool, shard, belongings, await folder(belongings));
    return endpoint;
  };
  return [direct, { name: "PgBouncer", title: `PgBouncer ${tool.version}`, start }, pgxaTo(shard)];
}

function pgxaTo(shard: ShardEndpoint): Way {
  const start = async (belongings: Belongings): Promise<Endpoint> => {
    const { endpoint } = await startPgxa([shard], belongings, await folder(belongings));
    return endpoint;
  };
  return { name: "pgxa", title: "pgxa", start };
}

async function folder(belongings: Belongings): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pgxa-drivers-"));
  belongings.keep("the temporary directory", () => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Makes the database empty, asked of the shard itself. */
export async function emptyDatabase(shard: Endpoint): Promise<void> {
  const { rows } = await query(
    shard,
    `SELECT nspname AS name FROM pg_namespace
     WHERE nspname !~ '^pg_(toast|temp|catalog)' AND nspname <> 'information_schema'`,
  );
  const drops = (rows as { name: string }[]).map(({ name }) => `DROP SCHEMA "${name}" CASCADE;`);
  await query(shard, `SET client_min_messages = error; ${drops.join(" ")} CREATE SCHEMA public`);
}

async function query(endpoint: Endpoint, sql: string): Promise<pg.QueryResult> {
  const client = new pg.Client(endpoint);
  await client.connect();
  try {
    return await client.query(sql);
  } finally {
    await client.end();
  }
}
