/**
 * Makes what was written durable: from here where the disk is fast, from another thread where it is not.
 *
 * To have a thread do it costs more than a fast disk takes for it, and most of all on a busy machine, where the thread
 * waits for its turn. A slow disk would hold up every client meanwhile. So flushes are done here while they take little
 * time, and from a thread for a while as soon as they don't.
 */
import { fdatasyncSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";

/** Flushes that take longer than this on average are left to a thread, in ms. */
const HERE_MS_MAX = 0.3;
/** How much one flush counts in that average. */
const WEIGHT = 0.2;
/** How many flushes a thread does before the disk is tried from here again. */
const THREAD_FLUSHES = 500;

export class Flusher {
  #averageMs = 0;
  #threadFlushesLeft = 0;

  async flush(handle: FileHandle): Promise<void> {
    if (this.#threadFlushesLeft > 0) {
      this.#threadFlushesLeft -= 1;
      return handle.datasync();
    }
    const startedMs = performance.now();
    fdatasyncSync(handle.fd);
    this.#averageMs += WEIGHT * (performance.now() - startedMs - this.#averageMs);
    if (this.#averageMs <= HERE_MS_MAX) return;
    this.#averageMs = 0;
    this.#threadFlushesLeft = THREAD_FLUSHES;
  }
}
