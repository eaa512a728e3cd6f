/**
 * Citus as a contender, where it is installed: a coordinator and one worker for each shard, of the machine's own Postgres
 * (`pg_config` says which), with the bank's accounts as a distributed table. A transfer goes over one connection to the
 * coordinator, which commits in two phases when several workers wrote.
 * https://docs.citusdata.com/en/stable/develop/reference_propagation.html
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { type EmbeddedPostgres, findEmbeddedPostgres, runAs } from "../../src/cli/embeddedPostgres.ts";
import { makeDirectoryFor, startEmbeddedShard } from "../../src/cli/embeddedShards.ts";
import type { Postmaster } from "../../src/cli/postmaster.ts";
import { ACCOUNTS, type AccountsByShard, connect } from "../bank.ts";
import type { Belongings } from "../belongings.ts";
import type { Endpoint } from "../endpoint.ts";

const run = promisify(execFile);

/** Like the shards', and what Citus wants to be loaded. */
const SETTINGS = {
  shared_preload_libraries: "citus",
  shared_buffers: "128MB",
  max_connections: "1000",
  max_prepared_transactions: "500",
  fsync: "on",
  "citus.node_conninfo": "sslmode=disable",
  // The coordinator holds a connection to a worker for each client that needs one.
  "citus.max_cached_conns_per_worker": "1",
};

export interface CitusCluster {
  readonly endpoint: Endpoint;
  /** For each shard of the bank accounts that one worker has, in the order of the workers. */
  readonly accounts: AccountsByShard;
  stop(): Promise<void>;
}

/** Rejects with one line that says why there is none. */
export async function startCitus(
  workers: number,
  belongings: Belongings,
  directory: string,
): Promise<CitusCluster> {
  const programs = await programsWithCitus();
  const servers: Postmaster[] = [];
  const stop = async () => {
    await Promise.all(servers.map((server) => server.stop()));
  };
  belongings.keep("the Citus cluster", stop);
  const home = join(directory, `citus-${workers}-${Date.now()}`);
  await mkdir(home, { mode: 0o755 });
  for (let i = 0; i <= workers; i++) {
    const data = join(home, String(i));
    await initializeCluster(programs, data);
    servers.push(await startEmbeddedShard(programs, data, 0, SETTINGS));
  }
  const [coordinator, ...rest] = servers.map(({ port }) => endpointOf(port));
  return { endpoint: coordinator!, accounts: await distribute(coordinator!, rest), stop };
}

const endpointOf = (port: number): Endpoint => ({
  host: "127.0.0.1",
  port,
  database: "postgres",
  user: "postgres",
});

/** The machine's own Postgres, run as the embedded one is. */
async function programsWithCitus(): Promise<EmbeddedPostgres> {
  const ask = async (what: string) => {
    const asked = run("pg_config", [what]).catch(() => {
      throw new Error("Citus is not installed (there is no pg_config)");
    });
    return (await asked).stdout.trim();
  };
  const [programs, libraries] = [await ask("--bindir"), await ask("--pkglibdir")];
  if (!existsSync(join(libraries, "citus.so")))
    throw new Error(`Citus is not installed (no citus.so in ${libraries})`);
  const { runner, version } = findEmbeddedPostgres();
  return { initdb: join(programs, "initdb"), postgres: join(programs, "postgres"), version, runner };
}

async function initializeCluster({ initdb, runner }: EmbeddedPostgres, data: string): Promise<void> {
  makeDirectoryFor(runner, data);
  const order = ["--encoding=UTF8", "--locale=C", "--auth=trust", "--no-instructions"];
  await run(initdb, ["-D", data, "-U", "postgres", ...order], { cwd: data, ...runAs(runner) });
}

/** Makes the accounts on the cluster; which worker has which is asked of Citus itself. */
async function distribute(coordinator: Endpoint, workers: readonly Endpoint[]): Promise<AccountsByShard> {
  for (const each of [coordinator, ...workers]) await query(each, "CREATE EXTENSION citus");
  const client = await connect(coordinator);
  try {
    await client.query("SELECT citus_set_coordinator_host($1, $2)", [coordinator.host, coordinator.port]);
    for (const { host, port } of workers) await client.query("SELECT citus_add_node($1, $2)", [host, port]);
    await client.query(`SET citus.shard_count = ${workers.length};
      CREATE TABLE accounts (id int8 PRIMARY KEY, owner text NOT NULL, balance int8 NOT NULL);
      SELECT create_distributed_table('accounts', 'id');
      INSERT INTO accounts SELECT id, 'owner ' || id, 1000 FROM generate_series(1::int8, ${ACCOUNTS}) AS id`);
    const { rows } = await client.query<{ id: string; port: number }>(`
      SELECT id, nodeport AS port FROM accounts
      JOIN citus_shards ON shardid = get_shard_id_for_distribution_column('accounts', id)`);
    return workers.map(({ port }) => rows.filter((row) => row.port === port).map(({ id }) => Number(id)));
  } finally {
    await client.end();
  }
}

async function query(endpoint: Endpoint, sql: string): Promise<void> {
  const client = await connect(endpoint);
  await client.query(sql);
  await client.end();
}
