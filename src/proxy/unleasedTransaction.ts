/**
 * The transaction of a client in front of one shard while it has no connection: one that has not begun on the shard
 * (deferredBegin.ts), or one that was lost (lostTransaction.ts). Never both.
 */
import { Fault } from "../base/fault.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import type { ErrorFields } from "../wire/errorFields.ts";
import type { Phase } from "./activity.ts";
import type { ClientChannels } from "./clientChannels.ts";
import type { ClientSide } from "./clientSide.ts";
import { DeferredBegin } from "./deferredBegin.ts";
import { LostTransaction } from "./lostTransaction.ts";
import type { PlainStatements } from "./plainStatements.ts";
import type { Refusal } from "./refusal.ts";
import type { SessionParts } from "./session.ts";

export class UnleasedTransaction {
  readonly #client: ClientSide;
  readonly #begun: DeferredBegin;
  readonly #lost: LostTransaction;
  readonly #channels: ClientChannels;

  constructor(
    client: ClientSide,
    statements: PlainStatements,
    parts: SessionParts,
    channels: ClientChannels,
  ) {
    this.#client = client;
    this.#channels = channels;
    // BEGIN … READ ONLY may choose a standby; in the other modes a transaction has its connection anyway, or may not be.
    const isAtOnce = parts.mode !== "transaction" || parts.standbys !== null;
    this.#begun = new DeferredBegin(client, statements.stores.statements, isAtOnce);
    this.#lost = new LostTransaction(client, statements);
  }

  get isOpen(): boolean {
    return this.#lost.isOpen || this.#begun.isOpen;
  }

  get isLost(): boolean {
    return this.#lost.isOpen;
  }

  /** What ReadyForQuery says to a client that was told an error. */
  get statusAfterError(): "I" | "E" {
    return this.#lost.status;
  }

  /** What the client is at. */
  get phase(): Phase {
    if (this.#client.isWaiting) return this.isOpen ? "waitingInTransaction" : "waiting";
    return this.isOpen ? "idleInTransaction" : "idle";
  }

  /** Answers a message if none has to be sent; `skip`: and what follows it is passed over until Sync; `no`: a shard has to. */
  answer(type: number, buffer: Buffer, start: number, end: number): "yes" | "skip" | "no" {
    const answer = (this.#lost.isOpen ? this.#lost : this.#begun).answer(type, buffer, start, end);
    if (answer !== "no" && !this.isOpen) this.#channels.flush(); // what was notified meanwhile
    return answer;
  }

  /** Brings a connection to where the transaction is; false: present the message again. */
  enter(lease: ServerConnection): boolean {
    if (this.#begun.isOpen) this.#begun.pass(lease);
    return !this.#lost.isOpen || !lease.isClean || this.#lost.failAgain(lease);
  }

  /** There is no connection. */
  noteRefused(refusal: Refusal): void {
    // On none could a lost transaction go on being failed: it is over. One that has just begun fails with its first error.
    if (!(refusal instanceof Fault && refusal.id === "session.canceled")) this.#lost.end();
    if (this.#begun.giveUp()) this.#lost.isOpen = true;
  }

  /** Answers all that a lost connection owed with `error`. */
  lose(replies: ServerConnection["replies"], error: ErrorFields): void {
    this.#lost.begin(replies, error);
  }

  /** The transaction has ended on a connection. */
  end(): void {
    this.#lost.end();
  }
}
