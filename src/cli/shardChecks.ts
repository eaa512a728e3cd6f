/** Asks one shard what `pgxa check` wants to know, and judges the answers. */
import { Client } from "pg";
import type { Config, ShardConfig, TableConfig } from "../config/config.ts";
import { gidPrefix } from "../txn/gid.ts";

export type Verdict = "ok" | "warn" | "fail";

export interface Finding {
  readonly what: string;
  readonly verdict: Verdict;
  readonly says: string;
  /** What to do; absent where nothing is to be done. */
  readonly advice?: string;
}

export interface ShardReport {
  readonly shard: string;
  readonly address: string;
  readonly findings: readonly Finding[];
}

const TIMEOUT_MS = 5_000;
const VERSION_MIN = 13;
const SKEW_WARN_MS = 500;

const FACTS = `
  SELECT current_setting('server_version') AS version,
         current_setting('server_version_num')::int / 10000 AS major,
         current_setting('max_prepared_transactions')::int AS prepared_max,
         current_setting('max_connections')::int AS connections_max,
         current_setting('server_encoding') AS encoding,
         pg_is_in_recovery() AS is_standby,
         has_function_privilege('pg_control_system()', 'execute') AS may_identify,
         (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now_ms`;

const LEFT = `
  SELECT count(*) FILTER (WHERE starts_with(gid, $1))::int AS ours,
         count(*) FILTER (WHERE NOT starts_with(gid, $1))::int AS others,
         coalesce(extract(epoch FROM now() - min(prepared)), 0)::float8 AS oldest_s
  FROM pg_prepared_xacts WHERE database = current_database()`;

const COLUMN = `
  SELECT format_type(t.oid, NULL) AS type, a.atttypmod AS typmod, t.typname AS name
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
  WHERE a.attrelid = to_regclass($1) AND a.attname = $2 AND NOT a.attisdropped`;

interface Facts {
  readonly version: string;
  readonly major: number;
  readonly prepared_max: number;
  readonly connections_max: number;
  readonly encoding: string;
  readonly is_standby: boolean;
  readonly may_identify: boolean;
  readonly now_ms: number;
}

const ok = (what: string, says: string): Finding => ({ what, verdict: "ok", says });
const warn = (what: string, says: string, advice: string): Finding => ({
  what,
  verdict: "warn",
  says,
  advice,
});
const fail = (what: string, says: string, advice: string): Finding => ({
  what,
  verdict: "fail",
  says,
  advice,
});

/** Never rejects: a shard that cannot be asked is a finding. */
export async function checkShard(shard: ShardConfig, config: Config): Promise<ShardReport> {
  const address = `${shard.host}:${shard.port}/${shard.database}`;
  const client = new Client({
    host: shard.host,
    port: shard.port,
    database: shard.database,
    user: shard.user,
    ...(shard.password === undefined ? {} : { password: shard.password }),
    application_name: "pgxa check",
    connectionTimeoutMillis: TIMEOUT_MS,
    query_timeout: TIMEOUT_MS,
  });
  client.on("error", () => {}); // the query that ran is rejected
  try {
    await client.connect();
    return {
      shard: shard.id,
      address,
      findings: [ok("reachable", `as ${shard.user}`), ...(await ask(client, shard, config))],
    };
  } catch (error) {
    return { shard: shard.id, address, findings: [unreachable(error, shard)] };
  } finally {
    client.end().catch(() => {});
  }
}

async function ask(client: Client, shard: ShardConfig, config: Config): Promise<readonly Finding[]> {
  const sentMs = Date.now();
  const { rows } = await client.query<Facts>(FACTS);
  const halfwayMs = (sentMs + Date.now()) / 2;
  const [facts] = rows;
  if (facts === undefined) return [fail("answers", "no answer to a query", "Look at the shard's log.")];
  const isSharded = config.shards.length > 1;
  return [
    version(facts),
    role(facts),
    ...(isSharded ? [prepared(facts, config), rights(facts, shard)] : []),
    connections(facts, config),
    encoding(facts),
    clock(facts.now_ms - halfwayMs),
    ...(isSharded ? [await leftovers(client, config)] : []),
    ...(await tables(client, config)),
  ];
}

function version({ version, major }: Facts): Finding {
  if (major >= VERSION_MIN) return ok("version", version);
  return fail(
    "version",
    `${version}, older than ${VERSION_MIN}`,
    "Upgrade the shard: recovery needs pg_xact_status and 64-bit transaction ids.",
  );
}

const role = ({ is_standby }: Facts): Finding =>
  is_standby ? fail("role", "a standby", "Name the primary's address.") : ok("role", "primary");

