// Pure.
/** Something that is done again and again. */
import type { Clock, Timer } from "./environment.ts";

/** Calls back each time `intervalMs` have passed since the last call was over, until it is cancelled. */
export function every(clock: Clock, intervalMs: number, callback: () => void): Timer {
  const schedule = (): Timer =>
    clock.after(intervalMs, () => {
      callback();
      if (!isCancelled) timer = schedule();
    });
  let isCancelled = false;
  let timer = schedule();
  return {
    cancel() {
      isCancelled = true;
      timer.cancel();
    },
  };
}
