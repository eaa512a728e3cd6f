/** The end of a connection that is played: it counts what is written, and reads what it is told to. */
import type { ByteStream, StreamOwner } from "../../src/pool/byteStream.ts";

export class PlayedStream {
  /** The transaction status that a shard says. */
  status = "I";
  /** What the unnamed statement is. */
  unnamed = "";
  /** The statement that is executed next. */
  bound = "";
  /** How many statements with a name were parsed. */
  made = 0;
  writes = 0;
  bytes = 0;
  readonly isFlushed = true;
  onWritten: (bytes: Uint8Array) => void = () => {};
  readonly #buffer = Buffer.alloc(64 * 1024);
  #owner!: StreamOwner;

  get asStream(): ByteStream {
    return this as unknown as ByteStream;
  }

  /** `bytes` are read in the next turn of the event loop. */
  receive(bytes: Buffer): void {
    setImmediate(() => {
      bytes.copy(this.#buffer);
      this.#owner.onChunk(this.#buffer, bytes.length);
    });
  }

  setOwner(owner: StreamOwner): void {
    this.#owner = owner;
  }

  write(bytes: Uint8Array): boolean {
    this.writes += 1;
    this.bytes += bytes.length;
    this.onWritten(bytes);
    return true;
  }

  pause(): void {}

  pauseApart(): void {}

  resume(): void {}

  end(): void {}

  destroy(): void {}
}
