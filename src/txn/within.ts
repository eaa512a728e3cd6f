/** Bounds a wait. What is waited for goes on by itself. */
import type { Clock } from "../base/environment.ts";

/** What `work` resolves with, or `late` if that takes longer than `timeoutMs`; rejects as `work` does. */
export function within<Result, Late>(
  clock: Pick<Clock, "after">,
  timeoutMs: number,
  work: Promise<Result>,
  late: Late,
): Promise<Result | Late> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(timeoutMs, () => resolve(late));
    work.then(resolve, reject).finally(() => timer.cancel());
  });
}
