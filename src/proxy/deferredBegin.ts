/**
 * A transaction that has begun for its client and on no shard.
 *
 * BEGIN is answered here, and the shard hears of it in front of the first statement, in the same write: each transaction
 * saves a round trip, and who has said BEGIN and nothing else keeps no connection from others. What ends it before
 * that is answered here too.
 *
 * To the shard the transaction begins with its first statement, so that is the time that `now()` gives.
 */
import type { ServerConnection } from "../pool/serverConnection.ts";
import { mayBegin, mayEnd, plainBegin, plainEnd } from "../routing/plainTransaction.ts";
import { commandComplete, readyForQuery } from "../wire/backendWriters.ts";
import { QUERY_TEXT_AT } from "../wire/frontendReaders.ts";
import { statements } from "../wire/frontendWriters.ts";
import { CLIENT_MESSAGE } from "../wire/messageTypes.ts";
import type { ClientSide } from "./clientSide.ts";
import type { StatementStore } from "./statementStore.ts";

const BEGUN = commandComplete("BEGIN");
const IN_TRANSACTION = readyForQuery("T");

export class DeferredBegin {
  readonly #client: ClientSide;
  readonly #statements: StatementStore;
  readonly #isOff: boolean;
  /** What the client said; null: it is in no transaction, or a shard knows of it. */
  #text: string | null = null;

  /** `isOff`: every BEGIN goes to a shard. */
  constructor(client: ClientSide, statements: StatementStore, isOff: boolean) {
    this.#client = client;
    this.#statements = statements;
    this.#isOff = isOff;
  }

  get isOpen(): boolean {
    return this.#text !== null;
  }

  /** Answers a message of a client that has no connection; `no`: a shard has to. */
  answer(type: number, buffer: Buffer, start: number, end: number): "yes" | "no" {
    const isOpen = this.#text !== null;
    if (type === CLIENT_MESSAGE.sync && isOpen) {
      this.#client.say(IN_TRANSACTION);
      return "yes";
    }
    if (type !== CLIENT_MESSAGE.query || this.#isOff) return "no";
    const textAt = start + QUERY_TEXT_AT;
    if (!(isOpen ? mayEnd : mayBegin)(buffer, textAt, end) || buffer[end - 1] !== 0) return "no";
    const text = buffer.toString("latin1", textAt, end - 1);
    return (isOpen ? this.#end(text) : this.#begin(text)) ? "yes" : "no";
  }

  /** Puts BEGIN in front of whatever is sent next on `lease`, which is in the transaction from then on. */
  pass(lease: ServerConnection): void {
    lease.replies.expectOpening(1);
    lease.replies.status = "T";
    lease.unnamedStatement = null;
    lease.outbox.put(statements([this.#text!]));
    this.#text = null;
  }

  /** There is no connection for its first statement; returns whether there was a transaction, which is no more. */
  giveUp(): boolean {
    const { isOpen } = this;
    this.#text = null;
    return isOpen;
  }

  #begin(text: string): boolean {
    const begin = plainBegin(text);
    if (begin === null) return false;
    this.#text = begin.text;
    this.#say(begin.tag === "BEGIN" ? BEGUN : commandComplete(begin.tag), IN_TRANSACTION);
    return true;
  }

  #end(text: string): boolean {
    const how = plainEnd(text);
    if (how === null) return false;
    this.#text = null;
    this.#client.activity.transactions += 1;
    this.#say(commandComplete(how === "commit" ? "COMMIT" : "ROLLBACK"), readyForQuery("I"));
    return true;
  }

  #say(complete: Buffer, ready: Buffer): void {
    this.#statements.unnamed = null; // as by any simple query
    this.#client.activity.answers += 1;
    this.#client.say(complete, ready);
  }
}
