/**
 * Reads the answer to something pgxa asked on its own account, message by message, into one value.
 *
 * Control statements answer with a row or none, so keeping all of it is bounded by what pgxa asks.
 */
import { readCommandTag, readDataRowText, readErrorFields } from "../wire/backendReaders.ts";
import type { ErrorFields } from "../wire/errorFields.ts";
import { SERVER_MESSAGE } from "../wire/messageTypes.ts";

export type ControlReply =
  | {
      readonly kind: "complete";
      /** The command tag of each statement, in order. */
      readonly tags: readonly string[];
      /** Every DataRow of every statement, as text; null is SQL NULL. */
      readonly rows: readonly (readonly (string | null)[])[];
      readonly status: "I" | "T" | "E";
    }
  | { readonly kind: "error"; readonly error: ErrorFields; readonly status: "I" | "T" | "E" }
  /** No answer: the connection ended, or the time was up. The connection is of no further use. */
  | { readonly kind: "lost"; readonly reason: string };

export class ControlReplyBuilder {
  #tags: string[] = [];
  #rows: (string | null)[][] = [];
  #error: ErrorFields | null = null;

  /** Adds one whole message; everything but rows, tags and the first error is passed over. */
  add(type: number, buffer: Buffer, start: number, end: number): void {
    if (type === SERVER_MESSAGE.dataRow) this.#rows.push(readDataRowText(buffer, start, end));
    else if (type === SERVER_MESSAGE.commandComplete) this.#tags.push(readCommandTag(buffer, start, end));
    else if (type === SERVER_MESSAGE.errorResponse) this.#error ??= readErrorFields(buffer, start, end);
  }

  /** The answer as it stands at ReadyForQuery; the builder is empty afterwards. */
  finish(status: "I" | "T" | "E"): ControlReply {
    const reply: ControlReply =
      this.#error === null
        ? { kind: "complete", tags: this.#tags, rows: this.#rows, status }
        : { kind: "error", error: this.#error, status };
    this.#tags = [];
    this.#rows = [];
    this.#error = null;
    return reply;
  }
}
