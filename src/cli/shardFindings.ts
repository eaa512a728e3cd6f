// Pure.
/** What a shard's answers mean for pgxa: each becomes a finding, with a verdict and what to do. */
import type { Config, ShardConfig, ShardedTableConfig } from "../config/config.ts";

/** `fail`: pgxa would not work, or not safely. `warn`: it would, and somebody should look. */
export type Verdict = "ok" | "warn" | "fail";

export interface Finding {
  readonly what: string;
  readonly verdict: Verdict;
  readonly says: string;
  /** What to do; absent where nothing is to be done. */
  readonly advice?: string;
}

/** What one shard says of itself. */
export interface Facts {
  readonly version: string;
  readonly major: number;
  readonly prepared_max: number;
  readonly connections_max: number;
  readonly encoding: string;
  readonly is_standby: boolean;
  readonly may_identify: boolean;
}

/** Prepared transactions in the shard's database. */
export interface Leftovers {
  readonly ours: number;
  /** Of ours, those that the role of pgxa may not finish. */
  readonly untouchable: number;
  readonly others: number;
  readonly oldest_s: number;
}

/** The key's column as the shard has it. */
export interface KeyColumn {
  readonly type: string;
  /** -1 where the type has no modifier. */
  readonly typmod: number;
  readonly is_deterministic: boolean;
}

const VERSION_MIN = 13;
const SKEW_WARN_MS = 500;
/** Of max_connections, for superusers and for pgxa's own session with the shard. */
const CONNECTIONS_SPARED = 5;
const PREPARED_ADVISED = 100;

export const ok = (what: string, says: string): Finding => ({ what, verdict: "ok", says });
export const warn = (what: string, says: string, advice: string): Finding => ({
  what,
  verdict: "warn",
  says,
  advice,
});
export const fail = (what: string, says: string, advice: string): Finding => ({
  what,
  verdict: "fail",
  says,
  advice,
});

/** What `facts` mean; with one shard nothing is asked that only two-phase commit needs. */
export function judgeFacts(facts: Facts, shard: ShardConfig, config: Config): readonly Finding[] {
  const isSharded = config.shards.length > 1;
  return [
    version(facts),
    role(facts, isSharded, shard.hosts !== undefined),
    ...(isSharded ? [prepared(facts, config), rights(facts, shard)] : []),
    connections(facts, config),
    ...(isSharded ? [encoding(facts)] : []),
  ];
}

function version({ version, major }: Facts): Finding {
  if (major >= VERSION_MIN) return ok("version", version);
  const advice = "Upgrade the shard: recovery needs pg_xact_status and 64-bit transaction ids.";
  return fail("version", `${version}, older than ${VERSION_MIN}`, advice);
}

/** `hasOthers`: another server of the shard may be its primary. */
function role({ is_standby }: Facts, isSharded: boolean, hasOthers: boolean): Finding {
  if (!is_standby) return ok("role", "primary");
  if (hasOthers) return ok("role", "standby");
  const advice = "Name the primary's address.";
  return isSharded
    ? fail("role", "a standby", advice)
    : warn("role", "a standby: it can only be read", advice);
}

function prepared({ prepared_max }: Facts, config: Config): Finding {
  const what = "max_prepared_transactions";
  const wanted = config.pool.max;
  const advice = `ALTER SYSTEM SET max_prepared_transactions = ${Math.max(wanted, PREPARED_ADVISED)}; and restart the shard.`;
  if (prepared_max === 0) return fail(what, "0: two-phase commit is off", advice);
  if (prepared_max < wanted) return warn(what, `${prepared_max}, fewer than pool.max (${wanted})`, advice);
  return ok(what, String(prepared_max));
}

function rights({ may_identify }: Facts, { user }: ShardConfig): Finding {
  if (may_identify) return ok("rights", "may read the identity of the server");
  const advice = `GRANT EXECUTE ON FUNCTION pg_control_system() TO "${user.replaceAll('"', '""')}";`;
  return fail("rights", "may not read the identity of the server", advice);
}

function connections({ connections_max }: Facts, config: Config): Finding {
  const { max } = config.pool;
  const says = `max_connections ${connections_max}, pool.max ${max}`;
  if (max + CONNECTIONS_SPARED <= connections_max) return ok("connections", says);
  return warn("connections", says, "Lower pool.max, or raise max_connections on the shard.");
}

const encoding = ({ encoding: name }: Facts): Finding =>
  name === "UTF8"
    ? ok("encoding", name)
    : warn("encoding", name, "Text shard keys beyond ASCII hash differently; use UTF8.");

/** What is wrong with the servers of a shard together; `servers`: the findings of each. */
export function judgeServers(servers: readonly (readonly Finding[])[]): readonly Finding[] {
  const primaries = servers.filter((own) =>
    own.some(({ what, says }) => what === "role" && says === "primary"),
  );
  if (servers.length === 1 || primaries.length === 1) return [];
  return primaries.length === 0
    ? [fail("primary", "none of the servers", "Start the primary, or promote a standby.")]
    : [warn("primary", `${primaries.length} servers`, "Stop those over which another was promoted.")];
}

/** `skewMs`: how far the shard's clock is ahead of this machine's. */
export function judgeClock(skewMs: number): Finding {
  const rounded = Math.round(skewMs);
  const says = `${rounded >= 0 ? "+" : ""}${rounded} ms`;
  if (Math.abs(rounded) <= SKEW_WARN_MS) return ok("clock", says);
  return warn("clock", says, "Nothing depends on it but the times in logs; synchronise the clocks.");
}

export function judgeLeftovers({ ours, untouchable, others, oldest_s }: Leftovers): Finding {
  const what = "left prepared";
  if (ours === 0 && others === 0) return ok(what, "none");
  const says = `${ours} of this fleet, ${others} of others, the oldest ${Math.round(oldest_s)} s old`;
  if (untouchable > 0) {
    const advice =
      "Log in to the shard as the role that owns them (pg_prepared_xacts.owner), or as a superuser.";
    return fail(what, `${says}; ${untouchable} of this fleet belong to another role`, advice);
  }
  if (others === 0) return warn(what, says, "A running pgxa of this fleet settles its own; start it.");
  return warn(what, says, "Those of others hold locks until their owner ends them: see pg_prepared_xacts.");
}

/** `column`: null if the table has no such column. */
export function judgeKey({ name, key, keyType }: ShardedTableConfig, column: KeyColumn | null): Finding {
  const what = `table ${name}`;
  if (column === null) return fail(what, `has no column ${key}`, "Correct tables[].key.");
  if (column.type !== keyType) {
    return fail(what, `${key} is ${column.type}, not ${keyType}`, "Correct tables[].key_type.");
  }
  if ((keyType === "numeric" || keyType === "timestamptz") && column.typmod >= 0) {
    const advice = `Make it plain ${keyType}: pgxa hashes the value as it was sent.`;
    return fail(what, `${key} rounds what is stored`, advice);
  }
  if (!column.is_deterministic) {
    const advice = "Give the column a deterministic collation: equal keys must be equal bytes.";
    return fail(what, `${key} has a nondeterministic collation`, advice);
  }
  return ok(what, `sharded by ${key} (${keyType})`);
}
