/**
 * Asks one shard who waits for which lock, and cancels there.
 *
 * It has a session of its own, opened early and kept: when it is needed, connections may be what is short, and a
 * prepared transaction that holds a lock on the catalog lets nobody log in any more. pg_blocking_pids() takes the lock
 * manager's locks, so it is asked of sessions that wait, and of nobody else.
 */
import type { Client } from "pg";
import type { ShardConfig } from "../config/config.ts";
import { controlClient } from "../txn/controlClient.ts";
import type { LockWait } from "./lockWait.ts";

/** A shard that takes longer cannot be asked. */
const TIMEOUT_MS = 2_000;

/** The same text for the same moment, whatever the session's settings; the pools read their backends' start alike. */
const utc = (column: string): string =>
  `pg_catalog.to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00')`;

const WAITS = `
SELECT coalesce(a.leader_pid, w.pid) AS pid, coalesce(${utc("l.backend_start")}, '') AS backend_start,
  coalesce(${utc("l.xact_start")}, '') AS xact_start, w.pid AS waiter_pid, w.mode, ${utc("w.waitstart")} AS wait_start,
  (extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(w.waitstart, a.query_start)) * 1000)::float8 AS waited_ms,
  pg_catalog.array_to_json(pg_catalog.pg_blocking_pids(w.pid))::text AS blockers,
  w.locktype, w.database::int8::float8, w.relation::int8::float8, w.page, w.tuple, w.virtualxid,
  w.transactionid::text, w.classid::int8::float8, w.objid::int8::float8, w.objsubid
FROM pg_catalog.pg_locks w
JOIN pg_catalog.pg_stat_activity a ON a.pid = w.pid
JOIN pg_catalog.pg_stat_activity l ON l.pid = coalesce(a.leader_pid, a.pid)
WHERE NOT w.granted`;

/** The prepared transactions that hold what is waited for: they have no process. */
const PREPARED_HOLDERS = `
SELECT w.pid AS waiter_pid, p.gid
FROM pg_catalog.pg_locks w
JOIN pg_catalog.pg_locks h ON h.granted AND h.pid IS NULL
  AND (h.locktype, h.database, h.relation, h.page, h.tuple, h.virtualxid, h.transactionid, h.classid, h.objid, h.objsubid)
    IS NOT DISTINCT FROM
      (w.locktype, w.database, w.relation, w.page, w.tuple, w.virtualxid, w.transactionid, w.classid, w.objid, w.objsubid)
JOIN pg_catalog.pg_prepared_xacts p ON h.virtualtransaction = '-1/' || p.transaction
WHERE NOT w.granted`;

/** Only if it is still the same wait of the same transaction of the same backend: nobody else's statement is hit. */
const CANCEL = `
SELECT pg_catalog.pg_cancel_backend(a.pid) AS is_cancelled
FROM pg_catalog.pg_stat_activity a
WHERE a.pid = $1 AND ${utc("a.backend_start")} = $2 AND coalesce(${utc("a.xact_start")}, '') = $3
  AND EXISTS (SELECT FROM pg_catalog.pg_locks w
              WHERE w.pid = $4 AND NOT w.granted AND ${utc("w.waitstart")} = $5)`;

export class LockProbe {
  readonly shard: ShardConfig;
  #client: Promise<Client> | null = null;
  #isClosed = false;

  constructor(shard: ShardConfig) {
    this.shard = shard;
  }

  /** Every wait for a lock on this server now; rejects if the shard cannot be asked. */
  async waits(): Promise<readonly LockWait[]> {
    const rows = await this.#query(WAITS, []);
    const waits = rows.map(readWait);
    if (!waits.some(({ blockers }) => blockers.includes(0))) return waits;
    const holders = await this.#query(PREPARED_HOLDERS, []);
    return waits.map((wait) => ({
      ...wait,
      preparedBlockers: holders
        .filter((row) => Number(row["waiter_pid"]) === wait.waiterPid)
        .map((row) => String(row["gid"])),
    }));
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
    await client?.then(
      (open) => open.end(),
      () => {},
    );
  }

  async #query(sql: string, values: readonly unknown[]): Promise<readonly Row[]> {
    if (this.#isClosed) throw new Error("closed");
    this.#client ??= this.#open();
    const opening = this.#client;
    try {
      return (await (await opening).query<Row>(sql, [...values])).rows;
    } catch (error) {
      this.#drop(opening); // whatever it was, the next question has a session of its own
      throw error;
    }
  }

  #open(): Promise<Client> {
    const client = controlClient(this.shard, "pgxa deadlock", TIMEOUT_MS);
    client.on("error", () => this.#drop(opening));
    const opening = client.connect().then(() => client);
    opening.catch(() => this.#drop(opening));
    return opening;
  }

  #drop(opening: Promise<Client>): void {
    if (this.#client === opening) this.#client = null;
    opening.then(
      (client) => client.end().catch(() => {}),
      () => {},
    );
  }
}

type Row = Readonly<Record<string, unknown>>;

function readWait(row: Row): LockWait {
  const number = (name: string): number | null => (row[name] === null ? null : Number(row[name]));
  const text = (name: string): string | null => (row[name] === null ? null : String(row[name]));
  return {
    pid: Number(row["pid"]),
    backendStart: String(row["backend_start"]),
    xactStart: String(row["xact_start"]),
    waiterPid: Number(row["waiter_pid"]),
    mode: String(row["mode"]),
    waitStart: text("wait_start"),
    waitedMs: Math.max(0, Number(row["waited_ms"])),
    blockers: [...new Set(JSON.parse(String(row["blockers"])) as number[])],
    preparedBlockers: [],
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
