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

/** For the branch a total `switch` can never reach. */
export function unreachable(value: never): never {
  throw new InvariantError(`unreachable: ${JSON.stringify(value)}`);
}
