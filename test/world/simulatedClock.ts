/**
 * The clock of a simulated process. In an asynchronous world a timer may go off whenever: which one does is a choice,
 * and the clock then shows at least the time that it was set for.
 */
import type { Clock, Timer } from "../../src/base/environment.ts";

export interface SetTimer {
  readonly id: string;
  readonly delayMs: number;
  readonly dueMs: number;
  /** What its process was at when it was set: the link or timer that it had heard of. */
  readonly origin: string;
  readonly callback: () => void;
}

export class SimulatedClock implements Clock {
  readonly timers = new Map<string, SetTimer>();
  /** Names what happens in the process now. */
  origin = "start";
  #nowMs = 0;
  readonly #wallMs: number;

  /** `wallMs`: the wall time at its start, which never is that of an earlier one. */
  constructor(wallMs: number) {
    this.#wallMs = wallMs;
  }

  wallMs(): number {
    return this.#wallMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, callback: () => void): Timer {
    const { origin } = this;
    const name = `${Math.round(delayMs)}ms/${origin}`;
    let id = name;
    for (let count = 2; this.timers.has(id); count += 1) id = `${name}#${count}`;
    const due = { id, delayMs, dueMs: this.#nowMs + delayMs, origin, callback };
    this.timers.set(id, due);
    return { cancel: () => void this.timers.delete(id) };
  }

  fire(id: string): void {
    const { dueMs, origin, callback } = this.timers.get(id)!;
    this.timers.delete(id);
    this.#nowMs = Math.max(this.#nowMs, dueMs);
    this.origin = origin;
    callback();
  }

  /** All that can matter for what comes, as text. */
  fingerprint(): string {
    return `${this.#nowMs}|${[...this.timers.values()].map(({ id, dueMs }) => `${id}@${dueMs - this.#nowMs}`).sort()}`;
  }
}
