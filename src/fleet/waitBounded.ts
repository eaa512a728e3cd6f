/** Waiting for another process that may be paused, or gone. */
import type { Clock } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";

/** What `answer` resolves to, but `late` if that takes longer than `timeoutMs`, and `gone` if nobody is there to answer. */
export async function waitBounded<Answer>(
  clock: Clock,
  timeoutMs: number,
  answer: Promise<Answer>,
): Promise<Answer | "late" | "gone"> {
  const { promise: late, resolve } = Promise.withResolvers<"late">();
  const timer = clock.after(timeoutMs, () => resolve("late"));
  const heard = answer.catch((error: unknown) => {
    if (error instanceof Fault && error.id === "fleet.gone") return "gone" as const;
    throw error;
  });
  try {
    return await Promise.race([heard, late]);
  } finally {
    timer.cancel();
  }
}
