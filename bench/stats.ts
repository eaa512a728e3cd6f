// Pure.
/**
 * From rounds to rows.
 *
 * A round is one contender's run of a few seconds. Contenders take turns (A B C A B C …), so that whatever the
 * machine does besides reaches all of them; a row is the median over a contender's rounds with the slowest and
 * the fastest beside it. A ratio compares medians of the same case in the same run and of nothing else.
 */

/** What a load generator reports of one round. */
export interface Measurement {
  readonly transactions: number;
  /** The time in which they were done, without connecting, in seconds. */
  readonly elapsedSeconds: number;
  /** The latency of each transaction, or of a sample of them, in ms and in no order. */
  readonly latenciesMs: readonly number[];
  /** Processor time of the load generator itself in µs; null where it is not known. */
  readonly loadCpuUs: number | null;
}

export interface Round {
  readonly tps: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  /** Processor time of the proxy for each transaction in µs; null where there is no proxy. */
  readonly cpuUsPerTransaction: number | null;
  readonly loadCpuUsPerTransaction: number | null;
}

export interface Row {
  readonly case: string;
  readonly contender: string;
  readonly clients: number;
  readonly rounds: number;
  readonly tps: {
    readonly median: number;
    readonly min: number;
    readonly max: number;
    /** Of each round, in order: the same round of two contenders ran close together. Older results lack it. */
    readonly each?: readonly number[];
  };
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly cpuUsPerTransaction: number | null;
  readonly loadCpuUsPerTransaction: number | null;
  /** This contender's median throughput divided by the other's, for each other contender of the case. */
  readonly ratioTo: Readonly<Record<string, number>>;
}

/** The smallest value that at least `fraction` of `sorted` (ascending) does not exceed; 0 of nothing. */
export function percentile(sorted: readonly number[], fraction: number): number {
  const rank = Math.max(1, Math.ceil(sorted.length * fraction));
  return sorted[rank - 1] ?? 0;
}

/** The middle value, or the mean of the two in the middle; 0 of nothing. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted(ascending);
  const middle = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[middle]!;
  return ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

/** `proxyCpuUs` is what the proxy used during the round, null where there is none. */
export function roundOf(measured: Measurement, proxyCpuUs: number | null): Round {
  const sorted = measured.latenciesMs.toSorted(ascending);
  const each = (cpuUs: number | null) =>
    cpuUs === null || measured.transactions === 0 ? null : cpuUs / measured.transactions;
  return {
    tps: measured.elapsedSeconds > 0 ? measured.transactions / measured.elapsedSeconds : 0,
    p50Ms: percentile(sorted, 0.5),
    p95Ms: percentile(sorted, 0.95),
    p99Ms: percentile(sorted, 0.99),
    p999Ms: percentile(sorted, 0.999),
    cpuUsPerTransaction: each(proxyCpuUs),
    loadCpuUsPerTransaction: each(measured.loadCpuUs),
  };
}

/** One row for each contender that has rounds, in the order given. */
export function rowsOf(
  caseName: string,
  clients: number,
  roundsOf: ReadonlyMap<string, readonly Round[]>,
): Row[] {
  const medians = new Map<string, number>();
  for (const [contender, rounds] of roundsOf) {
    if (rounds.length > 0) medians.set(contender, median(rounds.map((round) => round.tps)));
  }
  return [...medians.keys()].map((contender) => ({
    case: caseName,
    contender,
    clients,
    ...summary(roundsOf.get(contender)!),
    ratioTo: ratios(contender, medians),
  }));
}

function summary(rounds: readonly Round[]): Omit<Row, "case" | "contender" | "clients" | "ratioTo"> {
  const tps = rounds.map((round) => round.tps);
  return {
    rounds: rounds.length,
    tps: {
      median: rounded(median(tps), 1),
      min: rounded(Math.min(...tps), 1),
      max: rounded(Math.max(...tps), 1),
      each: tps.map((one) => rounded(one, 1)),
    },
    p50Ms: rounded(median(rounds.map((round) => round.p50Ms)), 3),
    p95Ms: rounded(median(rounds.map((round) => round.p95Ms)), 3),
    p99Ms: rounded(median(rounds.map((round) => round.p99Ms)), 3),
    p999Ms: rounded(median(rounds.map((round) => round.p999Ms)), 3),
    cpuUsPerTransaction: medianOrNull(rounds.map((round) => round.cpuUsPerTransaction)),
    loadCpuUsPerTransaction: medianOrNull(rounds.map((round) => round.loadCpuUsPerTransaction)),
  };
}

function ratios(contender: string, medians: ReadonlyMap<string, number>): Record<string, number> {
  const own = medians.get(contender)!;
  const others = [...medians].filter(([name, tps]) => name !== contender && tps > 0);
  return Object.fromEntries(others.map(([name, tps]) => [name, rounded(own / tps, 3)]));
}

function medianOrNull(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : rounded(median(known), 1);
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

function ascending(a: number, b: number): number {
  return a - b;
}
