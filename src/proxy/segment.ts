/**
 * The segment of an extended-protocol batch: the connection that has had messages of it and no Sync yet.
 *
 * Parse messages that no shard has seen yet are kept with it, since they go to whichever connection comes first.
 */
import { Fault } from "../base/fault.ts";
import { RELAY_WITHOUT_READY } from "../pool/replyQueue.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import type { ShardIndex } from "../routing/plan.ts";
import * as send from "../wire/frontendWriters.ts";
import { WAIT_REPLY } from "./clientSide.ts";
import type { ShardedSession } from "./shardedSession.ts";
import { type Statement, sendParse } from "./statementStore.ts";

/** A Bind without anything in it. */
const MALFORMED: Buffer = Buffer.from([0x42, 0, 0, 0, 4]);

export class Segment {
  /** Whether something was executed on its connection. */
  hasExecuted = false;
  readonly #session: ShardedSession;
  readonly #onError: () => void;
  #open: { readonly shard: ShardIndex; readonly connection: ServerConnection } | null = null;
  #pending: Statement[] = [];

  /** `onError`: a shard found an error in a segment that pgxa ended. */
  constructor(session: ShardedSession, onError: () => void) {
    this.#session = session;
    this.#onError = onError;
  }

  /** Null while no segment is open. */
  get connection(): ServerConnection | null {
    return this.#open?.connection ?? null;
  }

  /** Nothing more goes to its connection. */
  forget(): void {
    this.#open = null;
    this.hasExecuted = false;
  }

  /** What was parsed and not sent will not be asked for. */
  forgetPending(): void {
    this.#pending = [];
  }

  /** The client's own Parse: for this connection, or the next one. */
  parse(statement: Statement): void {
    if (this.#open === null) this.#pending.push(statement);
    else sendParse(this.#open.connection, statement);
  }

  /** The connection to `shard` with a segment open on it; null: present the message again. */
  turnTo(shard: ShardIndex): ServerConnection | null {
    if (this.#open !== null) {
      if (this.#open.shard === shard) return this.#open.connection;
      this.refuseHalfBatch();
      this.close();
      return null;
    }
    const connection = this.#session.open(shard);
    if (connection === null) return null;
    this.#open = { shard, connection };
    connection.replies.isBatchOpen = true;
    this.hasExecuted = false;
    for (const statement of this.#pending.splice(0)) sendParse(connection, statement);
    return connection;
  }

  /** Makes sure that all Parse messages so far have been sent; false: present the message again. */
  sendPending(): boolean {
    return this.#pending.length === 0 || this.turnTo(this.#session.destinations.any()) !== null;
  }

  /** Makes sure that all answers of the batch so far have come; false: they are on the way. */
  close(): boolean {
    if (!this.sendPending()) return false;
    if (this.#open === null) return true;
    this.end(() => {});
    return this.#session.hold(WAIT_REPLY);
  }

  /** Ends the open segment; `then` is called when its answers have come. */
  end(then: () => void): void {
    const { connection } = this.#open!;
    this.forget();
    this.#session.expect(connection, RELAY_WITHOUT_READY, (hadError) => {
      if (hadError) this.#onError();
      then();
    });
    connection.outbox.put(send.sync());
    connection.flush();
  }

  /** Makes the open segment fail on its shard, where what was executed is rolled back with its Sync. */
  fail(): void {
    this.#open!.connection.outbox.put(MALFORMED);
  }

  /** Throws a Fault if ending the segment now would commit half a batch. */
  refuseHalfBatch(): void {
    if (!this.hasExecuted || this.#session.transaction.current !== null) return;
    throw new Fault("route.many_shards", {
      message: "the statements of this batch belong to several shards",
      detail:
        "Outside a transaction block all statements up to a Sync are one transaction, and a part has been executed.",
      hint: "Send BEGIN first, or a Sync after each statement.",
    });
  }
}
