// Pure.
/**
 * Whether money was conserved: what the clients were told, held against what the shards have.
 *
 * Each transfer leaves a row on both shards. An acknowledged one must have both, a failed one none, one of
 * unknown outcome both or none; one row alone is half a transfer, the thing pgxa exists to prevent.
 */

/** What its client was told about a transfer. */
export type Outcome = "acknowledged" | "failed" | "unknown";

export interface ConservationFigures {
  readonly clients: number;
  readonly started: number;
  readonly acknowledged: number;
  readonly failed: number;
  readonly unknown: number;
  /** Acknowledged, but not on both shards. */
  readonly lost: number;
  /** Reported as failed, but on both shards. */
  readonly resurrected: number;
  /** On one shard only. */
  readonly half: number;
  readonly totalBefore: number;
  readonly totalAfter: number;
  readonly leftPrepared: number;
  /** Totals that were read over both shards while the transfers ran. */
  readonly totalsRead: number;
  /** Those of them that saw one shard before and the other after a commit; READ COMMITTED allows it. */
  readonly totalsTorn: number;
}

export type TransferFigures = Pick<
  ConservationFigures,
  "started" | "acknowledged" | "failed" | "unknown" | "lost" | "resurrected" | "half"
>;

/** `applied` has the ids of the transfers that each of the two shards holds. */
export function tally(
  outcomes: ReadonlyMap<number, Outcome>,
  applied: readonly ReadonlySet<number>[],
): TransferFigures {
  const parts = (id: number) => applied.filter((ids) => ids.has(id)).length;
  const count = (outcome: Outcome, test: (parts: number) => boolean = () => true) =>
    [...outcomes].filter(([id, told]) => told === outcome && test(parts(id))).length;
  return {
    started: outcomes.size,
    acknowledged: count("acknowledged"),
    failed: count("failed"),
    unknown: count("unknown"),
    lost: count("acknowledged", (on) => on < applied.length),
    resurrected: count("failed", (on) => on === applied.length),
    half: [...outcomes.keys()].filter((id) => parts(id) > 0 && parts(id) < applied.length).length,
  };
}

/** Whether nothing was lost, invented or left behind. */
export function isConserved(figures: ConservationFigures): boolean {
  const { lost, resurrected, half, leftPrepared, totalBefore, totalAfter } = figures;
  return lost + resurrected + half + leftPrepared === 0 && totalBefore === totalAfter;
}
