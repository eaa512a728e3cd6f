// Pure.
/**
 * Finds where messages begin and end, in place, in chunks that were cut anywhere.
 *
 * A message of protocol v3 is a type byte, a 4-byte length that counts itself but not the type, and a body. To
 * forward it nothing else need be known, so nothing else is looked at: a DataRow of a megabyte costs five bytes
 * of reading. A chunk is walked in *pieces*; a piece is as much of one message as this chunk holds:
 *
 *     chunk 1: [ whole message ][ whole message ][ first piece of a m      isFirst
 *     chunk 2:  essage ][ whole message ][ Z0                              isLast; then a tail of 2 bytes
 *     chunk 3: [ Z000 ...
 *
 * A header is never cut: its five bytes come with the first piece or, where the chunk ends amid them, stay
 * unlooked at as the `tail`. The caller presents the tail again in front of the next chunk, so the state
 * between two chunks is one number, how much of the current message is still to come.
 *
 * Invariants:
 * - The pieces of a stream, put together, are the stream: each begins where the one before it ended.
 * - `length` is checked before anything is computed from it: no less than its type needs, no more than allowed.
 * - After a violation nothing is a message any more, for it is the length that says where the next one begins.
 *   The scanner never goes on; what lies before `end` was whole and right.
 *
 * This is the hot path: `next()` makes no object, closure or string; it sets fields.
 *
 * https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-MESSAGE-CONCEPTS
 */
import { type LengthTable, lengthTable, type Side } from "./messageTypes.ts";

export type { Side } from "./messageTypes.ts";

/** What was wrong with a header: its side has no such type, or the type no such length. */
export type Violation = "type" | "length";

const HEADER_BYTES = 5;
const NO_CHUNK = Buffer.alloc(0);

export class FrameScanner {
  /** The type byte of the current message, for example 0x51. */
  type = 0;
  /** Where the current piece begins in the chunk. */
  start = 0;
  /** Where the current piece ends; the next one begins here. */
  end = 0;
  /** Whether the piece begins with its message's header. */
  isFirst = false;
  /** Whether the piece ends with its message's last byte. */
  isLast = false;
  /** Bytes of the whole message, the type byte included. */
  length = 0;
  /** Why the stream cannot be read on; `type` and `length` are then those of the refused header. */
  violation: Violation | null = null;

  readonly #lengths: LengthTable;
  readonly #bytesMax: number;
  #chunk: Buffer = NO_CHUNK;
  #chunkEnd = 0;
  /** Bytes of the current message beyond `end`. */
  #unseen = 0;

  /** `messageBytesMax` bounds whole messages, the type byte included; a type's own limit may be lower. */
  constructor(side: Side, messageBytesMax: number) {
    this.#lengths = lengthTable(side);
    this.#bytesMax = messageBytesMax;
  }

  /** Turns to the bytes from `start` to `end` of `chunk`; they follow those up to which pieces were taken. */
  begin(chunk: Buffer, start: number, end: number): void {
    this.#chunk = chunk;
    this.#chunkEnd = end;
    this.start = start;
    this.end = start;
  }

  /** The bytes from `from` on lie in `chunk` now, from its start; `from` is at most where the current piece begins. */
  move(chunk: Buffer, from: number): void {
    this.#chunk = chunk;
    this.#chunkEnd -= from;
    this.start -= from;
    this.end -= from;
  }

  /** Advances to the next piece; false when the chunk has none any more, or after a violation. */
  next(): boolean {
    const start = this.end;
    if (start === this.#chunkEnd || this.violation !== null) return false;
    const isFirst = this.#unseen === 0;
    if (isFirst && !this.#readHeader(start)) return false;

    this.isFirst = isFirst;
    this.isLast = this.#unseen <= this.#chunkEnd - start;
    this.start = start;
    this.end = this.isLast ? start + this.#unseen : this.#chunkEnd;
    this.#unseen -= this.end - start;
    return true;
  }

  /**
   * Once `next()` returned false: how many bytes at the chunk's end, 0 to 4, are the beginning of a header that
   * must be presented again in front of the next chunk.
   */
  get tail(): number {
    return this.violation === null ? this.#chunkEnd - this.end : 0;
  }

  /** Whether no message is half seen; the bytes of a `tail` belong to none yet. */
  get isBetweenMessages(): boolean {
    return this.#unseen === 0;
  }

  /** Reads the header at `start`; false if it is not whole or not right. A wrong type is told by its one byte. */
  #readHeader(start: number): boolean {
    const chunk = this.#chunk;
    const type = chunk[start]!;
    const lengthMin = this.#lengths.min[type]!;
    if (lengthMin === 0) return this.#refuse("type", type, 0);
    if (this.#chunkEnd - start < HEADER_BYTES) return false;

    // The length is a signed number: one above 2 GiB comes out negative, hence too short.
    const lengthField =
      (chunk[start + 1]! << 24) | (chunk[start + 2]! << 16) | (chunk[start + 3]! << 8) | chunk[start + 4]!;
    const length = lengthField + 1;
    const isTooLong = length > this.#bytesMax || length > this.#lengths.max[type]!;
    if (length < lengthMin || isTooLong) return this.#refuse("length", type, length);

    this.type = type;
    this.length = length;
    this.#unseen = length;
    return true;
  }

  #refuse(violation: Violation, type: number, length: number): false {
    this.violation = violation;
    this.type = type;
    this.length = length;
    return false;
  }
}
