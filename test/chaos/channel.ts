/**
 * One direction of a forwarded connection: bytes, then its end, in order, now, later, or held until it is told.
 *
 * What is held is not lost: it is delivered when the hold ends, even if whoever sent it has closed its side long ago.
 * That is how a PREPARE arrives at a shard after pgxa has given the transaction up.
 */
import type { Socket } from "node:net";

/** Beyond this the sender is not read any more, as a full window of TCP would have it. */
const QUEUE_BYTES_MAX = 4 * 1024 * 1024;

interface Piece {
  /** Null is the end. */
  readonly bytes: Buffer | null;
  readonly dueMs: number;
}

export class Channel {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #queue: Piece[] = [];
  #queuedBytes = 0;
  #isHeld = false;
  #delayMs = 0;
  #timer: NodeJS.Timeout | null = null;
  #hasEnded = false;

  constructor(from: Socket, to: Socket) {
    this.#from = from;
    this.#to = to;
    from.on("data", (bytes: Buffer) => this.#push(bytes));
    from.on("end", () => this.#end());
    from.on("close", () => this.#end());
    to.on("drain", () => this.#pump());
  }

  hold(): void {
    this.#isHeld = true;
  }

  /** What comes from now on arrives `ms` later; 0 ends that. */
  delay(ms: number): void {
    this.#delayMs = ms;
  }

  /** Ends hold and delay; what was held is delivered. */
  release(): void {
    this.#isHeld = false;
    this.#delayMs = 0;
    this.#pump();
  }

  #end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#push(null);
  }

  #push(bytes: Buffer | null): void {
    this.#queue.push({ bytes, dueMs: this.#delayMs === 0 ? 0 : performance.now() + this.#delayMs });
    this.#queuedBytes += bytes?.length ?? 0;
    if (this.#queuedBytes > QUEUE_BYTES_MAX) this.#from.pause();
    this.#pump();
  }

  #pump(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    while (!this.#isHeld && this.#queue.length > 0 && !this.#to.writableNeedDrain) {
      const { bytes, dueMs } = this.#queue[0]!;
      const waitMs = dueMs === 0 ? 0 : dueMs - performance.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.#pump(), waitMs);
        return;
      }
      this.#queue.shift();
      this.#deliver(bytes);
    }
    if (this.#queuedBytes <= QUEUE_BYTES_MAX && this.#from.isPaused()) this.#from.resume();
  }

  #deliver(bytes: Buffer | null): void {
    this.#queuedBytes -= bytes?.length ?? 0;
    if (this.#to.destroyed) return;
    if (bytes === null) this.#to.end();
    else this.#to.write(bytes);
  }
}
