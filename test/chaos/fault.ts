/**
 * A fault: what is done to which part, and how it is undone. A fault may only do what a world does that is bad and not
 * false: processes die or sleep, disks fill up, networks lose and delay. It damages no data.
 */
import type { SeededRandom } from "../sim/seededRandom.ts";
import type { ChaosStage } from "./chaosStage.ts";

export interface Strike {
  /** What was struck, for the protocol. */
  readonly what: string;
  /** Undoes it; afterwards the part works, or will by itself. */
  heal(): Promise<void>;
}

/** Parts that one phase strikes at most once: `pgxa 0`, `shard 2`, `network`. */
export type Part = string;

export interface Scene {
  readonly stage: ChaosStage;
  readonly random: SeededRandom;
  /** What another fault has struck in this phase. */
  readonly struck: Set<Part>;
}

export interface Fault {
  readonly name: string;
  readonly about: string;
  /** How long it lasts, in ms: at least and at most. */
  readonly lastsMs: readonly [number, number];
  /** Why it cannot be had on this stage; null if it can. */
  whyNot?(stage: ChaosStage): string | null;
  strike(scene: Scene): Promise<Strike>;
}

/** One of `count` parts that this phase has not struck; null if all are. */
export function choose({ random, struck }: Scene, kind: string, count: number): number | null {
  const free = Array.from({ length: count }, (_, i) => i).filter((i) => !struck.has(`${kind} ${i}`));
  if (free.length === 0) return null;
  const chosen = random.pick(free);
  struck.add(`${kind} ${chosen}`);
  return chosen;
}

export const nothing: Strike = { what: "nothing was left to strike", heal: async () => {} };

/** Does `work` again and again until it is stopped; a shard that is down meanwhile is no matter. */
export function repeatedly(work: () => Promise<unknown>, everyMs: number): () => Promise<void> {
  let isOver = false;
  const running = (async () => {
    while (!isOver) {
      await work().catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, everyMs).unref());
    }
  })();
  return async () => {
    isOver = true;
    await running;
  };
}
