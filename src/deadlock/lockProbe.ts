/**
 * Asks one shard who waits for which lock, and cancels there.
 *
 * It has a session of its own, opened early and kept: when it is needed, connections may be what is short, and a
 * prepared transaction that holds a lock on the catalog lets nobody log in any more. pg_blocking_pids() takes the lock
 * manager's locks, so it is asked of sessions that wait, and of nobody else.
 */
import type { Client } from "pg";
import type { Endpoint, ShardConfig } from "../config/config.ts";
import { controlClient, endClient } from "../pool/controlClient.ts";
import { atPrimary, fixedRoute, type ShardRoute } from "../pool/health/shardRoute.ts";
import { type HeldLock, workOutBlockers } from "./blockers.ts";
import type { LockTag, LockWait } from "./lockWait.ts";

/** A shard that takes longer cannot be asked. */
const TIMEOUT_MS = 2_000;

/** The same text for the same moment, whatever the session's settings; the pools read their backends' start alike. */
const utc = (column: string): string =>
  `pg_catalog.to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00')`;

/** Up to so many waiters are asked for exactly; beyond, who blocks them is worked out (blockers.ts). */
const EXACT_MAX = 50;

/**
 * Every lock on a thing that somebody waits for; `$1` are processes that are asked for exactly in any case. The locks of
 * a prepared transaction bear the virtual id of the session that prepared it, and another one after the server's next
 * start; which that is, the lock on its transaction id tells. The views of sessions and of what is prepared look up the
 * names of roles and would wait for a lock on them; what is below the views does not.
 */
const LOCKS = `
WITH locks AS MATERIALIZED (
  SELECT *, format('%s %s %s %s %s %s %s %s %s %s', locktype, database, relation, page, tuple, virtualxid,
                   transactionid, classid, objid, objsubid) AS tag
  FROM pg_catalog.pg_locks
),
waited AS MATERIALIZED (SELECT tag, count(*) OVER () AS waiters FROM locks WHERE NOT granted),
prepared AS (
  SELECT l.virtualtransaction, p.gid FROM locks l JOIN pg_catalog.pg_prepared_xact() p ON p.transaction = l.transactionid
  WHERE l.pid IS NULL AND l.locktype = 'transactionid'
),
things AS (SELECT tag, max(waiters) AS waiters FROM waited GROUP BY tag)
SELECT l.granted, l.tag, l.mode, l.pid AS waiter_pid, coalesce(a.leader_pid, l.pid) AS pid, p.gid,
  coalesce(${utc("s.backend_start")}, '') AS backend_start, coalesce(${utc("s.xact_start")}, '') AS xact_start,
  ${utc("l.waitstart")} AS wait_start,
  (extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(l.waitstart, a.query_start)) * 1000)::float8 AS waited_ms,
  CASE WHEN NOT l.granted AND (t.waiters <= ${EXACT_MAX} OR l.pid = ANY($1::int[]))
    THEN pg_catalog.array_to_json(pg_catalog.pg_blocking_pids(l.pid))::text END AS blockers,
  l.locktype, l.database::int8::float8, l.relation::int8::float8, l.page, l.tuple, l.virtualxid,
  l.transactionid::text, l.classid::int8::float8, l.objid::int8::float8, l.objsubid
FROM locks l
JOIN things t ON t.tag = l.tag
LEFT JOIN pg_catalog.pg_stat_get_activity(NULL) a ON a.pid = l.pid
LEFT JOIN pg_catalog.pg_stat_get_activity(NULL) s ON s.pid = coalesce(a.leader_pid, a.pid)
LEFT JOIN prepared p ON l.pid IS NULL AND l.virtualtransaction = p.virtualtransaction`;

/** Only if it is still the same wait of the same transaction of the same backend: nobody else's statement is hit. */
const CANCEL = `
SELECT pg_catalog.pg_cancel_backend(a.pid) AS is_cancelled
FROM pg_catalog.pg_stat_get_activity($1) a
WHERE a.pid = $1 AND ${utc("a.backend_start")} = $2 AND coalesce(${utc("a.xact_start")}, '') = $3
  AND EXISTS (SELECT FROM pg_catalog.pg_locks w
              WHERE w.pid = $4 AND NOT w.granted AND ${utc("w.waitstart")} = $5)`;

export class LockProbe {
  readonly shard: ShardConfig;
  readonly #route: ShardRoute;
  /** Where the session leads. */
  #endpoint: Endpoint | null = null;
  #client: Promise<Client> | null = null;
  #isClosed = false;

  constructor(shard: ShardConfig, route: ShardRoute = fixedRoute(shard)) {
    this.shard = shard;
    this.#route = route;
  }

