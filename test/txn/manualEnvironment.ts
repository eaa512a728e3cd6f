/** A world whose time passes only when a test says so. */
import { setImmediate as turn } from "node:timers/promises";
import type { Clock, Environment, Randomness, Timer } from "../../src/base/environment.ts";

interface Due {
  readonly atMs: number;
  readonly callback: () => void;
}

export class ManualEnvironment implements Environment {
  #nowMs = 0;
  #due: Due[] = [];
  readonly random: Randomness = { bytes: (count) => new Uint8Array(count), fraction: () => 0.5 };
  readonly clock: Clock = {
    wallMs: () => this.#nowMs,
    monotonicMs: () => this.#nowMs,
    after: (delayMs, callback) => this.#after(delayMs, callback),
  };

  /** When the next timer is due, in ms from now; null if there is none. */
  get nextMs(): number | null {
    return this.#due.length === 0 ? null : Math.min(...this.#due.map(({ atMs }) => atMs)) - this.#nowMs;
  }

  /** Lets `ms` pass, and everything that follows from it. */
  async pass(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await settle();
    for (let next = this.#nextDue(untilMs); next !== null; next = this.#nextDue(untilMs)) {
      this.#nowMs = next.atMs;
      this.#due.splice(this.#due.indexOf(next), 1);
      next.callback();
      await settle();
    }
    this.#nowMs = untilMs;
  }

  #nextDue(untilMs: number): Due | null {
    const [first] = this.#due.filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs);
    return first ?? null;
  }

  #after(delayMs: number, callback: () => void): Timer {
    const due: Due = { atMs: this.#nowMs + delayMs, callback };
    this.#due.push(due);
    return { cancel: () => void (this.#due = this.#due.filter((one) => one !== due)) };
  }
}

/** Lets all promises go on that can. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 3; i += 1) await turn();
}
