/**
 * What a client in front of one shard is told when its connection was lost, and after that.
 *
 * What is owed is answered with the loss. If a transaction went with the connection, the client is in a failed one from
 * then on, as after any error: it hears of the loss once, and 25P02 until it rolls back. The plain cases are answered
 * here, so that a client can roll back although the shard is down. All others go to a transaction on another connection
 * that is made to fail first: there the shard itself says what holds in a failed transaction.
 *
 * Whether a COMMIT that was not answered was applied nobody knows, and that is what the client is told (08007).
 */
import { detach } from "../base/detach.ts";
import { Fault } from "../base/fault.ts";
import { RELAY } from "../pool/replyQueue.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import { inFailedTransaction } from "../routing/transactionEnd.ts";
import {
  commandComplete,
  errorResponse,
  faultFields,
  faultResponse,
  readyForQuery,
} from "../wire/backendWriters.ts";
import type { ErrorFields } from "../wire/errorFields.ts";
import { CLIENT_MESSAGE } from "../wire/messageTypes.ts";
import { type ClientSide, WAIT_WORK } from "./clientSide.ts";
import type { PlainStatements } from "./plainStatements.ts";

/** Makes a failed transaction; the shard's log says why. */
const FAIL_AGAIN = 'BEGIN; ROLLBACK TO SAVEPOINT "pgxa: the transaction was lost with its connection"';
const FAIL_AGAIN_TIMEOUT_MS = 10_000;

/** A COMMIT was sent, and not answered. */
export const outcomeUnknown = (shard: string, reason: string): ErrorFields =>
  faultFields(
    new Fault("commit.unknown", {
      detail: `The connection to shard "${shard}" was lost during COMMIT: ${reason}.`,
    }),
  );

export class LostTransaction {
  /** Whether the client is in a transaction that was lost. */
  isOpen = false;
  /** What it has not been told of that; null: it has. */
  #untold: ErrorFields | null = null;
  readonly #client: ClientSide;
  readonly #statements: PlainStatements;

  constructor(client: ClientSide, statements: PlainStatements) {
    this.#client = client;
    this.#statements = statements;
  }

  /** What ReadyForQuery says to a client that has no connection. */
  get status(): "I" | "E" {
    return this.isOpen ? "E" : "I";
  }

  /** Answers all that a lost connection owed with `error`. */
  begin({ groups, hasError, status, isBatchOpen }: ServerConnection["replies"], error: ErrorFields): void {
    const owed = groups.count(RELAY);
    this.isOpen = status !== "I" && !this.#statements.isCommitting;
    this.#untold = owed === 0 && !isBatchOpen ? error : null;
    this.#statements.noteLost();
    const told = errorResponse(error);
    for (let i = 0; i < owed; i += 1) {
      this.#client.say(...(i === 0 && hasError ? [] : [told]), readyForQuery(this.status));
    }
    if (isBatchOpen && (owed > 0 || !hasError)) this.#client.say(told);
  }

  /**
   * Answers a message of a client whose transaction was lost; `skip`: and what follows it is passed over until Sync;
   * `no`: a shard has to answer.
   */
  answer(type: number, buffer: Buffer, start: number, end: number): "yes" | "skip" | "no" {
    const text = this.#statements.textOf(type, buffer, start, end);
    if (type === CLIENT_MESSAGE.query) return this.#answerQuery(text ?? "");
    if (type === CLIENT_MESSAGE.sync) {
      this.#client.say(readyForQuery("E"));
      return "yes";
    }
    // Who rolls back need not hear why that is needed.
    if (text !== null && inFailedTransaction(text) === "rollback") this.#untold = null;
    const error = this.#takeUntold();
    if (error === null) return "no";
    this.#client.say(error);
    if (type !== CLIENT_MESSAGE.functionCall) return "skip";
    this.#client.say(readyForQuery("E"));
    return "yes";
  }

  #answerQuery(text: string): "yes" | "no" {
    const kind = inFailedTransaction(text);
    const error = kind === "rollback" ? null : this.#takeUntold();
    if (kind === "other" && error === null) return "no";
    if (kind === "rollback" || kind === "commit") this.end();
    if (error !== null) this.#client.say(error);
    else if (kind === "refused") this.#client.say(faultResponse(new Fault("session.failed_transaction")));
    else this.#client.say(commandComplete("ROLLBACK"));
    this.#client.say(readyForQuery(this.status));
    return "yes";
  }

  /** The error that the client has not been told, once. */
  #takeUntold(): Buffer | null {
    const error = this.#untold;
    this.#untold = null;
    return error === null ? null : errorResponse(error);
  }

  /** Brings `lease` where the lost transaction is; the message is presented again. */
  failAgain(lease: ServerConnection): false {
    this.#client.wait(WAIT_WORK);
    const failed = lease.run(FAIL_AGAIN, FAIL_AGAIN_TIMEOUT_MS);
    detach(
      failed.then(() => this.#client.go(WAIT_WORK)),
      "the client waits for it",
    );
    return false;
  }

  end(): void {
    this.isOpen = false;
    this.#untold = null;
  }
}
