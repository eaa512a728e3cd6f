/** A segment that is written: frames are appended, and one that could not be written leaves no trace. */
import { type LogFile, type SyncKind, writeAll } from "./logDisk.ts";
import { type Entry, encodeFrame, encodeSeal, MAGIC } from "./segment.ts";

/** A write failed, and for sure nothing of it is in the log, now or after a crash. */
export class NotWritten extends Error {
  constructor(cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

export class SegmentWriter {
  readonly number: number;
  readonly #file: LogFile;
  /** Where the next frame comes. */
  #bytes = 0;

  constructor(number: number, file: LogFile) {
    this.number = number;
    this.#file = file;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The first bytes of the file. */
  begin(): void {
    this.#write(MAGIC);
  }

  /** Throws the system's error; then `cutBack` is needed. */
  append(entries: readonly Entry[]): void {
    this.#write(encodeFrame(entries, this.#bytes));
  }

  /** Appends that all before is durable; throws as `append` does. */
  seal(): void {
    this.#write(encodeSeal(this.#bytes));
  }

  sync(kind: SyncKind): Promise<void> {
    return this.#file.sync(kind);
  }

  /**
   * Removes what a failed `append` left, whatever the log is usually synced with. Resolves with why that is certain, or
   * rejects: then nobody knows.
   */
  async cutBack(cause: unknown): Promise<NotWritten> {
    await this.#file.truncate(this.#bytes);
    await this.#file.sync("fsync");
    return new NotWritten(cause);
  }

  /** Whether `bytes` more would fit on the disk; leaves nothing behind. */
  async hasRoom(bytes: number): Promise<boolean> {
    try {
      writeAll(this.#file, new Uint8Array(bytes));
    } catch (error) {
      await this.cutBack(error);
      return false;
    }
    await this.cutBack(null);
    return true;
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  #write(bytes: Uint8Array): void {
    writeAll(this.#file, bytes);
    this.#bytes += bytes.length;
  }
}
