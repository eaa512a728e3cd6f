// Pure.
/** The results of a run of the commit case. */
import type { Machine } from "../machine.ts";
import type { Row } from "../stats.ts";
import type { Cell, Flush } from "./plan.ts";

export interface CellFigures extends Cell {
  readonly flush: Flush;
  readonly rows: readonly Row[];
}

export interface CommitFigures {
  readonly machine: Machine;
  readonly rounds: number;
  readonly secondsPerRound: number;
  readonly cells: readonly CellFigures[];
  readonly leftOut: readonly string[];
}

/** Median throughput of a contender; null if it has no row. */
export function tpsOf({ rows }: CellFigures, contender: string): number | null {
  return rows.find((row) => row.contender === contender)?.tps.median ?? null;
}

/** How many times as fast `one` is as `other`; null if either has no row. */
export function ratio(cell: CellFigures, one: string, other: string): number | null {
  const [own, theirs] = [tpsOf(cell, one), tpsOf(cell, other)];
  return own === null || theirs === null || theirs === 0 ? null : own / theirs;
}
