/** Randomness that a test chose. */
import type { Randomness } from "../../src/base/environment.ts";

/** Always the same bytes: those of `text`, repeated. */
export function scriptedRandom(text: string): Randomness {
  return {
    bytes: (count) => Buffer.alloc(count, text),
    fraction: () => 0.5,
  };
}
