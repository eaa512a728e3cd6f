/**
 * What prepared transactions do to a shard: the locks they hold, who waits for them, and what they keep VACUUM from.
 *
 * Asked only when somebody looks: it reads the whole lock table. A prepared transaction has no process; its locks bear the
 * virtual id of the session that prepared it, and another one after the server's next start. Which that is, the
 * lock on its own transaction id tells.
 */
import { sqlstateOf } from "./controlSession.ts";
import type { ShardControl } from "./shardControl.ts";

export interface PreparedDetails {
  readonly gid: string;
  readonly database: string;
  /** The role that prepared it, and may end it; its number if the roles are locked. */
  readonly owner: string;
  readonly preparedAtMs: number;
  readonly ageMs: number;
  readonly xid: string;
  /** How many transactions began since. */
  readonly xidAge: number;
  /** Whether nothing on the server is older: what VACUUM may remove everywhere is up to this. */
  readonly isOldest: boolean;
  readonly lockCount: number;
  /** Relations with modes, such as `accounts:RowExclusiveLock`. */
  readonly locks: readonly string[];
  /** Processes that wait for it. */
  readonly waiters: readonly number[];
}

export interface ShardDetails {
  readonly prepared: readonly PreparedDetails[];
  /** How many are prepared on the server under names of nobody of this fleet. */
  readonly foreign: number;
}

/**
 * Not by the views, which look up the names of roles and so wait for what has locked pg_authid; the name of the owner is
 * asked for with $2 only.
 *
 * Relations are named as seen from the search path of everybody: with their schema unless it is public.
 */
const DETAILS = `
WITH prepared AS MATERIALIZED (
  SELECT x.transaction, x.gid, x.prepared, d.datname::text AS database, pg_catalog.age(x.transaction) AS xid_age,
    CASE WHEN $2 THEN x.ownerid::pg_catalog.regrole::text ELSE x.ownerid::text END AS owner
  FROM pg_catalog.pg_prepared_xact() x LEFT JOIN pg_catalog.pg_database d ON d.oid = x.dbid
),
locks AS MATERIALIZED (SELECT * FROM pg_catalog.pg_locks),
held AS MATERIALIZED (
  SELECT p.gid, l.* FROM prepared p
  JOIN locks t ON t.pid IS NULL AND t.locktype = 'transactionid' AND t.transactionid = p.transaction AND t.granted
  JOIN locks l ON l.pid IS NULL AND l.granted AND l.virtualtransaction = t.virtualtransaction
  WHERE pg_catalog.starts_with(p.gid, $1)
),
waiters AS (
  SELECT DISTINCT h.gid, w.pid FROM held h
  JOIN locks w ON NOT w.granted
    AND (w.locktype, w.database, w.relation, w.page, w.tuple, w.transactionid, w.classid, w.objid, w.objsubid)
      IS NOT DISTINCT FROM
        (h.locktype, h.database, h.relation, h.page, h.tuple, h.transactionid, h.classid, h.objid, h.objsubid)
  WHERE 0 = ANY (pg_catalog.pg_blocking_pids(w.pid))
),
oldest AS (
  SELECT max(age) AS age FROM (
    SELECT xid_age AS age FROM prepared
    UNION ALL SELECT greatest(pg_catalog.age(backend_xid), pg_catalog.age(backend_xmin))
    FROM pg_catalog.pg_stat_get_activity(NULL) WHERE pid <> pg_catalog.pg_backend_pid()
    UNION ALL SELECT greatest(pg_catalog.age(xmin), pg_catalog.age(catalog_xmin))
    FROM pg_catalog.pg_replication_slots
  ) AS ages
)
SELECT p.gid, p.database, p.owner, p.transaction::text AS xid, p.xid_age, p.xid_age >= o.age AS is_oldest,
  (extract(epoch FROM p.prepared) * 1000)::float8 AS prepared_at_ms,
  (extract(epoch FROM pg_catalog.clock_timestamp() - p.prepared) * 1000)::float8 AS age_ms,
  (SELECT count(*) FROM held h WHERE h.gid = p.gid)::int AS lock_count,
  (SELECT pg_catalog.json_agg(DISTINCT
      CASE WHEN c.oid IS NULL THEN h.relation::text
           WHEN n.nspname = 'public' THEN c.relname::text ELSE n.nspname || '.' || c.relname END || ':' || h.mode)::text
    FROM held h LEFT JOIN pg_catalog.pg_class c ON c.oid = h.relation
    LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE h.gid = p.gid AND h.relation IS NOT NULL) AS locks,
  (SELECT pg_catalog.json_agg(w.pid ORDER BY w.pid)::text FROM waiters w WHERE w.gid = p.gid) AS waiters
FROM prepared p, oldest o
WHERE pg_catalog.starts_with(p.gid, $1) AND p.database = pg_catalog.current_database()
ORDER BY p.prepared`;

const FOREIGN =
  "SELECT count(*)::int AS count FROM pg_catalog.pg_prepared_xact() WHERE NOT pg_catalog.starts_with(gid, $1)";

/** Of those whose gid begins with `prefix`; rejects if the shard cannot be asked. */
export async function lookInDoubt(control: ShardControl, prefix: string): Promise<ShardDetails> {
  const rows = await control.ask(DETAILS, [prefix, true]).catch((error: unknown) => {
    if (sqlstateOf(error) !== "55P03") throw error;
    return control.ask(DETAILS, [prefix, false]); // the roles are locked
  });
  const [foreign] = await control.ask(FOREIGN, [prefix]);
  return { prepared: rows.map(readDetails), foreign: Number(foreign?.["count"]) };
}

function readDetails(row: Readonly<Record<string, unknown>>): PreparedDetails {
  const list = <T>(name: string): readonly T[] =>
    row[name] === null ? [] : (JSON.parse(String(row[name])) as T[]);
  return {
    gid: String(row["gid"]),
    database: String(row["database"]),
    owner: String(row["owner"]),
    preparedAtMs: Number(row["prepared_at_ms"]),
    ageMs: Number(row["age_ms"]),
    xid: String(row["xid"]),
    xidAge: Number(row["xid_age"]),
    isOldest: row["is_oldest"] === true,
    lockCount: Number(row["lock_count"]),
    locks: list<string>("locks"),
    waiters: list<number>("waiters"),
  };
}
