/**
 * What recovery asks and does at one shard, in a session of pgxa's own (keptSession.ts).
 *
 * Everything rejects when the shard cannot be asked; whoever asks tries again later.
 */
import type { BackendPid, ShardId, Xid } from "../base/brands.ts";
import type { Clock } from "../base/environment.ts";
import type { ShardConfig } from "../config/config.ts";
import { fixedRoute, type ShardRoute } from "../pool/health/shardRoute.ts";
import {
  CONTROL_SETTINGS,
  type ControlSession,
  IDENTITY,
  isAnswer,
  type Row,
  sqlstateOf,
} from "./controlSession.ts";
import type { Participant } from "./decisionLog.ts";
import { KeptSession } from "./keptSession.ts";
import type { Evidence } from "./recovery.ts";

const FENCE_MS_MAX = 5_000;
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

/**
 * The views would be easier to read, but they look up the names of roles, and so wait for what has locked pg_authid:
 * the very transaction, perhaps, that is to be found and finished here.
 */
export const PREPARED =
  "SELECT gid, (extract(epoch FROM prepared) * 1000)::float8 AS prepared_at_ms, " +
  "(extract(epoch FROM pg_catalog.clock_timestamp() - prepared) * 1000)::float8 AS age_ms, " +
  "pg_catalog.age(transaction) AS xmin_age FROM pg_catalog.pg_prepared_xact() " +
  "WHERE pg_catalog.starts_with(gid, $1) AND " +
  "dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) ORDER BY prepared";

/** The pid alone could be somebody else's by now; with its start it is the backend that was meant. */
export const TERMINATE =
  "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_get_activity($1) " +
  "WHERE backend_start = $2::timestamptz";

export const ALIVE =
  "SELECT 1 FROM pg_catalog.pg_stat_get_activity($1) WHERE backend_start = $2::timestamptz";

/** The status of a transaction by its id. */
export const XACT_STATUS = "SELECT pg_catalog.pg_xact_status($1::xid8) AS status";

/** Any statement will do. */
export const PING = "SELECT 1";

export const finishStatement = (verb: "COMMIT" | "ROLLBACK", gid: string): string =>
  `${verb} PREPARED '${gid.replaceAll("'", "''")}'`;

export interface ControlParts {
  /** Kept open to where `route` leads if none is given. */
  readonly session: ControlSession;
  readonly clock: Pick<Clock, "after">;
}

export class ShardControl {
  readonly shard: ShardConfig;
  readonly #session: ControlSession;
  readonly #clock: Pick<Clock, "after">;

  /** `settings`: the session's own, as a query. */
  constructor(
    shard: ShardConfig,
    route: ShardRoute = fixedRoute(shard),
    settings = CONTROL_SETTINGS,
    { session, clock }: Partial<ControlParts> = {},
  ) {
    this.shard = shard;
    this.#session = session ?? new KeptSession(shard, route, settings);
    this.#clock = clock ?? REAL_CLOCK;
  }

  /** The server that answered last; null before the first answer. */
  get server(): string | null {
    return this.#session.server;
  }

  get id(): ShardId {
    return this.shard.id;
  }

  /** The prepared transactions of this database whose gid begins with `prefix`, oldest first. */
  async prepared(prefix: string): Promise<readonly PreparedBranch[]> {
    const rows = await this.ask(PREPARED, [prefix]);
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
      await this.ask(finishStatement(verb, gid), []);
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
    const [identity] = await this.ask(IDENTITY, []);
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
      const [row] = await this.ask(XACT_STATUS, [xid]);
      return row?.["status"];
    } catch (error) {
      if (sqlstateOf(error) === "22023") return null; // an id that this server has not reached
      throw error;
    }
  }

  /** Terminates a backend and resolves when it is gone; it can prepare or commit nothing from then on. */
  async fence(pid: BackendPid, backendStart: string): Promise<void> {
    await this.ask(TERMINATE, [pid, backendStart]);
    for (let waitedMs = 0; waitedMs < FENCE_MS_MAX; waitedMs += FENCE_STEP_MS) {
      if ((await this.ask(ALIVE, [pid, backendStart])).length === 0) return;
      await new Promise<void>((resolve) => this.#clock.after(FENCE_STEP_MS, resolve));
    }
    throw new Error(`backend ${pid} is still there ${FENCE_MS_MAX} ms after it was terminated`);
  }

  /** Opens the session if it is not open, and learns which server answers. */
  async connect(): Promise<void> {
    await this.ask(PING, []);
  }

  close(): Promise<void> {
    return this.#session.close();
  }

  /** Any other short statement; rejects as the others do. */
  ask(sql: string, values: readonly unknown[]): Promise<readonly Row[]> {
    return this.#session.query(sql, values);
  }
}

const REAL_CLOCK: Pick<Clock, "after"> = {
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
};
