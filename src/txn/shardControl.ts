/**
 * pgxa's own session at one shard, for what recovery asks and does: kept open, for a prepared transaction that holds a
 * lock on the catalog of roles lets nobody log in any more (TRAPS: that is when it is needed most).
 *
 * Everything rejects when the shard cannot be asked; whoever asks tries again later. Statements are short and bounded
 * in time; a session that does not answer is given up and the next call opens another.
 */
import { Client } from "pg";
import type { BackendPid, ShardId, Xid } from "../base/brands.ts";
import type { ShardConfig } from "../config/config.ts";
import type { Participant } from "./decisionLog.ts";
import type { Evidence } from "./recovery.ts";

const TIMEOUT_MS = 5_000;
const FENCE_STEP_MS = 20;

export interface PreparedBranch {
  readonly gid: string;
  /** Wall time on the shard when it was prepared, in ms since 1970. */
  readonly preparedAtMs: number;
}

/** What came of finishing a prepared transaction. */
export type Finish =
  | "done"
  /** Somebody else is finishing it (55000). */
  | "busy"
  /** It is not there (42704): no statement about why. */
  | "missing";

/** Which server this is, and that it can finish transactions: its identity and timeline; fails on a standby. */
const IDENTITY =
  "SELECT system_identifier::text || '/' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8) AS server " +
  "FROM pg_catalog.pg_control_system()";

const PREPARED =
  "SELECT gid, (extract(epoch FROM prepared) * 1000)::float8 AS prepared_at_ms FROM pg_catalog.pg_prepared_xacts " +
  "WHERE pg_catalog.starts_with(gid, $1) AND database = pg_catalog.current_database() ORDER BY prepared";

/** The pid alone could be somebody else's by now; with its start it is the backend that was meant. */
const TERMINATE =
  "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity " +
  "WHERE pid = $1 AND backend_start = $2::timestamptz";

const ALIVE = "SELECT 1 FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND backend_start = $2::timestamptz";

export class ShardControl {
  readonly shard: ShardConfig;
  /** The server that answered last; null before the first answer. */
  server: string | null = null;
  #client: Promise<Client> | null = null;
  #isClosed = false;

  constructor(shard: ShardConfig) {
    this.shard = shard;
  }

  get id(): ShardId {
    return this.shard.id;
  }

  /** The prepared transactions of this database whose gid begins with `prefix`, oldest first. */
  async prepared(prefix: string): Promise<readonly PreparedBranch[]> {
    const rows = await this.#query(PREPARED, [prefix]);
    return rows.map((row) => ({ gid: String(row["gid"]), preparedAtMs: Number(row["prepared_at_ms"]) }));
  }

  /** COMMIT PREPARED or ROLLBACK PREPARED; rejects with what is neither done, nor busy, nor missing. */
  async finish(verb: "COMMIT" | "ROLLBACK", gid: string): Promise<Finish> {
    try {
      await this.#query(`${verb} PREPARED '${gid.replaceAll("'", "''")}'`, []);
      return "done";
    } catch (error) {
      const code = sqlstateOf(error);
      if (code === "55000") return "busy";
      if (code === "42704") return "missing";
      throw error;
    }
  }

  /** What the shard knows of a branch that is not prepared there any more. */
  async evidence({ xid, server }: Pick<Participant, "xid" | "server">): Promise<Evidence> {
    if (xid === null) return "nothing written";
    const [identity] = await this.#query(IDENTITY, []);
    if (server !== null && identity?.["server"] !== server) return "other server";
    return this.#statusOf(xid);
  }

  /** Whether the transaction `xid` of this server was committed; for a branch that was never prepared. */
  async #statusOf(xid: Xid): Promise<Evidence> {
    const [row] = await this.#query("SELECT pg_catalog.pg_xact_status($1::xid8) AS status", [xid]);
    const status = row?.["status"];
    return status === "committed" || status === "aborted" || status === "in progress" ? status : "forgotten";
  }

  /** Terminates a backend and resolves when it is gone; it can prepare or commit nothing from then on. */
  async fence(pid: BackendPid, backendStart: string): Promise<void> {
    await this.#query(TERMINATE, [pid, backendStart]);
    for (let waitedMs = 0; waitedMs < TIMEOUT_MS; waitedMs += FENCE_STEP_MS) {
      if ((await this.#query(ALIVE, [pid, backendStart])).length === 0) return;
      await new Promise((resolve) => setTimeout(resolve, FENCE_STEP_MS));
    }
    throw new Error(`backend ${pid} is still there ${TIMEOUT_MS} ms after it was terminated`);
  }

  /** Opens the session if it is not open, and learns which server answers. */
  async connect(): Promise<void> {
    await this.#query("SELECT 1", []);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const client = this.#client;
    this.#client = null;
    await client?.then((open) => open.end(), () => {});
  }

  async #query(sql: string, values: readonly unknown[]): Promise<readonly Readonly<Record<string, unknown>>[]> {
    if (this.#isClosed) throw new Error("closed");
    this.#client ??= this.#open();
    const opening = this.#client;
    try {
      const client = await opening;
      const result = await client.query(sql, [...values]);
      return result.rows;
    } catch (error) {
      // An answer of the shard leaves the session as it is; anything else ends it.
      if (sqlstateOf(error) === null || isFatal(error)) this.#drop(opening);
      throw error;
    }
  }

  async #open(): Promise<Client> {
    const { host, port, database, user, password } = this.shard;
    const client = new Client({
      host,
      port,
      database,
      user,
      ...(password === undefined ? {} : { password }),
      application_name: "pgxa control",
      connectionTimeoutMillis: TIMEOUT_MS,
      query_timeout: TIMEOUT_MS,
      keepAlive: true,
    });
    client.on("error", () => {
      this.#client = null;
    });
    await client.connect();
    const { rows } = await client.query(IDENTITY);
    this.server = String(rows[0]?.server);
    return client;
  }

  #drop(opening: Promise<Client>): void {
    if (this.#client === opening) this.#client = null;
    opening.then(
      (client) => client.end().catch(() => {}),
      () => {},
    );
  }
}

function sqlstateOf(error: unknown): string | null {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) ? code : null;
}

/** The session ends with these: class 08 and the shutdowns of class 57. */
const isFatal = (error: unknown): boolean => /^(08|57P0)/.test(sqlstateOf(error) ?? "");
