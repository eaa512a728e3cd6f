/**
 * What must hold, checked in production too.
 *
 * A broken invariant means the process no longer knows what it is doing; going on could commit on a guess. So it
 * throws, nobody catches it on the way, the process exits, and recovery settles what was in doubt.
 */

export class InvariantError extends Error {
  override readonly name = "InvariantError";
}

/** Throws `InvariantError` with `sentence` unless `condition` holds. */
export function invariant(condition: unknown, sentence: string): asserts condition {
  if (!condition) throw new InvariantError(sentence);
}

/** The cell of a state machine's table that `event` leads to in `state`; throws `InvariantError` for one that must not. */
export function legal<Cell extends string>(
  cell: Cell,
  machine: string,
  event: string,
  state: string,
): Exclude<Cell, "illegal"> {
  // The sentence is made only when it is said.
  if (cell === "illegal") throw new InvariantError(`${machine}: ${event} while ${state}`);
  return cell as Exclude<Cell, "illegal">;
}

/** For the branch a total `switch` can never reach. */
export function unreachable(value: never): never {
  throw new InvariantError(`unreachable: ${JSON.stringify(value)}`);
}
