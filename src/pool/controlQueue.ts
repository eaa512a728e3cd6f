/**
 * Who waits for the answers to what pgxa itself asked on one connection, in order, and until when.
 *
 * One timer serves all of them, and it is not cancelled when an answer comes: it finds then that nobody waits, or waits for
 * longer. Nearly every answer comes within milliseconds, and a timer set and cancelled for each costs more than the question.
 */
import type { Clock, Timer } from "../base/environment.ts";
import type { ControlReply } from "./controlReply.ts";

interface Waiting {
  readonly resolve: (reply: ControlReply) => void;
  readonly timeoutMs: number;
  /** When its time is up, by the monotonic clock. */
  readonly dueMs: number;
}

export class ControlQueue {
  readonly #clock: Clock;
  readonly #onOverdue: (timeoutMs: number) => void;
  readonly #waiting: Waiting[] = [];
  #timer: Timer | null = null;
  #timerMs = Number.POSITIVE_INFINITY;

  /** `onOverdue`: an answer did not come within `timeoutMs`. */
  constructor(clock: Clock, onOverdue: (timeoutMs: number) => void) {
    this.#clock = clock;
    this.#onOverdue = onOverdue;
  }

  add(resolve: (reply: ControlReply) => void, timeoutMs: number): void {
    const dueMs = this.#clock.monotonicMs() + timeoutMs;
    this.#waiting.push({ resolve, timeoutMs, dueMs });
    if (dueMs < this.#timerMs) this.#set(dueMs, timeoutMs);
  }

  /** The next answer has come. */
  answer(reply: ControlReply): void {
    this.#waiting.shift()?.resolve(reply);
  }

  /** No answer comes any more. */
  close(reply: ControlReply): void {
    this.#cancel();
    for (const { resolve } of this.#waiting.splice(0)) resolve(reply);
  }

  #set(dueMs: number, delayMs: number): void {
    this.#cancel();
    this.#timerMs = dueMs;
    this.#timer = this.#clock.after(delayMs, () => this.#look());
  }

  #cancel(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#timerMs = Number.POSITIVE_INFINITY;
  }

  #look(): void {
    this.#cancel();
    if (this.#waiting.length === 0) return;
    const first = this.#waiting.reduce((a, b) => (b.dueMs < a.dueMs ? b : a));
    const leftMs = first.dueMs - this.#clock.monotonicMs();
    if (leftMs > 0) this.#set(first.dueMs, leftMs);
    else this.#onOverdue(first.timeoutMs);
  }
}
