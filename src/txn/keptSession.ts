/**
 * A control session over the network, kept open: a prepared transaction that holds a lock on the catalog of roles lets
 * nobody log in any more, and that is when it is needed most.
 *
 * Statements are short and bounded in time; a session that does not answer is given up and the next call opens another.
 */
import type { Client } from "pg";
import { detach } from "../base/detach.ts";
import type { Endpoint, ShardConfig } from "../config/config.ts";
import { controlClient, endClient } from "../pool/controlClient.ts";
import { atPrimary, type ShardRoute } from "../pool/health/shardRoute.ts";
import { type ControlSession, IDENTITY, isAnswer, type Row } from "./controlSession.ts";

const TIMEOUT_MS = 5_000;

export class KeptSession implements ControlSession {
  server: string | null = null;
  readonly #shard: ShardConfig;
  readonly #route: ShardRoute;
  /** Where the session leads. */
  #endpoint: Endpoint | null = null;
  #client: Promise<Client> | null = null;
  /** Ends with the statement that was asked last. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #settings: string;
  #isClosed = false;

  /** `settings`: the session's own, as a query. */
  constructor(shard: ShardConfig, route: ShardRoute, settings: string) {
    this.#shard = shard;
    this.#route = route;
    this.#settings = settings;
  }

  query(sql: string, values: readonly unknown[]): Promise<readonly Row[]> {
    const turn = this.#turn.then(() => this.#queryNow(sql, values));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const client = this.#client;
    this.#client = null;
    await client?.then(endClient, () => {});
  }

  async #queryNow(sql: string, values: readonly unknown[]): Promise<readonly Row[]> {
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
    const client = controlClient(atPrimary(this.#shard, this.#route), "pgxa control", TIMEOUT_MS);
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
