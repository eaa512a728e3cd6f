/**
 * What happens in the course of a wait: a notice, the reserve, the end. One timer serves all who wait, for most do so for
 * a millisecond and nothing ever happens to them: a timer each costs more than the rest of their wait.
 */
import type { Clock, Timer } from "../base/environment.ts";

export interface WaitStep<Waiting> {
  /** After how long a wait, in ms. */
  readonly afterMs: number;
  act(waiting: Waiting): void;
}

/** Somebody who waits. */
export interface Timed<Waiting> {
  /** Since when, in monotonic ms. */
  readonly sinceMs: number;
  /** In the order of time. */
  readonly steps: readonly WaitStep<Waiting>[];
  /** How many of them have been taken. */
  stepsTaken: number;
}

const NEVER = Number.POSITIVE_INFINITY;
/** For so long at most, in ms, the timer goes on when nobody waits any more: most often somebody soon does again. */
const LOOK_AGAIN_MS = 500;

export class WaitTimers<Waiting extends Timed<Waiting>> {
  readonly #clock: Clock;
  readonly #waiting: () => Iterable<Waiting>;
  readonly #isWaiting: (waiting: Waiting) => boolean;
  #timer: Timer | null = null;
  /** When the timer fires. It may find nobody left for whom it was set, and is set anew then. */
  #dueMs = NEVER;

  /** `waiting`: all who wait now. */
  constructor(clock: Clock, waiting: () => Iterable<Waiting>, isWaiting: (waiting: Waiting) => boolean) {
    this.#clock = clock;
    this.#waiting = waiting;
    this.#isWaiting = isWaiting;
  }

  /** `waiting` begins to wait; when it ends is seen. */
  begin(waiting: Waiting): void {
    this.#set(dueOf(waiting));
  }

  #set(dueMs: number): void {
    if (dueMs >= this.#dueMs) return;
    this.#cancel();
    const delayMs = Math.min(LOOK_AGAIN_MS, Math.max(0, dueMs - this.#clock.monotonicMs()));
    this.#dueMs = this.#clock.monotonicMs() + delayMs;
    this.#timer = this.#clock.after(delayMs, () => this.#act());
  }

  #cancel(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#dueMs = NEVER;
  }

  #act(): void {
    this.#cancel();
    const nowMs = this.#clock.monotonicMs();
    for (const waiting of [...this.#waiting()]) {
      while (this.#isWaiting(waiting) && dueOf(waiting) <= nowMs) {
        const step = waiting.steps[waiting.stepsTaken]!;
        waiting.stepsTaken += 1;
        step.act(waiting);
      }
    }
    let nextMs = NEVER;
    for (const waiting of this.#waiting()) nextMs = Math.min(nextMs, dueOf(waiting));
    this.#set(nextMs);
  }
}

function dueOf<Waiting>({ sinceMs, steps, stepsTaken }: Timed<Waiting>): number {
  const step = steps[stepsTaken];
  return step === undefined ? NEVER : sinceMs + step.afterMs;
}

export interface WaitLimits {
  readonly noticeAfterMs: number;
  readonly reserve: number;
  readonly reserveTimeoutMs: number;
  readonly checkoutTimeoutMs: number;
}

export interface WaitActs<Waiting> {
  notice(waiting: Waiting): void;
  /** The reserve may serve somebody from now on. */
  reserve(): void;
  end(waiting: Waiting): void;
}

/** The steps of a wait for a server connection. */
export function waitSteps<Waiting>(
  { noticeAfterMs, reserve, reserveTimeoutMs, checkoutTimeoutMs }: WaitLimits,
  acts: WaitActs<Waiting>,
): readonly WaitStep<Waiting>[] {
  const steps = [
    ...(noticeAfterMs > 0 ? [{ afterMs: noticeAfterMs, act: acts.notice }] : []),
    ...(reserve > 0 ? [{ afterMs: reserveTimeoutMs, act: acts.reserve }] : []),
    { afterMs: checkoutTimeoutMs, act: acts.end },
  ];
  return steps
    .filter(({ afterMs }) => afterMs <= checkoutTimeoutMs)
    .toSorted((a, b) => a.afterMs - b.afterMs);
}
