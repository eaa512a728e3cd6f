/**
 * pgxa's own session at one shard, for what recovery asks and does: kept open, for a prepared transaction that holds a
 * lock on the catalog of roles lets nobody log in any more, and that is when it is needed most.
 *
 * Everything rejects when the shard cannot be asked; whoever asks tries again later. Statements are short and bounded
 * in time; a session that does not answer is given up and the next call opens another.
 */
import { type Client, DatabaseError } from "pg";
import type { BackendPid, ShardId, Xid } from "../base/brands.ts";
import { detach } from "../base/detach.ts";
import type { Endpoint, ShardConfig } from "../config/config.ts";
import { controlClient, endClient } from "../pool/controlClient.ts";
import { atPrimary, fixedRoute, type ShardRoute } from "../pool/health/shardRoute.ts";
import type { Participant } from "./decisionLog.ts";
import type { Evidence } from "./recovery.ts";

const TIMEOUT_MS = 5_000;
const FENCE_STEP_MS = 20;

export interface PreparedBranch {
  readonly gid: string;
  /** Wall time on the shard when it was prepared, in ms since 1970. */
  readonly preparedAtMs: number;
  /** How many transactions ago its own began. */
  readonly xminAge: number;
  /** How long ago that was by the shard's clock, in ms. */
  readonly ageMs: number;
}

/** What came of finishing a prepared transaction. */
export type Finish =
  | { readonly kind: "done" }
  /** Somebody else is finishing it (55000). */
  | { readonly kind: "busy" }
  /** It is not there (42704): no statement about why. */
  | { readonly kind: "missing" }
  /** The shard will not, for example because another role prepared it (42501); the session goes on. */
  | { readonly kind: "refused"; readonly reason: string };

/** Whatever the role's defaults are. A wait for a lock is bounded, for others wait for this session. */
export const CONTROL_SETTINGS =
  "SELECT pg_catalog.set_config('lock_timeout', '1s', false), " +
  "pg_catalog.set_config('default_transaction_isolation', 'read committed', false)";

/** Which server this is, and that it can finish transactions: its identity and timeline; fails on a standby. */
const IDENTITY =
  "SELECT system_identifier::text || '/' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8) AS server " +
  "FROM pg_catalog.pg_control_system()";

/**
 * The views would be easier to read, but they look up the names of roles, and so wait for what has locked pg_authid:
 * the very transaction, perhaps, that is to be found and finished here.
 */
const PREPARED =
  "SELECT gid, (extract(epoch FROM prepared) * 1000)::float8 AS prepared_at_ms, " +
  "(extract(epoch FROM pg_catalog.clock_timestamp() - prepared) * 1000)::float8 AS age_ms, " +
  "pg_catalog.age(transaction) AS xmin_age FROM pg_catalog.pg_prepared_xact() " +
  "WHERE pg_catalog.starts_with(gid, $1) AND " +
  "dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) ORDER BY prepared";

/** The pid alone could be somebody else's by now; with its start it is the backend that was meant. */
const TERMINATE =
  "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_get_activity($1) " +
  "WHERE backend_start = $2::timestamptz";

const ALIVE = "SELECT 1 FROM pg_catalog.pg_stat_get_activity($1) WHERE backend_start = $2::timestamptz";

export class ShardControl {
  readonly shard: ShardConfig;
  /** The server that answered last; null before the first answer. */
  server: string | null = null;
  readonly #route: ShardRoute;
  /** Where the session leads. */
  #endpoint: Endpoint | null = null;
  #client: Promise<Client> | null = null;
  /** Ends with the statement that was asked last. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #settings: string;
  #isClosed = false;

  /** `settings`: the session's own, as a query. */
  constructor(shard: ShardConfig, route: ShardRoute = fixedRoute(shard), settings = CONTROL_SETTINGS) {
    this.shard = shard;
    this.#route = route;
    this.#settings = settings;
  }

  get id(): ShardId {
    return this.shard.id;
  }

  /** The prepared transactions of this database whose gid begins with `prefix`, oldest first. */
  async prepared(prefix: string): Promise<readonly PreparedBranch[]> {
    const rows = await this.#query(PREPARED, [prefix]);
    return rows.map((row) => ({
      gid: String(row["gid"]),
      preparedAtMs: Number(row["prepared_at_ms"]),
      xminAge: Number(row["xmin_age"]),
      ageMs: Number(row["age_ms"]),
    }));
  }

