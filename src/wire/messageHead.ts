// Pure.
/**
 * The head of a client's message that is too long to be held: its header and the names in front of the rest.
 *
 *     Bind           header, portal, statement | formats, parameters, …
 *     Parse          header, statement         | text, types
 *     Query          header                    | text
 *     FunctionCall   header                    | …
 *
 * The head is copied together from as many pieces as it takes, and is what a session needs to send the message on under
 * another name; the rest goes by in pieces.
 *
 * Invariant: what is kept is at most `HEAD_BYTES_MAX`, however long the message.
 */
import { Fault } from "../base/fault.ts";
import type { FrameScanner } from "./frameScanner.ts";
import { CLIENT_MESSAGE } from "./messageTypes.ts";

const HEADER_BYTES = 5;
/** More than any names in use: Postgres looks at 63 bytes of each. */
export const HEAD_BYTES_MAX = 16 * 1024;
const NOTHING = Buffer.alloc(0);

/** How many names are in the head of a message of a type, and one; 0 for types that are always held. */
const NAMES_AND_ONE = new Uint8Array(256);
NAMES_AND_ONE[CLIENT_MESSAGE.bind] = 3;
NAMES_AND_ONE[CLIENT_MESSAGE.parse] = 2;
NAMES_AND_ONE[CLIENT_MESSAGE.query] = 1;
NAMES_AND_ONE[CLIENT_MESSAGE.functionCall] = 1;

/** Whether messages of `type` may be so long that they are not held. */
export const mayBeGiant = (type: number): boolean => NAMES_AND_ONE[type] !== 0;

export class MessageHead {
  /** The head so far, in memory of its own that nobody writes to again. */
  buffer: Buffer = NOTHING;
  /** Where the rest of the message begins in the chunk of the piece that completed the head. */
  restStart = 0;
  #namesMissing = 0;

  /** Takes the scanner's current piece of `chunk`; true when the head is whole. Throws `protocol.message_not_held`. */
  take(chunk: Buffer, { isFirst, type, start, end }: FrameScanner): boolean {
    if (isFirst) {
      this.buffer = NOTHING;
      this.#namesMissing = NAMES_AND_ONE[type]! - 1;
    }
    this.restStart = this.#headEnd(chunk, isFirst ? start + HEADER_BYTES : start, end);
    if (this.buffer.length + this.restStart - start > HEAD_BYTES_MAX) {
      throw new Fault("protocol.message_not_held", { message: "a name in a message is too long" });
    }
    this.buffer = Buffer.concat([this.buffer, chunk.subarray(start, this.restStart)]);
    return this.#namesMissing === 0;
  }

  /** Lets go of the head. */
  release(): void {
    this.buffer = NOTHING;
  }

  /** Where, between `from` and `end`, the last name that is missing ends; `end` if it does not. */
  #headEnd(chunk: Buffer, from: number, end: number): number {
    let at = from;
    while (this.#namesMissing > 0) {
      const nul = chunk.indexOf(0, at);
      if (nul < 0 || nul >= end) return end;
      at = nul + 1;
      this.#namesMissing -= 1;
    }
    return at;
  }
}
