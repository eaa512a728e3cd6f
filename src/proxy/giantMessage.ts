/**
 * A client's message that is not held as a whole, on its way to a shard.
 *
 * The session looks at the head as at any message and decides: it goes to that connection, or nowhere, because it was
 * refused or is passed over. What follows goes the way of the head in pieces, and is searched if it is text. The bytes
 * in front of a slow shard are those of one chunk, and the sockets'.
 *
 * Invariant: from head to end the connection is owed an answer or has an open batch, so it is nobody else's, and nothing
 * is put between the pieces.
 */
import type { ServerConnection } from "../pool/serverConnection.ts";
import { CLIENT_MESSAGE } from "../wire/messageTypes.ts";
import type { GiantMessages } from "./clientSide.ts";
import type { GiantMessageSearch } from "./giantMessageSearch.ts";
import { PASS, type PlainStatements, REFUSED, SENT, type Understood } from "./plainStatements.ts";

/** Takes the head as a session takes a message. */
type OnHead = (type: number, head: Buffer, start: number, end: number, isGiant: true) => boolean;

export class GiantMessage implements GiantMessages {
  readonly #statements: PlainStatements;
  readonly #onHead: OnHead;
  /** Where the current message goes; null: nowhere. */
  #lease: ServerConnection | null = null;
  #search: GiantMessageSearch | null = null;

  constructor(statements: PlainStatements, onHead: OnHead) {
    this.#statements = statements;
    this.#onHead = onHead;
  }

  onHead(type: number, head: Buffer): boolean {
    return this.#onHead(type, head, 0, head.length, true);
  }

  /** Does what the message needs beyond being passed on, and decides whether what follows the head goes to `lease`. */
  understood(lease: ServerConnection, type: number, head: Buffer): Understood {
    const understood = this.#understood(lease, type, head);
    if (understood === PASS || understood === SENT) this.#lease = lease;
    return understood;
  }

  #understood(lease: ServerConnection, type: number, head: Buffer): Understood {
    switch (type) {
      case CLIENT_MESSAGE.query:
        this.#search = this.#statements.giantQuery(lease);
        return PASS;
      case CLIENT_MESSAGE.parse:
        this.#search = this.#statements.giantParse(lease, head);
        return this.#search === null ? REFUSED : PASS;
      case CLIENT_MESSAGE.bind:
        return this.#statements.named(lease, type, head, 0, head.length);
    }
    return PASS;
  }

  onPiece(chunk: Buffer, start: number, end: number, isLast: boolean): void {
    // The loss of a connection has been told of; the rest goes nowhere.
    if (this.#lease?.state === "leased") {
      this.#search?.take(chunk, start, end);
      this.#lease.outbox.pass(chunk, start, end);
      if (isLast) this.#search?.finish();
    }
    if (!isLast) return;
    this.#lease = null;
    this.#search = null;
  }
}
