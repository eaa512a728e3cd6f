// Pure.
/**
 * A histogram of durations that is nothing but numbers: adding to it costs a short search and three additions, so it may
 * stand on the path of every query. Prometheus gets it when it asks (admin/instruments.ts).
 */

/** Upper bounds in ms, from a local read to a minute; a longer duration falls into the last bucket, without bound. */
export const DURATION_BOUNDS_MS: readonly number[] = [
  0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000,
];

export class Buckets {
  readonly boundsMs: readonly number[];
  /** How many durations fell into each bucket; the last is that without bound. */
  readonly counts: Float64Array;
  sumMs = 0;

  /** `boundsMs` must ascend. */
  constructor(boundsMs: readonly number[] = DURATION_BOUNDS_MS) {
    this.boundsMs = boundsMs;
    this.counts = new Float64Array(boundsMs.length + 1);
  }

  observe(ms: number): void {
    const { boundsMs, counts } = this;
    let at = 0;
    while (at < boundsMs.length && ms > boundsMs[at]!) at += 1;
    counts[at]! += 1;
    this.sumMs += ms;
  }

  get count(): number {
    return this.counts.reduce((sum, count) => sum + count, 0);
  }
}
