// Pure.
/**
 * Walks the fields of one message's body, in place.
 *
 * Every read is checked against the end of the message, not of the buffer: what follows belongs to somebody else.
 * A body that does not hold what its type promises is a protocol violation of the side that sent it, told in
 * Postgres's own words (pqformat.c).
 *
 * Text from a client must be UTF-8. It is routed by what it says, and bytes replaced in decoding could name
 * another shard. What a shard says is only shown, and may come in the server's encoding while it starts up.
 */
import { isUtf8 } from "node:buffer";
import { Fault } from "../base/fault.ts";
import type { Side } from "./messageTypes.ts";

const NOTHING = Buffer.alloc(0);
const HEADER_BYTES = 5;
/** What decoding puts in place of bytes that are not UTF-8. */
const REPLACEMENT = "\u{fffd}";

export type Encoding = "utf8" | "latin1";

export class FieldReader {
  /** Where the next field begins in the buffer. */
  at = 0;
  #buffer: Buffer = NOTHING;
  #end = 0;
  readonly #sender: Side;
  readonly #encoding: Encoding;

  /** `latin1` reads each byte as one character, for texts in whatever encoding that are only looked at. */
  constructor(sender: Side, encoding: Encoding = "utf8") {
    this.#sender = sender;
    this.#encoding = encoding;
  }

  /** Turns to the body of the message that lies, header included, in `buffer[start, end)`. */
  reset(buffer: Buffer, start: number, end: number): this {
    this.#buffer = buffer;
    this.at = start + HEADER_BYTES;
    this.#end = end;
    return this;
  }

  get remaining(): number {
    return this.#end - this.at;
  }

  uint8(): number {
    return this.#buffer.readUInt8(this.skip(1));
  }

  /** Counts are unsigned: 0 to 65535. */
  uint16(): number {
    return this.#buffer.readUInt16BE(this.skip(2));
  }

  int32(): number {
    return this.#buffer.readInt32BE(this.skip(4));
  }

  uint32(): number {
    return this.#buffer.readUInt32BE(this.skip(4));
  }

  /** The next `count` bytes where they lie. */
  bytes(count: number): Buffer {
    const start = this.skip(count);
    return this.#buffer.subarray(start, this.at);
  }

  /** All bytes up to the end where they lie. */
  rest(): Buffer {
    return this.bytes(this.remaining);
  }

  /** The text up to the next NUL. */
  cstring(): string {
    const start = this.skipCString();
    return this.#decode(start, this.at - 1);
  }

  text(byteCount: number): string {
    const start = this.skip(byteCount);
    return this.#decode(start, this.at);
  }

  /** Passes over `count` bytes and returns where they begin. */
  skip(count: number): number {
    const start = this.at;
    if (count > this.#end - start) throw this.fault("insufficient data left in message");
    this.at = start + count;
    return start;
  }

  /** Passes over a text and its NUL and returns where it begins. */
  skipCString(): number {
    const start = this.at;
    if (start < this.#end && this.#buffer[start] === 0) {
      this.at = start + 1; // as nearly every name is empty
      return start;
    }
    const nul = start < this.#end ? this.#buffer.indexOf(0, start) : -1;
    if (nul < 0 || nul >= this.#end) throw this.fault("invalid string in message");
    this.at = nul + 1;
    return start;
  }

  /** The message must end here. */
  finish(): void {
    if (this.at !== this.#end) throw this.fault("invalid message format");
  }

  /** The protocol violation that `what` is on the part of the sender. */
  fault(what: string): Fault {
    return this.#sender === "client"
      ? new Fault("protocol.malformed", { message: what })
      : new Fault("protocol.server_violation", { detail: what });
  }

  #decode(start: number, end: number): string {
    if (start === end) return "";
    if (this.#encoding === "latin1") return this.#buffer.toString("latin1", start, end);
    const text = this.#buffer.toString("utf8", start, end);
    if (
      this.#sender === "client" &&
      text.includes(REPLACEMENT) &&
      !isUtf8(this.#buffer.subarray(start, end))
    ) {
      throw new Fault("session.invalid_encoding");
    }
    return text;
  }
}
