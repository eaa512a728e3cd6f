/**
 * The world as far as a protocol may see it: time and chance.
 *
 * Files marked *Pure.* and everything in `wire` and `routing` take what they need of it as an argument, so that
 * the simulator can drive the same code with a clock of its own.
 */

export interface Clock {
  /** Wall time in ms since 1970; may jump. For display and for names, never for measuring. */
  wallMs(): number;
  /** Monotonic time in ms; for measuring and for deadlines. */
  monotonicMs(): number;
  /** Calls back once after `delayMs`; the returned timer can be cancelled. */
  after(delayMs: number, callback: () => void): Timer;
}

export interface Timer {
  cancel(): void;
}

export interface Randomness {
  /** Cryptographically strong bytes. */
  bytes(count: number): Uint8Array;
  /** A number in [0, 1). For jitter only. */
  fraction(): number;
}

export interface Environment {
  readonly clock: Clock;
  readonly random: Randomness;
}