function prepared({ prepared_max }: Facts, config: Config): Finding {
  const what = "max_prepared_transactions";
  const wanted = config.pool.max;
  const advice = `Set max_prepared_transactions = ${Math.max(wanted, 100)} on the shard and restart it.`;
  if (prepared_max === 0) return fail(what, "0: two-phase commit is off", advice);
  if (prepared_max < wanted) return warn(what, `${prepared_max}, fewer than pool.max (${wanted})`, advice);
  return ok(what, String(prepared_max));
}

const rights = ({ may_identify }: Facts, { user }: ShardConfig): Finding =>
  may_identify
    ? ok("rights", "may read the identity of the server")
    : fail(
        "rights",
        "may not read the identity of the server",
        `GRANT EXECUTE ON FUNCTION pg_control_system() TO ${user};`,
      );

function connections({ connections_max }: Facts, config: Config): Finding {
  const { max } = config.pool;
  const says = `max_connections ${connections_max}, pool.max ${max}`;
  if (max + 5 <= connections_max) return ok("connections", says);
  return warn("connections", says, "Lower pool.max, or raise max_connections on the shard.");
}

const encoding = ({ encoding: name }: Facts): Finding =>
  name === "UTF8"
    ? ok("encoding", name)
    : warn("encoding", name, "Text shard keys beyond ASCII hash differently; use UTF8.");

function clock(skewMs: number): Finding {
  const rounded = Math.round(skewMs);
  const says = `${rounded >= 0 ? "+" : ""}${rounded} ms`;
  if (Math.abs(rounded) <= SKEW_WARN_MS) return ok("clock", says);
  return warn("clock", says, "Nothing depends on it but the times in logs; synchronise the clocks.");
}

async function leftovers(client: Client, config: Config): Promise<Finding> {
  const { rows } = await client.query<{ ours: number; others: number; oldest_s: number }>(LEFT, [
    gidPrefix(config.fleet),
  ]);
  const { ours, others, oldest_s } = rows[0]!;
  const what = "left prepared";
  if (ours === 0 && others === 0) return ok(what, "none");
  const says = `${ours} of this fleet, ${others} of others, the oldest ${Math.round(oldest_s)} s old`;
  if (others === 0) return warn(what, says, "A running pgxa of this fleet settles its own; start it.");
  return warn(
    what,
    says,
    "Those of others hold locks until whoever prepared them ends them: see pg_prepared_xacts.",
  );
}

async function tables(client: Client, config: Config): Promise<readonly Finding[]> {
  const findings = await Promise.all(config.tables.map((table) => checkTable(client, table)));
  return findings.filter((finding) => finding !== null);
}

async function checkTable(client: Client, table: TableConfig): Promise<Finding | null> {
  const name = `"${table.schema.replaceAll('"', '""')}"."${table.name.replaceAll('"', '""')}"`;
  const what = `table ${table.name}`;
  if (table.kind === "single") return null;
  const { rows: found } = await client.query<{ oid: string | null }>("SELECT to_regclass($1)::text AS oid", [
    name,
  ]);
  if (found[0]?.oid === null) return fail(what, "is not there", "Create it on every shard.");
  if (table.kind === "reference") return ok(what, "reference");
  const { rows } = await client.query<{ name: string; typmod: number }>(COLUMN, [name, table.key]);
  const [column] = rows;
  if (column === undefined) return fail(what, `has no column ${table.key}`, "Correct tables[].key.");
  if (column.name !== table.keyType)
    return fail(what, `${table.key} is ${column.name}, not ${table.keyType}`, "Correct tables[].key_type.");
  const isRounded = (table.keyType === "numeric" || table.keyType === "timestamptz") && column.typmod >= 0;
  if (isRounded)
    return fail(
      what,
      `${table.key} rounds what is stored`,
      `Make it plain ${table.keyType}: pgxa hashes the value as it was sent.`,
    );
  return ok(what, `sharded by ${table.key} (${table.keyType})`);
}

function unreachable(error: unknown, { user }: ShardConfig): Finding {
  const { code, message } = error as NodeJS.ErrnoException;
  const reason = message === "" || message === undefined ? String(code) : message;
  if (code === "28P01" || code === "28000")
    return fail("reachable", reason, `Correct the user or password of the shard (user ${user}).`);
  if (code === "3D000")
    return fail("reachable", reason, "Create the database, or correct shards[].database.");
  return fail("reachable", reason, "Check host and port, that the shard runs, and its pg_hba.conf.");
}
