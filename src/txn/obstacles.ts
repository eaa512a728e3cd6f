// Pure.
/**
 * The obstacles to PREPARE that a transaction has met, and when they make its commit impossible.
 *
 * A savepoint undoes what it undoes in Postgres: a cursor, a notification. That temporary objects were touched it does
 * not undo: the branch remembers it to its end.
 */
import { isClosed, type Obstacle } from "../routing/prepareObstacle.ts";

interface Noted {
  readonly shard: number;
  readonly obstacle: Obstacle;
  /** How much of the transaction's script was there: it is undone by a return to less. */
  depth: number;
}

export class NotedObstacles {
  #noted: Noted[] = [];

  /** The first one on `shard`; null if there is none. */
  on(shard: number): Obstacle | null {
    return this.#noted.find((one) => one.shard === shard)?.obstacle ?? null;
  }

  note(shard: number, obstacle: Obstacle, depth: number): void {
    const isKnown = this.#noted.some(
      (one) => one.shard === shard && one.depth <= depth && isCovered(obstacle, one.obstacle),
    );
    if (!isKnown) this.#noted.push({ shard, obstacle, depth });
  }

  /** CLOSE of that cursor, or of all (null). */
  close(shard: number, cursor: string | null): void {
    this.#noted = this.#noted.filter((one) => one.shard !== shard || !isClosed(one.obstacle, cursor));
  }

  /** The savepoint that is entry `at` of the script is released: what came after it is undone with those before it. */
  release(at: number): void {
    for (const one of this.#noted) one.depth = Math.min(one.depth, at);
  }

  /** Back to the savepoint that is entry `at` of the script. */
  rollbackTo(at: number): void {
    this.#noted = this.#noted.filter(({ depth, obstacle }) => depth <= at || isLasting(obstacle));
    this.release(at + 1);
  }
}

const isLasting = ({ kind }: Obstacle): boolean => kind === "temporary object";

/** Whether `known` stays as long as `obstacle` would. */
const isCovered = (obstacle: Obstacle, known: Obstacle): boolean =>
  obstacle.kind === known.kind && obstacle.cursor === known.cursor;

/** A branch as it would be with the next statement. */
export interface ObstructedBranch {
  readonly isWriter: boolean;
  readonly isObstructed: boolean;
}

/**
 * How many branches would have to be prepared and cannot be; 0: the transaction can be committed. `spared`: of how many
 * writers the commit asks no PREPARE, which are chosen among these.
 */
export function unpreparable(branches: readonly ObstructedBranch[], spared: 0 | 1): number {
  const writers = branches.filter(({ isWriter }) => isWriter);
  if (writers.length < 2) return 0;
  return Math.max(0, writers.filter(({ isObstructed }) => isObstructed).length - spared);
}
