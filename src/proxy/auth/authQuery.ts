/**
 * Asks a shard about a user, over a few connections of its own.
 *
 * Nothing of a client reaches these connections but its name, and that as a parameter: what a client sets in its startup
 * packet (search_path above all) is never theirs, they have a search_path of their own from their first moment, and no
 * client's statement ever runs on them. Answers are kept for a short time, in bounded number; those who ask at the same
 * time share one question. When the shard cannot be asked, the login fails: nobody is let in for want of an answer.
 */
import { type Client, DatabaseError } from "pg";
import { detach } from "../../base/detach.ts";
import type { Clock } from "../../base/environment.ts";
import { Fault } from "../../base/fault.ts";
import type { AuthQueryConfig, ShardConfig } from "../../config/config.ts";
import type { Log } from "../../observe/log.ts";
import { controlClient } from "../../pool/controlClient.ts";
import { isName } from "./nameMatcher.ts";
import { Turns } from "./turns.ts";

/** What a shard knows of a user. */
export interface UserRow {
  /** As in `pg_authid.rolpassword`; null: no password, or an expired one. */
  readonly secret: string | null;
  /** Wall time in ms since 1970; null: for ever. */
  readonly validUntilMs: number | null;
}

export interface AuthQueryParts {
  /** The shard to ask, with the role and database to ask as. */
  readonly shard: ShardConfig;
  readonly query: AuthQueryConfig;
  readonly clock: Clock;
  readonly log: Log;
}

/** How many answers are kept: of users that there are, and of names that are none, so that these do not drive out those. */
const KNOWN_MAX = 10_000;
const UNKNOWN_MAX = 1_000;
/** How many may be queued for a connection. */
const QUEUE_MAX = 1_000;

interface Kept {
  readonly row: UserRow | null;
  readonly untilMs: number;
}

export class AuthQuery {
  readonly #shard: ShardConfig;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #turns: Turns;
  #query: AuthQueryConfig;
  readonly #idle: Client[] = [];
  readonly #kept = new Map<string, Kept>();
  readonly #unknown = new Map<string, Kept>();
  readonly #asking = new Map<string, Promise<UserRow | null>>();
  #isClosed = false;

  constructor({ shard, query, clock, log }: AuthQueryParts) {
    this.#shard = shard;
    this.#query = query;
    this.#clock = clock;
    this.#log = log;
    this.#turns = new Turns(query.connectionsMax, QUEUE_MAX);
  }

  /** What is asked, and for how long answers are kept, may change; the rest is as it was. */
  reconfigure(query: AuthQueryConfig): void {
    this.#query = query;
    this.#kept.clear();
    this.#unknown.clear();
  }

  /** What the shard knows of `user`; null if there is no such user. Throws `login.lookup_failed`. */
  async find(user: string): Promise<UserRow | null> {
    if (!isName(user)) return null; // the type name would cut it to somebody else's
    const kept = this.#kept.get(user) ?? this.#unknown.get(user);
    if (kept !== undefined && this.#clock.monotonicMs() < kept.untilMs) return kept.row;
    let asking = this.#asking.get(user);
    if (asking === undefined) {
      asking = this.#lookUp(user).finally(() => this.#asking.delete(user));
      this.#asking.set(user, asking);
    }
    return asking;
  }

  /** The next question about `user` is asked anew. */
  forget(user: string): void {
    this.#kept.delete(user);
    this.#unknown.delete(user);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.#idle.splice(0).map((client) => client.end().catch(() => {})));
  }

  async #lookUp(user: string): Promise<UserRow | null> {
    try {
      const deadlineMs = this.#clock.monotonicMs() + this.#query.timeoutMs;
      const row = await this.#inTime(this.#turns.take(() => this.#ask(user, deadlineMs)));
      this.#keep(user, row);
      return row;
    } catch (error) {
      const reason = (error as Error).message;
      this.#log.error("auth.query_failed", { shard: this.#shard.id, reason });
      throw new Fault("login.lookup_failed", { cause: error });
    }
  }

  /** Rejects when the time is up; what was asked goes on and ends by itself. */
  #inTime<Answer>(answer: Promise<Answer>): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const late = () => reject(new Error("it took too long"));
      const timer = this.#clock.after(this.#query.timeoutMs, late);
      answer.then(resolve, reject).finally(() => timer.cancel());
    });
  }

  #keep(user: string, row: UserRow | null): void {
    if (this.#query.cacheMs === 0) return;
    const [answers, max] = row === null ? [this.#unknown, UNKNOWN_MAX] : [this.#kept, KNOWN_MAX];
    this.forget(user);
    const [oldest] = answers.keys();
    if (answers.size >= max && oldest !== undefined) answers.delete(oldest);
    answers.set(user, { row, untilMs: this.#clock.monotonicMs() + this.#query.cacheMs });
  }

  async #ask(user: string, deadlineMs: number): Promise<UserRow | null> {
    if (this.#isClosed) throw new Error("pgxa is shutting down");
    if (this.#clock.monotonicMs() >= deadlineMs) throw new Error("its turn came too late");
    const idle = this.#idle.pop();
    if (idle !== undefined) {
      try {
        return await this.#askOn(idle, user);
      } catch (error) {
        if (error instanceof DatabaseError && !/^(08|57P0)/.test(error.code ?? "")) throw error;
        // It had been closed while it was idle; a new one tells.
      }
    }
    return this.#askOn(await this.#connect(), user);
  }

  async #askOn(client: Client, user: string): Promise<UserRow | null> {
    try {
      const { rows } = await client.query({ text: this.#query.text, values: [user], rowMode: "array" });
      if (this.#isClosed) this.#end(client);
      else this.#idle.push(client);
      return rowOf(user, rows);
    } catch (error) {
      this.#end(client);
      throw error;
    }
  }

  async #connect(): Promise<Client> {
    const { timeoutMs } = this.#query;
    const options = `-c search_path=pg_catalog,pg_temp -c datestyle=ISO -c timezone=UTC -c statement_timeout=${timeoutMs}`;
    const client = controlClient(this.#shard, "pgxa auth", timeoutMs, options);
    const leave = () => {
      const at = this.#idle.indexOf(client);
      if (at >= 0) this.#idle.splice(at, 1);
    };
    client.on("error", leave);
    client.on("end", leave);
    try {
      await client.connect();
      return client;
    } catch (error) {
      this.#end(client);
      throw error;
    }
  }

  #end(client: Client): void {
    detach(
      client.end().catch(() => {}),
      "nobody needs it any more",
    );
  }
}

/** Throws for an answer that does not say for certain who is meant. */
function rowOf(user: string, rows: readonly (readonly unknown[])[]): UserRow | null {
  const [row] = rows;
  if (row === undefined || row[0] === null) return null;
  if (rows.length > 1) throw new Error("auth.query answers with more than one row");
  if (row.length < 2) throw new Error("auth.query answers without a column for the secret");
  if (row[0] !== user) return null;
  const secret = row[1] === null ? null : String(row[1]);
  return { secret, validUntilMs: row[2] === undefined || row[2] === null ? null : momentOf(row[2]) };
}

function momentOf(value: unknown): number | null {
  if (value === Number.POSITIVE_INFINITY || value === "infinity") return null;
  if (value === Number.NEGATIVE_INFINITY || value === "-infinity") return Number.NEGATIVE_INFINITY;
  const ms = value instanceof Date ? value.getTime() : Number.NaN;
  if (Number.isNaN(ms)) throw new Error("auth.query answers with a third column that is no timestamptz");
  return ms;
}
