/**
 * Who has something running while it holds something elsewhere, and when that is worth a look.
 *
 * A circle over several shards goes through a client that waits on one and holds on another, so only such clients are
 * watched; with none of them nothing is asked of anybody. The first look at a wait comes when it has lasted
 * `probeAfterMs`, the following ones at growing distances: most waits end by themselves, and what closes a circle later
 * is mostly a new wait with a first look of its own.
 */
import type { Clock, Timer } from "../base/environment.ts";
import { Buckets } from "../observe/buckets.ts";
import type { Participant } from "./participant.ts";

/** The longest distance between two looks at the same wait, in ms. */
const DISTANCE_MAX_MS = 250;

interface Watched {
  readonly sinceMs: number;
  dueMs: number;
  distanceMs: number;
}

export class WaitWatch {
  /** How long those statements took that were worth a look. */
  readonly waited = new Buckets();
  readonly #clock: Clock;
  readonly #probeAfterMs: number;
  readonly #onDue: () => Promise<void>;
  readonly #watched = new Map<Participant, Watched>();
  #timer: Timer | null = null;
  #timerMs = 0;
  #isLooking = false;
  #isClosed = false;

  /** `onDue` looks; it is not called again before it has resolved, and must not reject. */
  constructor(clock: Clock, probeAfterMs: number, onDue: () => Promise<void>) {
    this.#clock = clock;
    this.#probeAfterMs = probeAfterMs;
    this.#onDue = onDue;
  }

  /** Something of `participant` runs from now on. */
  begin(participant: Participant): void {
    const sinceMs = this.#clock.monotonicMs();
    const dueMs = sinceMs + this.#probeAfterMs;
    this.#watched.set(participant, { sinceMs, dueMs, distanceMs: this.#probeAfterMs });
    if (this.#timer === null || dueMs < this.#timerMs) this.#arm(dueMs);
  }

  end(participant: Participant): void {
    const watched = this.#watched.get(participant);
    if (watched === undefined) return;
    this.#watched.delete(participant);
    const waitedMs = this.#clock.monotonicMs() - watched.sinceMs;
    if (waitedMs >= this.#probeAfterMs) this.waited.observe(waitedMs);
  }

  /** Those watched, and for how long, in ms. */
  *waits(): IterableIterator<readonly [Participant, number]> {
    const nowMs = this.#clock.monotonicMs();
    for (const [participant, { sinceMs }] of this.#watched) yield [participant, nowMs - sinceMs];
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#timer = null;
  }

  #arm(atMs: number): void {
    if (this.#isLooking || this.#isClosed) return; // it is armed when the look is over
    this.#timer?.cancel();
    this.#timerMs = atMs;
    this.#timer = this.#clock.after(Math.max(0, atMs - this.#clock.monotonicMs()), () => this.#fire());
  }

  #fire(): void {
    this.#timer = null;
    const nowMs = this.#clock.monotonicMs();
    const due = [...this.#watched.values()].filter(({ dueMs }) => dueMs <= nowMs);
    if (due.length === 0) return this.#armNext();
    this.#isLooking = true;
    void this.#onDue().then(() => {
      this.#isLooking = false;
      const lookedMs = this.#clock.monotonicMs();
      for (const watched of due) {
        watched.dueMs = lookedMs + watched.distanceMs;
        watched.distanceMs = Math.min(2 * watched.distanceMs, DISTANCE_MAX_MS);
      }
      this.#armNext();
    });
  }

  #armNext(): void {
    if (this.#watched.size === 0) return;
    let next = Number.POSITIVE_INFINITY;
    for (const { dueMs } of this.#watched.values()) next = Math.min(next, dueMs);
    this.#arm(next);
  }
}
