// Pure.
/** What the deadlock case found, and its words. */

export interface DeadlockFigures {
  /** From the moment the circle was closed to the victim's error. */
  readonly circles: readonly {
    readonly contender: string;
    readonly size: number;
    readonly circles: number;
    readonly p50Ms: number;
    readonly p99Ms: number;
    readonly maxMs: number;
  }[];
  readonly calmTransfers: number;
  /** How often a shard was asked during transfers that waited for nobody. */
  readonly calmProbes: number;
  readonly waitingSessions: number;
  /** The median time of one look at a shard with that many waiting sessions. */
  readonly probeMs: number;
}

/** The rows of a table, its head first. */
export function circleRows({ circles }: DeadlockFigures): readonly (readonly string[])[] {
  const head = ["contender", "members", "circles", "p50 ms", "p99 ms", "max ms"];
  return [
    head,
    ...circles.map(({ contender, size, circles: count, p50Ms, p99Ms, maxMs }) => [
      contender,
      String(size),
      String(count),
      ...[p50Ms, p99Ms, maxMs].map((value) => value.toFixed(0)),
    ]),
  ];
}

export const costLines = ({ calmTransfers, calmProbes, waitingSessions, probeMs }: DeadlockFigures): string =>
  `${calmProbes} probes during ${calmTransfers} transfers that waited for nobody. ` +
  `A probe of a shard with ${waitingSessions} waiting sessions takes ${probeMs.toFixed(1)} ms (median).`;
