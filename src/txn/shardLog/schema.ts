// Pure.
/**
 * What the `shard` decision log keeps on every shard: schema `pgxa`, made by `pgxa shards init`.
 *
 * `pgxa.decision` has a row for each transaction that is decided on this shard, its anchor; the primary key is what makes
 * the first writer win. `pgxa.owner` has a row for each pgxa that runs: until when it is taken to be alive.
 *
 * A commit is written through a view, in the anchor's own transaction, which may be under another role, another search_path
 * and `synchronous_commit = off`: what is written through it is written with its maker's rights, and its check asks who
 * logged in, and makes the commit wait for the disk, since others act on it as soon as it is answered. (A function in
 * PL/pgSQL did this in version 1, where it remains for processes that still run; it took the shard 40 µs more. So did a
 * CHECK on the outcome 8, for a table's are planned anew for every row.)
 * An abort is written by nobody's transaction but pgxa's own, as a plain statement.
 */
export const SCHEMA_VERSION = 2;

/** The role that pgxa logs in as gets what it needs; `role` is a quoted identifier. Safe to run again. */
export const schemaScript = (role: string): string => `
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('pgxa shards init', 0));
CREATE SCHEMA IF NOT EXISTS pgxa;
CREATE TABLE IF NOT EXISTS pgxa.installed (version int NOT NULL);
CREATE TABLE IF NOT EXISTS pgxa.decision (
  gtrid text COLLATE "C" PRIMARY KEY,
  outcome text NOT NULL,
  participants text NOT NULL,
  decided_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
) WITH (
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0,
  autovacuum_vacuum_insert_threshold = 10000, autovacuum_analyze_threshold = 100000
);
CREATE TABLE IF NOT EXISTS pgxa.owner (
  fleet text COLLATE "C",
  coordinator text COLLATE "C",
  epoch int8,
  expires_at timestamptz NOT NULL,
  fenced bool NOT NULL DEFAULT false,
  PRIMARY KEY (fleet, coordinator, epoch)
) WITH (
  fillfactor = 20,
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200, autovacuum_analyze_threshold = 100000
);
ALTER TABLE pgxa.decision DROP CONSTRAINT IF EXISTS decision_outcome_check;
CREATE OR REPLACE VIEW pgxa.commit_decision AS
SELECT gtrid, outcome, participants FROM pgxa.decision
WHERE outcome OPERATOR(pg_catalog.=) 'commit'
AND pg_catalog.has_table_privilege(session_user, 'pgxa.decision'::pg_catalog.regclass, 'INSERT')
AND CASE WHEN pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=) 'off'
  THEN pg_catalog.set_config('synchronous_commit', 'on', true) IS NOT NULL ELSE true END
WITH CHECK OPTION;
GRANT USAGE ON SCHEMA pgxa TO PUBLIC;
GRANT SELECT ON pgxa.installed TO PUBLIC;
GRANT INSERT ON pgxa.commit_decision TO PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON pgxa.decision, pgxa.owner TO ${role};
DELETE FROM pgxa.installed;
INSERT INTO pgxa.installed VALUES (${SCHEMA_VERSION});
`;

/** The constraint that a commit runs into when others have decided to abort; of no table of the application. */
export const DECISION_KEY = { schema: "pgxa", table: "decision", constraint: "decision_pkey" } as const;

/** The decision to commit $1 with the participants $2, by the anchor's own transaction. */
export const WRITE_COMMIT =
  "INSERT INTO pgxa.commit_decision (gtrid, outcome, participants) VALUES ($1, 'commit', $2)";

/** $1: the gids' gtrids. */
export const READ_DECISIONS = "SELECT gtrid, outcome FROM pgxa.decision WHERE gtrid = ANY ($1)";

/** Whose transactions are left to them: the owners of fleet $1 that are taken to be alive. */
export const READ_LIVING =
  "SELECT coordinator, epoch FROM pgxa.owner WHERE fleet = $1 AND expires_at >= pg_catalog.clock_timestamp()";

/**
 * The compare-and-set: $2 is decided for $1 unless it was decided before; returns what stands. It waits for a transaction
 * that is writing the same row. A row that stands is written anew, as it is, so that what is returned here
 * is durable wherever this statement is, on a synchronous standby too.
 */
