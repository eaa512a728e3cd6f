/**
 * pgxa as a contender: the `pgxa up` command on a configuration of its own, as a user would start it.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import { makeSchema } from "../src/cli/shardSchema.ts";
import { loadConfig } from "../src/config/load.ts";
import { type Belongings, hasEnded } from "./belongings.ts";
import { POOL_SIZE } from "./cases.ts";
import type { ClientIdentity } from "./clientIdentity.ts";
import { complaint } from "./complaint.ts";
import { accepts, type Endpoint, freePort } from "./endpoint.ts";
import type { RunningProxy } from "./pgbouncer.ts";

const START_TIMEOUT_MS = 20_000;
const COMMAND = join(import.meta.dirname, "../src/cli/main.ts");

export interface ShardEndpoint extends Endpoint {
  readonly id: string;
}

export interface RunningPgxa extends RunningProxy {
  readonly metricsPort: number;
  stop(): Promise<void>;
}

/** The tables of the transfer cases, and pgbench's; with one shard none need be named. */
const TABLES = [
  { name: "accounts", key: "id", key_type: "int8" },
  { name: "transfers", key: "account_id", key_type: "int8" },
  { name: "refusals", key: "id", key_type: "int8" },
  { name: "pgbench_accounts", key: "aid", key_type: "int4" },
  ...["branches", "tellers", "history"].map((name) => ({ name: `pgbench_${name}`, reference: true })),
];

/** Where it decides. */
export type DecisionLogKind = "file" | "shard";

/** How many processes it is; `auto`: one for each processor. */
export type Workers = number | "auto";

export interface PgxaOptions {
  readonly log?: DecisionLogKind;
  /** The section `pool` of its configuration. */
  readonly pool?: object;
  /** How clients get in; by default without proving anything. */
  readonly identity?: ClientIdentity;
  readonly workers?: Workers;
}

/** `nodeArguments` go to node, for example a profiler's. Throws if it does not come up. */
export async function startPgxa(
  shards: readonly ShardEndpoint[],
  belongings: Belongings,
  directory: string,
  nodeArguments: readonly string[] = [],
  { log = "file", pool = { max: POOL_SIZE }, identity, workers = 1 }: PgxaOptions = {},
): Promise<RunningPgxa> {
  const [port, metricsPort] = [await freePort(), await freePort()];
  const home = join(directory, `pgxa-${port}`);
  await mkdir(home);
  const file = join(home, "pgxa.yaml");
  const general = { ...configuration(shards, port, metricsPort, home, log), workers };
  await writeFile(file, stringify({ ...general, pool, ...(identity && access(identity, shards[0]!.user)) }));
  if (log === "shard") await makeSchemas(file);
  const child = belongings.spawn(process.execPath, [...nodeArguments, COMMAND, "up", "--config", file]);
  if (!(await accepts(port, START_TIMEOUT_MS, () => hasEnded(child.process)))) {
    throw new Error(`pgxa did not start: ${complaint("it", child.words())}`);
  }
  const { user } = shards[0]!;
  return {
    endpoint: { host: "127.0.0.1", port, database: "bench", user },
    pid: child.pid,
    stop: child.stop,
    metricsPort,
  };
}

const access = ({ scramSecret, tls }: ClientIdentity, user: string): object => ({
  ...(scramSecret && { auth: { method: "scram-sha-256" }, users: [{ name: user, password: scramSecret }] }),
  ...(tls && { client_tls: { mode: "require", cert_file: tls.certFile, key_file: tls.keyFile } }),
});

const makeSchemas = async (file: string): Promise<void> => {
  for (const shard of loadConfig(file, {}).shards) await makeSchema(shard);
};

function configuration(
  shards: readonly ShardEndpoint[],
  port: number,
  metricsPort: number,
  home: string,
  log: DecisionLogKind,
): object {
  return {
    listen: { host: "127.0.0.1", port },
    database: "bench",
    fleet: `bench-${port}`, // each is a fleet of its own: none settles what another prepared
    coordinator: "bench",
    shards: shards.map(({ id, host, port, database, user }) => ({ name: id, host, port, database, user })),
    ...(shards.length > 1 ? { tables: TABLES } : {}),
    auth: { method: "trust" },
    transaction: log === "shard" ? { log } : { log_directory: join(home, "decisions") },
    metrics: { port: metricsPort },
    log: { level: "error" },
  };
}
