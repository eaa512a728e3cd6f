/**
 * Asks one shard what `pgxa check` wants to know.
 *
 * It logs in with what the configuration says and nothing else: PGPASSWORD, .pgpass and PGSSLMODE, which the driver
 * would use and pgxa does not, are kept out.
 */
import type { Client } from "pg";
import type { Config, ShardConfig, TableConfig } from "../config/config.ts";
import { controlClient } from "../pool/controlClient.ts";
import { gidPrefix } from "../txn/gid.ts";
import { askSchema } from "./decisionFindings.ts";
import {
  type Facts,
  type Finding,
  fail,
  judgeClock,
  judgeFacts,
  judgeKey,
  judgeLeftovers,
  type KeyColumn,
  type Leftovers,
  ok,
} from "./shardFindings.ts";

export interface ShardReport {
  readonly shard: string;
  readonly address: string;
  readonly findings: readonly Finding[];
}

const TIMEOUT_MS = 5_000;

const FACTS = `
  SELECT current_setting('server_version') AS version,
         current_setting('server_version_num')::int / 10000 AS major,
         current_setting('max_prepared_transactions')::int AS prepared_max,
         current_setting('max_connections')::int AS connections_max,
         current_setting('server_encoding') AS encoding,
         pg_is_in_recovery() AS is_standby,
         has_function_privilege('pg_control_system()', 'execute') AS may_identify`;

const NOW = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now_ms";

// A prepared transaction may be finished by its owner and by superusers:
// https://www.postgresql.org/docs/current/sql-commit-prepared.html
const LEFTOVERS = `
  SELECT count(*) FILTER (WHERE is_ours)::int AS ours,
         count(*) FILTER (WHERE is_ours AND owner <> current_user AND NOT rolsuper)::int AS untouchable,
         count(*) FILTER (WHERE NOT is_ours)::int AS others,
         coalesce(extract(epoch FROM now() - min(prepared)), 0)::float8 AS oldest_s
  FROM (SELECT *, starts_with(gid, $1) AS is_ours FROM pg_prepared_xacts) prepared_xacts
  CROSS JOIN (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) me
  WHERE database = current_database()`;

const KEY_COLUMN = `
  SELECT t.typname AS type, a.atttypmod AS typmod, coalesce(c.collisdeterministic, true) AS is_deterministic
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_collation c ON c.oid = a.attcollation
  WHERE a.attrelid = to_regclass($1) AND a.attname = $2 AND NOT a.attisdropped`;

/** Never rejects: a shard that cannot be asked is a finding. Logging in and each question may take `timeoutMs`. */
export async function checkShard(
  shard: ShardConfig,
  config: Config,
  timeoutMs = TIMEOUT_MS,
): Promise<ShardReport> {
  const address = `${shard.host}:${shard.port}/${shard.database}`;
  const client = controlClient(shard, "pgxa check", timeoutMs);
  client.on("error", () => {}); // what ran is rejected
  try {
    return { shard: shard.id, address, findings: await findings(client, shard, config) };
  } finally {
    client.end().catch(() => {}); // it may never have been open
  }
}

async function findings(client: Client, shard: ShardConfig, config: Config): Promise<readonly Finding[]> {
  try {
    await client.connect();
  } catch (error) {
    return [unreachable(error as NodeJS.ErrnoException, shard)];
  }
  const reachable = ok("reachable", `as ${shard.user}`);
  try {
    return [reachable, ...(await ask(client, shard, config))];
  } catch (error) {
    const advice = "Look at the shard's log; is this a PostgreSQL server?";
    return [reachable, fail("answers", (error as Error).message, advice)];
  }
}

async function ask(client: Client, shard: ShardConfig, config: Config): Promise<readonly Finding[]> {
  const { rows } = await client.query<Facts>(FACTS);
  return [
    ...judgeFacts(rows[0]!, shard, config),
    judgeClock(await clockSkewMs(client)),
    ...(config.shards.length > 1 ? await askSharded(client, shard, config) : []),
  ];
}

/** The shard reads its clock half a round trip after it was asked, as far as anybody can tell. */
async function clockSkewMs(client: Client): Promise<number> {
  const sentMs = Date.now();
  const { rows } = await client.query<{ now_ms: number }>(NOW);
  return rows[0]!.now_ms - (sentMs + Date.now()) / 2;
}

async function askSharded(client: Client, shard: ShardConfig, config: Config): Promise<readonly Finding[]> {
  const { rows } = await client.query<Leftovers>(LEFTOVERS, [gidPrefix(config.fleet)]);
  const findings = [judgeLeftovers(rows[0]!), ...(await askSchema(client, config))];
  for (const table of config.tables) {
    if (table.kind !== "single" || table.shard === shard.id) findings.push(await checkTable(client, table));
  }
  return findings;
}

async function checkTable(client: Client, table: TableConfig): Promise<Finding> {
  const name = `"${table.schema.replaceAll('"', '""')}"."${table.name.replaceAll('"', '""')}"`;
  const what = `table ${table.name}`;
  const { rows: found } = await client.query<{ oid: string | null }>("SELECT to_regclass($1)::text AS oid", [
    name,
  ]);
  if (found[0]!.oid === null) {
    return fail(what, "is not there", `Create it on ${table.kind === "single" ? "this" : "every"} shard.`);
  }
  if (table.kind !== "sharded") return ok(what, table.kind === "reference" ? "reference" : "here only");
  const { rows } = await client.query<KeyColumn>(KEY_COLUMN, [name, table.key]);
  return judgeKey(table, rows[0] ?? null);
}

function unreachable({ code, message }: NodeJS.ErrnoException, { user, password }: ShardConfig): Finding {
  const what = "reachable";
  // The driver's own complaint; it comes before anything is sent.
  if (password === undefined && /client password must be/.test(message)) {
    return fail(what, "asks for a password, and none is configured", "Give shards[].password.");
  }
  const reason = message === "" ? String(code) : message;
  switch (code) {
    case "28P01":
    case "28000":
      return fail(
        what,
        reason,
        `Correct the user or password of the shard (user ${user}), or its pg_hba.conf.`,
      );
    case "3D000":
      return fail(what, reason, "Create the database, or correct shards[].database.");
    case "53300":
      return fail(what, reason, "Raise max_connections on the shard, or end some of its clients.");
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return fail(what, reason, "Correct shards[].host: the name is not known.");
    default:
      return fail(
        what,
        reason,
        "Check host and port, that the shard runs, and that no firewall is in between.",
      );
  }
}
