/** How long the steps of two-phase commits took. */
import type { Clock } from "../base/environment.ts";
import { Buckets } from "../observe/buckets.ts";

/** All votes, the durable decision, all answers to COMMIT PREPARED. */
export type CommitStep = "prepare" | "decide" | "commit_prepared";

export class CommitTimes implements Readonly<Record<CommitStep, Buckets>> {
  readonly prepare = new Buckets();
  readonly decide = new Buckets();
  readonly commit_prepared = new Buckets();
  readonly #clock: Pick<Clock, "monotonicMs">;

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  nowMs(): number {
    return this.#clock.monotonicMs();
  }
}
