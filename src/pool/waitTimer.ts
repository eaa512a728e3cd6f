/** What happens in the course of one client's wait, by one timer at a time: a notice, the reserve, the end. */
import type { Clock, Timer } from "../base/environment.ts";

export interface WaitStep {
  /** After how long a wait, in ms. */
  readonly afterMs: number;
  act(): void;
}

export class WaitTimer {
  readonly #clock: Clock;
  readonly #steps: readonly WaitStep[];
  #next = 0;
  #timer: Timer | null = null;

  constructor(clock: Clock, steps: readonly WaitStep[]) {
    this.#clock = clock;
    this.#steps = steps.toSorted((a, b) => a.afterMs - b.afterMs);
    this.#schedule(0);
  }

  cancel(): void {
    this.#next = this.#steps.length;
    this.#timer?.cancel();
  }

  #schedule(waitedMs: number): void {
    const step = this.#steps[this.#next];
    if (step === undefined) return;
    this.#timer = this.#clock.after(step.afterMs - waitedMs, () => {
      this.#next += 1;
      step.act();
      this.#schedule(step.afterMs);
    });
  }
}
