/**
 * What a shard itself says, asked past pgxa and past the forwarders: what is prepared there, what is still running,
 * which rows it has. A shard that is down or stopped just does not say.
 */
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import type { TestShard } from "../support/shards.ts";
import { OPENING_BALANCE } from "../system/stage.ts";

const ANSWER_TIMEOUT_MS = 3_000;
const UP_TIMEOUT_MS = 60_000;
/** The name by which its own sessions are left out. */
const NAME = "chaos watch";
/** How many names of prepared transactions are remembered for a report. */
const REMEMBERED_MAX = 20_000;

export interface Prepared {
  readonly gid: string;
  readonly xid: string;
  /** Whether it was there at the moment that was asked about. */
  readonly isOld: boolean;
}

export interface FoundRow {
  readonly id: number;
  readonly account: number;
  readonly amount: number;
  readonly xmin: string;
}

export class ShardWatch {
  readonly shard: TestShard;
  /** What was seen prepared, by transaction id: so a row's xmin tells which commit it came from. */
  readonly seen = new Map<string, string>();
  #client: pg.Client | null = null;
  #last: Promise<unknown> = Promise.resolve();

  constructor(shard: TestShard) {
    this.shard = shard;
  }

  /** One query after the other. Rejects when the shard does not answer. */
  query<Row extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<Row[]> {
    const asked = this.#last.then(() => this.#ask<Row>(text, values));
    this.#last = asked.catch(() => {});
    return asked;
  }

  /** What is prepared; `isOld` is what was so before `untilMs`, in wall time. */
  async prepared(untilMs: number): Promise<Prepared[]> {
    const rows = await this.query<Prepared>(
      `SELECT gid, transaction::text AS xid, prepared < to_timestamp($1) AS "isOld" FROM pg_prepared_xacts`,
      [untilMs / 1000],
    );
    for (const { gid, xid } of rows) this.#remember(xid, gid);
    return rows;
  }

  /** Sessions, other than its own, that have a transaction open or a statement running. */
  async busy(): Promise<string[]> {
    const rows = await this.query<{ says: string }>(
      `SELECT format('pid %s, %s, %s: %s', pid, state, wait_event, left(query, 80)) AS says FROM pg_stat_activity
       WHERE backend_type = 'client backend' AND application_name <> $1 AND state <> 'idle' AND xact_start IS NOT NULL
         AND (backend_xid IS NOT NULL OR query ~* '^(commit|prepare|rollback)' OR state LIKE 'idle in transaction%')`,
      [NAME],
    );
    return rows.map(({ says }) => says);
  }

  /** The rows of transfers with ids in (after, upTo], and all those that must never be seen. */
  async rows(after: number, upTo: number): Promise<FoundRow[]> {
    const found = await this.query<Record<"id" | "account_id" | "amount" | "xmin", string>>(
      `SELECT id, account_id, amount, xmin::text AS xmin FROM transfers WHERE (id > $1 AND id <= $2) OR id < 0`,
      [after, upTo],
    );
    return found.map(({ id, account_id, amount, xmin }) => ({
      id: Number(id),
      account: Number(account_id),
      amount: Number(amount),
      xmin,
    }));
  }

  /** Accounts whose balance is not what their transfers make it. */
  async wrongBalances(): Promise<string[]> {
    const rows = await this.query<{ says: string }>(
      `SELECT format('account %s has %s and not %s', id, balance, ${OPENING_BALANCE} + coalesce(moved, 0)) AS says
       FROM accounts LEFT JOIN (SELECT account_id, sum(amount) AS moved FROM transfers GROUP BY account_id) AS sums
         ON account_id = id
       WHERE balance <> ${OPENING_BALANCE} + coalesce(moved, 0)`,
    );
    return rows.map(({ says }) => says);
  }

  async total(): Promise<number> {
    const [row] = await this.query<{ sum: string }>("SELECT sum(balance) AS sum FROM accounts");
    return Number(row!.sum);
  }

  /** Waits until the shard answers. Rejects with what it says instead, if it does not for long. */
  async up(): Promise<void> {
    const untilMs = performance.now() + UP_TIMEOUT_MS;
    for (;;) {
      try {
        await this.query("SELECT 1");
        return;
      } catch (error) {
        if (performance.now() > untilMs) throw error;
        await delay(50);
      }
    }
  }

  async close(): Promise<void> {
    const client = this.#client;
    this.#client = null;
    await client?.end().catch(() => {});
  }

  async #ask<Row extends pg.QueryResultRow>(text: string, values: unknown[]): Promise<Row[]> {
    const client = await this.#connected();
    try {
      return (await client.query<Row>(text, values)).rows;
    } catch (error) {
      if (!(error instanceof pg.DatabaseError) || error.severity !== "ERROR") this.#drop(client);
      throw error;
    }
  }

  async #connected(): Promise<pg.Client> {
    if (this.#client !== null) return this.#client;
    const { host, port, user, database } = this.shard;
    const client = new pg.Client({
      host,
      port,
      user,
      database,
      application_name: NAME,
      connectionTimeoutMillis: ANSWER_TIMEOUT_MS,
      query_timeout: ANSWER_TIMEOUT_MS,
    });
    client.on("error", () => this.#drop(client));
    try {
      await client.connect();
    } catch (error) {
      client.end().catch(() => {});
      throw error;
    }
    this.#client = client;
    return client;
  }

  #drop(client: pg.Client): void {
    if (this.#client === client) this.#client = null;
    client.end().catch(() => {});
  }

  #remember(xid: string, gid: string): void {
    this.seen.set(xid, gid);
    if (this.seen.size > REMEMBERED_MAX) this.seen.delete(this.seen.keys().next().value!);
  }
}
