// Pure.
/** Which of the shards that a transaction wrote on gets its decision. */

interface Candidate {
  /** The place of its last write among all writes of the transaction. */
  readonly lastWrite: number;
  /** It cannot be prepared; the anchor is not. */
  readonly isObstructed?: boolean;
}

/**
 * One that cannot be prepared, if there is any. Else the one that was written to last: it answered a moment ago, and its
 * data is the least likely to have to be fetched. Of those that are not told apart, the last.
 */
export function chooseAnchor(writers: readonly Candidate[]): number {
  let best = 0;
  for (let i = 1; i < writers.length; i += 1) if (isBetter(writers[i]!, writers[best]!)) best = i;
  return best;
}

function isBetter(
  { lastWrite, isObstructed = false }: Candidate,
  { lastWrite: bestWrite, isObstructed: isBestObstructed = false }: Candidate,
): boolean {
  return isObstructed === isBestObstructed ? lastWrite >= bestWrite : isObstructed;
}
