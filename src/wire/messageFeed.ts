// Pure.
/**
 * Whole messages out of chunks, for the slow paths: logins and password exchanges.
 *
 * Everything is copied, so what is shown may be kept. Memory is bounded by `messageBytesMax` and what one chunk
 * brings; a feed that found a violation shows nothing more.
 */
import { FrameScanner, type Side, type Violation } from "./frameScanner.ts";
import { MessageCollector } from "./messageCollector.ts";

const NOTHING: Buffer = Buffer.alloc(0);

export class MessageFeed {
  readonly scanner: FrameScanner;
  readonly #collector = new MessageCollector();
  #bytes = NOTHING;

  constructor(side: Side, messageBytesMax: number) {
    this.scanner = new FrameScanner(side, messageBytesMax);
  }

  get type(): number {
    return this.scanner.type;
  }
  get buffer(): Buffer {
    return this.#collector.buffer;
  }
  get start(): number {
    return this.#collector.start;
  }
  get end(): number {
    return this.#collector.end;
  }
  get violation(): Violation | null {
    return this.scanner.violation;
  }

  /** The bytes behind the message shown last. */
  get rest(): Buffer {
    return this.#bytes.subarray(this.scanner.end);
  }

  /** Takes the next bytes; all messages of the ones before must have been seen. */
  push(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes.subarray(this.scanner.end), chunk]);
    this.scanner.begin(this.#bytes, 0, this.#bytes.length);
  }

  /** Turns to the next whole message; false when the bytes end before it does. */
  next(): boolean {
    while (this.scanner.next()) {
      if (this.#collector.take(this.#bytes, this.scanner)) return true;
    }
    return false;
  }
}
