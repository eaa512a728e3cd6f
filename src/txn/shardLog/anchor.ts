// Pure.
/** Which of the shards that a transaction wrote on gets its decision. */

/**
 * The one that was written to last: it answered a moment ago, and its data is the least likely to have to be fetched. Of
 * those that are not told apart, the last.
 */
export function chooseAnchor(writers: readonly { readonly lastWrite: number }[]): number {
  let best = 0;
  for (const [i, { lastWrite }] of writers.entries()) if (lastWrite >= writers[best]!.lastWrite) best = i;
  return best;
}