  /**
   * Every wait for a lock on this server now; rejects if the shard cannot be asked. `exactly`: processes of which it
   * must be exact who blocks them, however many wait.
   */
  async waits(exactly: readonly number[] = []): Promise<readonly LockWait[]> {
    const rows = (await this.#query(LOCKS, [exactly])).map(readLock);
    const things = [...Map.groupBy(rows, ({ tag }) => tag).values()];
    return things.flatMap((locks) => waitsFor(locks));
  }

  /** Cancels what `wait` belongs to if it is still that wait; whether it was. Rejects if the shard cannot be asked. */
  async cancel(wait: LockWait): Promise<boolean> {
    const { pid, backendStart, xactStart, waiterPid, waitStart } = wait;
    const [row] = await this.#query(CANCEL, [pid, backendStart, xactStart, waiterPid, waitStart]);
    return row?.["is_cancelled"] === true;
  }

  /** Opens the session ahead of need; a failure shows when it is needed. */
  async open(): Promise<void> {
    await this.#query("SELECT 1", []).catch(() => {});
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const client = this.#client;
    this.#client = null;
    await client?.then(endClient, () => {});
  }

  async #query(sql: string, values: readonly unknown[]): Promise<readonly Row[]> {
    if (this.#isClosed) throw new Error("closed");
    // One shard that hangs must not delay the look at the others.
    if (this.#route.isSilent) throw new Error("it does not answer");
    if (this.#client !== null && this.#endpoint !== this.#route.endpoint) this.#drop(this.#client);
    this.#client ??= this.#open();
    const opening = this.#client;
    try {
      return (await (await opening).query<Row>({ name: nameOf(sql), text: sql, values: [...values] })).rows;
    } catch (error) {
      this.#drop(opening); // whatever it was, the next question has a session of its own
      if (/timeout/i.test((error as Error).message)) this.#route.noteSilence(TIMEOUT_MS);
      throw error;
    }
  }

  #open(): Promise<Client> {
    this.#endpoint = this.#route.endpoint;
    const client = controlClient(atPrimary(this.shard, this.#route), "pgxa deadlock", TIMEOUT_MS);
    client.on("error", () => this.#drop(opening));
    const opening = client.connect().then(() => client);
    opening.catch(() => this.#drop(opening));
    return opening;
  }

  #drop(opening: Promise<Client>): void {
    if (this.#client === opening) this.#client = null;
    opening.then(endClient, () => {});
  }
}

/** The few questions are prepared once for each session: planning them takes longer than answering. */
const nameOf = (sql: string): string => (sql === LOCKS ? "locks" : sql === CANCEL ? "cancel" : "");

type Row = Readonly<Record<string, unknown>>;

interface LockRow extends HeldLock, LockTag {
  readonly tag: string;
  readonly waiterPid: number;
  readonly gid: string | null;
  readonly backendStart: string;
  readonly xactStart: string;
  readonly waitedMs: number;
  readonly blockers: readonly number[] | null;
}

function readLock(row: Row): LockRow {
  const number = (name: string): number | null => (row[name] === null ? null : Number(row[name]));
  const text = (name: string): string | null => (row[name] === null ? null : String(row[name]));
  const blockers = text("blockers");
  return {
    isGranted: row["granted"] === true,
    tag: String(row["tag"]),
    pid: number("pid"),
    waiterPid: Number(row["waiter_pid"]),
    gid: text("gid"),
    backendStart: String(row["backend_start"]),
    xactStart: String(row["xact_start"]),
    mode: String(row["mode"]),
    waitStart: text("wait_start"),
    waitedMs: Math.max(0, Number(row["waited_ms"])),
    blockers: blockers === null ? null : [...new Set(JSON.parse(blockers) as number[])],
    locktype: String(row["locktype"]),
    database: number("database"),
    relation: number("relation"),
    page: number("page"),
    tuple: number("tuple"),
    virtualxid: text("virtualxid"),
    transactionid: text("transactionid"),
    classid: number("classid"),
    objid: number("objid"),
    objsubid: number("objsubid"),
  };
}

/** The waits among the locks on one thing. */
function waitsFor(locks: readonly LockRow[]): readonly LockWait[] {
  const gids = locks.flatMap(({ gid, isGranted }) => (gid !== null && isGranted ? [gid] : []));
  const workedOut = locks.some((lock) => !lock.isGranted && lock.blockers === null)
    ? workOutBlockers(locks)
    : null;
  return locks.flatMap((lock): readonly LockWait[] => {
    const { isGranted, tag: _tag, gid: _gid, pid, ...wait } = lock;
    if (isGranted || pid === null) return [];
    const blockers = lock.blockers ?? workedOut!.get(lock)!;
    const preparedBlockers = blockers.includes(0) ? gids : [];
    return [{ ...wait, pid, blockers, isExact: lock.blockers !== null, preparedBlockers }];
  });
}
