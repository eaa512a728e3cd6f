// Pure.
/**
 * Whether pgxa has become slower, dearer or larger since an earlier run, however fast the machine was each time.
 *
 * What is compared is not a figure but its ratio to the contender by which its case is measured (PgBouncer, else Postgres
 * itself, else the application's own commit), in the same run. A ratio is known no better than the rounds it is made
 * of: how much it may differ by chance is worked out from the spread of both runs, and only what has moved by more, and
 * by more than `TOLERANCE`, is said to have moved. Contenders take turns, so a machine that is slow for a while is slow
 * for the same round of both: what spreads is the ratio of rounds, where they are known.
 */
import type { Results } from "./report.ts";
import type { Row } from "./stats.ts";

export type What = "throughput" | "processor time" | "memory";

export interface Comparison {
  readonly case: string;
  readonly contender: string;
  /** To whom both ratios are. */
  readonly reference: string;
  readonly what: What;
  readonly before: number;
  readonly now: number;
  /** By which factor the ratio has to move either way to count. */
  readonly needed: number;
  /** `unclear`: the spread would hide even a large change. */
  readonly verdict: "better" | "worse" | "same" | "unclear";
}

export interface Comparisons {
  readonly compared: readonly Comparison[];
  /** What makes the two runs less alike, in sentences. */
  readonly remarks: readonly string[];
}

/** Less than this is nothing, however small the spread. */
const TOLERANCE = 0.05;
/** How many standard errors of the ratio. With 30 ratios, two would cry wolf in every second run. */
const ERRORS = 3;
/** Where a ratio has to move by more than this factor to count, that it has not says nothing. */
const UNCLEAR_FROM = 1.5;
/** In the order of preference. */
const REFERENCES = ["pgbouncer", "direct", "handwritten", "pgxa"] as const;
/** The relative standard deviation that is assumed of what was measured once. */
const UNKNOWN_DEVIATION = 0.05;
/** The expected range of so many values of a normal distribution, in standard deviations. */
const RANGES = [0, 0, 1.128, 1.693, 2.059, 2.326, 2.534, 2.704, 2.847, 2.97, 3.078];
/** The error of a median is so much larger than that of a mean. */
const MEDIAN_FACTOR = 1.253;

/** One figure of one contender, with its relative standard error. */
interface Figure {
  readonly case: string;
  readonly contender: string;
  readonly what: What;
  readonly value: number;
  readonly error: number;
  /** Throughput of each round; empty where it is not known. */
  readonly each: readonly number[];
}

export function compareRuns(baseline: Results, current: Results): Comparisons {
  const [before, now] = [figuresOf(baseline), figuresOf(current)];
  const ours = now.filter(({ contender }) => contender.startsWith("pgxa"));
  return {
    compared: ours.map((figure) => compare(figure, before, now)).filter((one) => one !== null),
    remarks: remarks(baseline, current),
  };
}

export const hasWorsened = ({ compared }: Comparisons): boolean =>
  compared.some(({ verdict }) => verdict === "worse");

/** Null if one of the runs has nothing to compare with. */
function compare(figure: Figure, before: readonly Figure[], now: readonly Figure[]): Comparison | null {
  for (const reference of REFERENCES) {
    if (reference === figure.contender) return null;
    const four = [
      figure,
      of(now, figure, reference),
      of(before, figure, figure.contender),
      of(before, figure, reference),
    ];
    if (four.some((one) => one === undefined || one.value <= 0)) continue;
    const [ours, theirs, oursThen, theirsThen] = four as [Figure, Figure, Figure, Figure];
    const ratios = { before: oursThen.value / theirsThen.value, now: ours.value / theirs.value };
    const error = Math.hypot(ratioError(ours, theirs), ratioError(oursThen, theirsThen));
    const needed = Math.exp(Math.max(Math.log(1 + TOLERANCE), ERRORS * error));
    const { case: name, contender, what } = figure;
    return {
      case: name,
      contender,
      reference,
      what,
      ...ratios,
      needed,
      verdict: verdict(what, ratios, needed),
    };
  }
  return null;
}

function verdict(
  what: What,
  { before, now }: { readonly before: number; readonly now: number },
  needed: number,
): Comparison["verdict"] {
  const factor = what === "throughput" ? now / before : before / now;
  if (factor > needed) return "better";
  if (factor < 1 / needed) return "worse";
  return needed > UNCLEAR_FROM ? "unclear" : "same";
}

/** The relative standard error of the ratio of two medians of one run. */
function ratioError(one: Figure, other: Figure): number {
  const count = one.each.length;
  if (count < 3 || count !== other.each.length || [...one.each, ...other.each].some((tps) => tps <= 0))
    return Math.hypot(one.error, other.error);
  const logs = one.each.map((tps, round) => Math.log(tps / other.each[round]!));
  const mean = logs.reduce((sum, log) => sum + log, 0) / count;
  const variance = logs.reduce((sum, log) => sum + (log - mean) ** 2, 0) / (count - 1);
  return (MEDIAN_FACTOR * Math.sqrt(variance)) / Math.sqrt(count);
}

const of = (figures: readonly Figure[], like: Figure, contender: string): Figure | undefined =>
  figures.find((one) => one.case === like.case && one.what === like.what && one.contender === contender);

/** Results that were written before a case existed lack its part. */
function figuresOf({ rows, streams, idle }: Partial<Results>): readonly Figure[] {
  return [
    ...[...(rows ?? []), ...(streams?.rows ?? [])].flatMap(figuresOfRow),
    ...(idle ?? []).map(
      ({ contender, usedKib }): Figure => ({
        case: "idle",
        contender,
        what: "memory",
        value: usedKib,
        error: UNKNOWN_DEVIATION,
        each: [],
      }),
    ),
  ];
}

function figuresOfRow(row: Row): readonly Figure[] {
  const named = { case: row.case, contender: row.contender, error: errorOf(row), each: row.tps.each ?? [] };
  const throughput: Figure = { ...named, what: "throughput", value: row.tps.median };
  if (row.cpuUsPerTransaction === null) return [throughput];
  // Of the same rounds; it spreads no more than they do.
  return [throughput, { ...named, what: "processor time", value: row.cpuUsPerTransaction }];
}

/** The relative standard error of a row's median, out of the range of its rounds. */
export function errorOf({ rounds, tps: { median, min, max } }: Pick<Row, "rounds" | "tps">): number {
  const range = RANGES[Math.min(rounds, RANGES.length - 1)]!;
  const deviation = range === 0 || median === 0 ? UNKNOWN_DEVIATION : (max - min) / median / range;
  return (MEDIAN_FACTOR * deviation) / Math.sqrt(Math.max(1, rounds));
}

function remarks(baseline: Results, current: Results): string[] {
  const facts = ["cores", "cpu", "postgres", "pgbouncer", "node"] as const;
  return facts
    .filter((fact) => baseline.machine[fact] !== current.machine[fact])
    .map((fact) => `${fact}: ${baseline.machine[fact]} then, ${current.machine[fact]} now.`);
}
