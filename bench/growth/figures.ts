// Pure.
/** The results of a run of the growth case. */
import type { Machine } from "../machine.ts";
import type { Workers } from "../pgxa.ts";
import { median, type Round } from "../stats.ts";
import type { Dimension } from "./plan.ts";

/** Of a contender's rounds. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface GrowthPoint {
  readonly contender: string;
  /** Of what grows. */
  readonly value: number;
  /** What was counted, per second. */
  readonly perSecond: Spread;
  /** Processor time of the proxy for each that was counted, in µs; null where there is no proxy. */
  readonly cpuUs: Spread | null;
}

export interface DimensionFigures extends Dimension {
  readonly points: readonly GrowthPoint[];
}

export interface GrowthFigures {
  readonly machine: Machine;
  readonly rounds: number;
  readonly secondsPerRound: number;
  readonly workers: Workers;
  readonly dimensions: readonly DimensionFigures[];
  readonly leftOut: readonly string[];
}

/** A point for each contender that has rounds. */
export function pointsOf(value: number, roundsOf: ReadonlyMap<string, readonly Round[]>): GrowthPoint[] {
  return [...roundsOf]
    .filter(([, rounds]) => rounds.length > 0)
    .map(([contender, rounds]) => {
      const cpuUs = rounds.map((round) => round.cpuUsPerTransaction).filter((each) => each !== null);
      return {
        contender,
        value,
        perSecond: spreadOf(rounds.map((round) => round.tps)),
        cpuUs: cpuUs.length === 0 ? null : spreadOf(cpuUs),
      };
    });
}

/** The names of those that have points, each once, in the order of their first. */
export const contendersOf = ({ points }: DimensionFigures): readonly string[] => [
  ...new Set(points.map(({ contender }) => contender)),
];

const spreadOf = (values: readonly number[]): Spread => ({
  median: rounded(median(values)),
  min: rounded(Math.min(...values)),
  max: rounded(Math.max(...values)),
});

const rounded = (value: number): number => Number(value.toFixed(1));
