/**
 * What is about to be written to one stream: collected while a chunk is read, sent as one write.
 *
 * The common case is a single run of the incoming chunk, passed on where it lies. Only when something of pgxa's own
 * comes in between are the pieces copied together, into a scratch buffer that is used again unless the kernel has
 * not taken it yet.
 */

import { invariant } from "../base/invariant.ts";
import { query } from "../wire/frontendWriters.ts";
import { CLIENT_MESSAGE } from "../wire/messageTypes.ts";

export interface Writer {
  write(bytes: Uint8Array): boolean;
}

const SCRATCH_BYTES = 16 * 1024;
/** What a Query has besides its text: type, length, and a NUL at the end. */
const QUERY_BYTES = 6;

export class Outbox {
  readonly #writer: Writer;
  #chunk: Buffer | null = null;
  #start = 0;
  #end = 0;
  #scratch: Buffer | null = null;
  #used = 0;
  #isFlushed = true;

  constructor(writer: Writer) {
    this.#writer = writer;
  }

  /** Adds `chunk[start, end)`; it must stay untouched until `flush()`, and after a false from it until drained. */
  pass(chunk: Buffer, start: number, end: number): void {
    if (this.#chunk === chunk && this.#end === start) {
      this.#end = end;
      return;
    }
    this.#settle();
    this.#chunk = chunk;
    this.#start = start;
    this.#end = end;
  }

  /** Adds bytes of pgxa's own. */
  put(bytes: Buffer): void {
    this.#settle();
    this.#copy(bytes, 0, bytes.length);
  }

  /** Adds a Query of pgxa's own, written where it leaves from. */
  query(text: string): void {
    const length = Buffer.byteLength(text);
    if (length + QUERY_BYTES > SCRATCH_BYTES) return this.put(query(text));
    this.#settle();
    if (length + QUERY_BYTES > SCRATCH_BYTES - this.#used) this.#writeScratch();
    this.#scratch ??= Buffer.allocUnsafeSlow(SCRATCH_BYTES);
    const scratch = this.#scratch;
    const at = this.#used;
    scratch[at] = CLIENT_MESSAGE.query;
    scratch.writeInt32BE(length + QUERY_BYTES - 1, at + 1);
    scratch.write(text, at + 5);
    scratch[at + 5 + length] = 0;
    this.#used += length + QUERY_BYTES;
  }

  /**
   * Adds the message in `buffer[start, end)`, of less than `SCRATCH_BYTES`, with `name`, which is ASCII and short, in place of the text that begins at
   * `nameAt` and ends with a NUL.
   */
  renamed(buffer: Buffer, start: number, end: number, nameAt: number, name: string): void {
    const restAt = buffer[nameAt] === 0 ? nameAt : buffer.indexOf(0, nameAt);
    const headBytes = nameAt - start + name.length;
    this.#settle();
    invariant(headBytes <= SCRATCH_BYTES, "what is renamed in place is short");
    if (headBytes > SCRATCH_BYTES - this.#used) this.#writeScratch();
    this.#scratch ??= Buffer.allocUnsafeSlow(SCRATCH_BYTES);
    const scratch = this.#scratch;
    const at = this.#used;
    buffer.copy(scratch, at, start, nameAt);
    scratch.write(name, at + nameAt - start, "latin1");
    scratch.writeInt32BE(buffer.readInt32BE(start + 1) + name.length - (restAt - nameAt), at + 1);
    this.#used += headBytes;
    this.#copy(buffer, restAt, end);
  }

  /** Writes all; false: the stream has not sent it all yet. */
  flush(): boolean {
    if (this.#used > 0 && this.#chunk !== null) this.#settle();
    if (this.#used > 0) this.#writeScratch();
    else if (this.#chunk !== null) {
      const chunk = this.#chunk;
      this.#chunk = null;
      if (!this.#writer.write(chunk.subarray(this.#start, this.#end))) this.#isFlushed = false;
    }
    const flushed = this.#isFlushed;
    this.#isFlushed = true;
    return flushed;
  }

  /** Moves the open run behind what is in the scratch buffer. */
  #settle(): void {
    const chunk = this.#chunk;
    if (chunk === null) return;
    this.#chunk = null;
    this.#copy(chunk, this.#start, this.#end);
  }

  #copy(bytes: Buffer, start: number, end: number): void {
    const length = end - start;
    if (length > SCRATCH_BYTES - this.#used) this.#writeScratch();
    if (length > SCRATCH_BYTES) {
      if (!this.#writer.write(bytes.subarray(start, end))) this.#isFlushed = false;
      return;
    }
    this.#scratch ??= Buffer.allocUnsafeSlow(SCRATCH_BYTES);
    bytes.copy(this.#scratch, this.#used, start, end);
    this.#used += length;
  }

  #writeScratch(): void {
    if (this.#used === 0) return;
    const scratch = this.#scratch!;
    const isTaken = this.#writer.write(scratch.subarray(0, this.#used));
    this.#used = 0;
    if (isTaken) return;
    this.#scratch = null; // still being sent: the next run gets another
    this.#isFlushed = false;
  }
}
