/** The real clock and the real randomness. */
import { randomBytes } from "node:crypto";
import type { Environment } from "../base/environment.ts";

export const systemEnvironment: Environment = {
  clock: {
    wallMs: () => Date.now(),
    monotonicMs: () => performance.now(),
    after(delayMs, callback) {
      const timer = setTimeout(callback, delayMs);
      return { cancel: () => clearTimeout(timer) };
    },
  },
  random: {
    bytes: (count) => randomBytes(count),
    fraction: () => Math.random(),
  },
};