  /** COMMIT PREPARED or ROLLBACK PREPARED; rejects when the shard did not answer. */
  async finish(verb: "COMMIT" | "ROLLBACK", gid: string): Promise<Finish> {
    try {
      await this.#query(`${verb} PREPARED '${gid.replaceAll("'", "''")}'`, []);
      return { kind: "done" };
    } catch (error) {
      const code = sqlstateOf(error);
      if (code === "55000") return { kind: "busy" };
      if (code === "42704") return { kind: "missing" };
      if (!isAnswer(error)) throw error;
      return { kind: "refused", reason: `${(error as Error).message} (${code})` };
    }
  }

  /**
   * What the shard knows of a branch that is not prepared there any more. Where it is not known which server prepared
   * it, its xid may be a stranger's, and so nothing is.
   */
  async evidence({ xid, server }: Pick<Participant, "xid" | "server">): Promise<Evidence> {
    if (xid === null) return "nothing written";
    if (server === null) return "forgotten";
    const [identity] = await this.#query(IDENTITY, []);
    if (identity?.["server"] !== server) return "other server";
    return this.#statusOf(xid);
  }

  /** Whether the transaction `xid` of this server was committed; for a branch that was never prepared. */
  async #statusOf(xid: Xid): Promise<Evidence> {
    const status = await this.#xactStatus(xid);
    return status === "committed" || status === "aborted" || status === "in progress" ? status : "forgotten";
  }

  async #xactStatus(xid: Xid): Promise<unknown> {
    try {
      const [row] = await this.#query("SELECT pg_catalog.pg_xact_status($1::xid8) AS status", [xid]);
      return row?.["status"];
    } catch (error) {
      if (sqlstateOf(error) === "22023") return null; // an id that this server has not reached
      throw error;
    }
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
    await client?.then(endClient, () => {});
  }

  /** Any other short statement; rejects as the others do. */
  ask(sql: string, values: readonly unknown[]): Promise<readonly Readonly<Record<string, unknown>>[]> {
    return this.#query(sql, values);
  }

  /** One after the other: the session has one. */
  #query(sql: string, values: readonly unknown[]): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const turn = this.#turn.then(() => this.#queryNow(sql, values));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #queryNow(
    sql: string,
    values: readonly unknown[],
  ): Promise<readonly Readonly<Record<string, unknown>>[]> {
    if (this.#isClosed) throw new Error("closed");
    if (this.#client !== null && this.#endpoint !== this.#route.endpoint) this.#drop(this.#client);
    this.#client ??= this.#open();
    const opening = this.#client;
    try {
      const client = await opening;
      const result = await client.query(sql, [...values]);
      return result.rows;
    } catch (error) {
      if (!isAnswer(error)) this.#drop(opening);
      throw error;
    }
  }

  #open(): Promise<Client> {
    this.#endpoint = this.#route.endpoint;
    const client = controlClient(atPrimary(this.shard, this.#route), "pgxa control", TIMEOUT_MS);
    // Told of a session that ends while nothing runs; whatever runs is rejected besides.
    client.on("error", () => this.#drop(opening));
    const opening = this.#greet(client);
    // A refusal is an answer, too, but of no session.
    opening.catch(() => this.#drop(opening));
    return opening;
  }

  async #greet(client: Client): Promise<Client> {
    try {
      await client.connect();
      await client.query(this.#settings);
      const { rows } = await client.query(IDENTITY);
      this.server = String(rows[0]?.server);
      return client;
    } catch (error) {
      detach(endClient(client), "nobody waits for it");
      throw error;
    }
  }

  #drop(opening: Promise<Client>): void {
    if (this.#client === opening) this.#client = null;
    opening.then(endClient, () => {});
  }
}

/** Null if it is not a shard's answer. */
export const sqlstateOf = (error: unknown): string | null =>
  error instanceof DatabaseError ? (error.code ?? null) : null;

/** Whether the shard answered and the session goes on; it ends with class 08 and the shutdowns of class 57. */
const isAnswer = (error: unknown): boolean => {
  const sqlstate = sqlstateOf(error);
  return sqlstate !== null && !/^(08|57P0)/.test(sqlstate);
};
