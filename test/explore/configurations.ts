// Pure.
/** What is explored: who takes part, and which faults there may be. */
import type { BranchPlan } from "../world/simulatedProcess.ts";
import type { WorldOptions } from "../world/world.ts";

export interface Configuration {
  readonly name: string;
  readonly world: WorldOptions;
  /** The transaction that is committed. */
  readonly plan: readonly BranchPlan[];
}

export const writers = (count: number): readonly BranchPlan[] =>
  Array.from({ length: count }, (_, shard): BranchPlan => ({ shard, refuses: null }));