export const DECIDE =
  "INSERT INTO pgxa.decision AS d (gtrid, outcome, participants) VALUES ($1, $2, $3) " +
  "ON CONFLICT (gtrid) DO UPDATE SET outcome = d.outcome RETURNING outcome, participants";

export const CONCLUDE = "DELETE FROM pgxa.decision WHERE gtrid = ANY ($1)";

/**
 * Keeps the lease of ($1, $2, $3) for $4 ms, if there is one that is not fenced; returns it, as it was, and the fleet's
 * other owners whose lease is over.
 */
export const KEEP_LEASE =
  "WITH kept AS (UPDATE pgxa.owner SET expires_at = pg_catalog.clock_timestamp() + $4::float8 * interval '1 ms' " +
  "WHERE fleet = $1 AND coordinator = $2 AND epoch = $3::int8 AND NOT fenced) " +
  "SELECT coordinator, epoch, fenced FROM pgxa.owner WHERE fleet = $1 AND " +
  "((coordinator = $2 AND epoch = $3::int8) OR expires_at < pg_catalog.clock_timestamp())";

/** The greatest epoch that coordinator $2 of fleet $1 has had, as far as is remembered. */
export const READ_EPOCH =
  "SELECT COALESCE(max(epoch), 0) AS epoch FROM pgxa.owner WHERE fleet = $1 AND coordinator = $2";

/** Takes the epoch $3; no row if it is taken. Durable, whatever the session says: an epoch is never taken twice. */
export const TAKE_EPOCH =
  "WITH durable AS MATERIALIZED (SELECT pg_catalog.set_config('synchronous_commit', 'on', true) AS is_on) INSERT INTO pgxa.owner (fleet, coordinator, epoch, expires_at) " +
  "SELECT $1, $2, $3::int8, pg_catalog.clock_timestamp() + $4::float8 * interval '1 ms' FROM durable " +
  "ON CONFLICT DO NOTHING RETURNING epoch";

/**
 * Before anybody but the owner ($1, $2, $3) deletes a commit of its: from then on it must not take the absence of a row
 * for the absence of a decision. Returns no row while the owner lives.
 */
export const FENCE_OWNER =
  "INSERT INTO pgxa.owner AS o (fleet, coordinator, epoch, expires_at, fenced) " +
  "VALUES ($1, $2, $3::int8, pg_catalog.clock_timestamp(), true) ON CONFLICT (fleet, coordinator, epoch) " +
  "DO UPDATE SET fenced = true WHERE o.expires_at < pg_catalog.clock_timestamp() RETURNING epoch";

/** A row if the owner ($1, $2, $3) is not fenced. */
export const READ_OWNER =
  "SELECT 1 FROM pgxa.owner WHERE fleet = $1 AND coordinator = $2 AND epoch = $3::int8 AND NOT fenced";

export const READ_VERSION = "SELECT version FROM pgxa.installed";

/** Commits that have stood for $2 seconds, oldest first, at most $3: gtrids of fleet prefix $1. */
export const READ_OLD_COMMITS =
  "SELECT gtrid, participants FROM pgxa.decision WHERE outcome = 'commit' AND pg_catalog.starts_with(gtrid, $1) " +
  "AND decided_at < pg_catalog.clock_timestamp() - $2::float8 * interval '1 s' ORDER BY decided_at LIMIT $3";

/**
 * Aborts of fleet prefix $1 that nobody can run into any more. The transaction that would was open when the row
 * was written, for all its branches are there before the first is prepared. So the row stays while this
 * database has a transaction of this role that began before it; $2 seconds are for a clock that was set meanwhile.
 */
export const FORGET_ABORTS =
  "DELETE FROM pgxa.decision AS d WHERE outcome = 'abort' AND pg_catalog.starts_with(gtrid, $1) " +
  "AND decided_at < pg_catalog.clock_timestamp() - 2 * $2::float8 * interval '1 s' " +
  "AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity AS a WHERE a.datname = pg_catalog.current_database() " +
  "AND a.usename = session_user AND a.pid <> pg_catalog.pg_backend_pid() " +
  "AND (a.state = 'disabled' OR a.xact_start < d.decided_at + $2::float8 * interval '1 s'))";

export const FORGET_OWNERS =
  "DELETE FROM pgxa.owner WHERE fleet = $1 AND expires_at < pg_catalog.clock_timestamp() - interval '1 hour'";
