/**
 * The decision log of the hand-written commit: a line for each decision, on the disk before anyone acts on it.
 *
 * One `fdatasync` serves all lines that arrived while the one before it ran: the group commit that any careful
 * hand would write, so that the comparison is with a good one.
 */
import { type FileHandle, open } from "node:fs/promises";

export class DecisionFile {
  readonly #file: FileHandle;
  #waiting: string[] = [];
  /** The write that will take the lines in `#waiting` with it; null while there is none. */
  #next: Promise<void> | null = null;
  #running: Promise<void> = Promise.resolve();

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  static async open(path: string): Promise<DecisionFile> {
    return new DecisionFile(await open(path, "a"));
  }

  /** Resolves once the decision is durable. */
  commit(gtrid: string): Promise<void> {
    this.#waiting.push(`${gtrid} commit\n`);
    this.#next ??= this.#running = this.#running.then(() => this.#flush());
    return this.#next;
  }

  async #flush(): Promise<void> {
    const lines = this.#waiting.join("");
    this.#waiting = [];
    this.#next = null;
    await this.#file.write(lines);
    await this.#file.datasync();
  }

  async close(): Promise<void> {
    await this.#running;
    await this.#file.close();
  }
}
