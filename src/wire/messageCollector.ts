// Pure.
/**
 * Puts the pieces of one message together, for the few messages that must be read as a whole.
 *
 * Most messages lie whole in their chunk: then nothing is copied, and `buffer`, `start` and `end` point into the
 * chunk, good until it is reused. A message that spans chunks is copied into a buffer of its own, new for each
 * message, so whoever reads it may keep it.
 *
 * Invariant: memory follows the bytes that came, never the length that was announced. The buffer at most doubles
 * when it is full, so a header that promises a gigabyte costs nothing until the gigabyte arrives; the scanner's
 * `messageBytesMax` bounds it in the end.
 */
import { invariant } from "../base/invariant.ts";
import type { FrameScanner } from "./frameScanner.ts";

const CAPACITY_MIN = 4096;
const NOTHING = Buffer.alloc(0);

export class MessageCollector {
  /** Where the whole message lies, header included: `buffer[start, end)`. */
  buffer: Buffer = NOTHING;
  start = 0;
  end = 0;

  #owned: Buffer = NOTHING;
  #filled = 0;

  /** Takes the scanner's current piece of `chunk`; true when the message is whole. */
  take(chunk: Buffer, scanner: FrameScanner): boolean {
    if (scanner.isFirst && scanner.isLast) return this.#show(chunk, scanner.start, scanner.end);
    if (scanner.isFirst) this.#filled = 0;
    invariant(scanner.isFirst || this.#filled > 0, "a message is collected from its first piece on");
    this.#append(chunk, scanner);
    if (!scanner.isLast) return false;
    const whole = this.#owned;
    this.release();
    return this.#show(whole, 0, scanner.length);
  }

  /** What lay in `before` from `from` on lies in `now`, from its start. */
  move(before: Buffer, from: number, now: Buffer): void {
    if (this.buffer === before) this.#show(now, this.start - from, this.end - from);
  }

  /** Lets go of what was collected so far, and of the last message. */
  release(): void {
    this.#owned = NOTHING;
    this.#filled = 0;
    this.#show(NOTHING, 0, 0);
  }

  #show(buffer: Buffer, start: number, end: number): true {
    this.buffer = buffer;
    this.start = start;
    this.end = end;
    return true;
  }

  #append(chunk: Buffer, scanner: FrameScanner): void {
    const filled = this.#filled + (scanner.end - scanner.start);
    if (filled > this.#owned.length) this.#grow(filled, scanner.length);
    chunk.copy(this.#owned, this.#filled, scanner.start, scanner.end);
    this.#filled = filled;
  }

  #grow(needed: number, length: number): void {
    const capacity = Math.min(length, Math.max(needed, 2 * this.#owned.length, CAPACITY_MIN));
    const grown = Buffer.allocUnsafe(capacity);
    this.#owned.copy(grown, 0, 0, this.#filled);
    this.#owned = grown;
  }
}
