// Pure.
/** What a run has to show: for each fault how often it was made, what became of the transfers, and how long it took. */
import type { Counts } from "./ledger.ts";

export interface FaultFigures {
  readonly name: string;
  readonly about: string;
  times: number;
  readonly counts: Counts;
  inconsistencies: number;
  /** From when all was up again to when nothing was left that had been prepared before; the longest, in ms. */
  resolvedMsMax: number;
}

export interface Summary {
  readonly log: string;
  readonly seed: number;
  readonly minutes: number;
  readonly phases: number;
  readonly figures: readonly FaultFigures[];
  /** Faults that could not be made, and why. */
  readonly leftOut: readonly string[];
}

export function add(to: Counts, counts: Counts): void {
  to.committed += counts.committed;
  to.aborted += counts.aborted;
  to.unknown += counts.unknown;
}

export const sumOf = ({ committed, aborted, unknown }: Counts): number => committed + aborted + unknown;

const HEAD = [
  "| fault | times | transfers | committed | aborted | unknown | inconsistencies | resolved, at the latest |",
  "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
];

export function table({ figures }: Summary): string {
  const total: FaultFigures = {
    name: "all",
    about: "",
    times: 0,
    counts: { committed: 0, aborted: 0, unknown: 0 },
    inconsistencies: 0,
    resolvedMsMax: 0,
  };
  for (const one of figures) {
    total.times += one.times;
    add(total.counts, one.counts);
    total.inconsistencies += one.inconsistencies;
    total.resolvedMsMax = Math.max(total.resolvedMsMax, one.resolvedMsMax);
  }
  return [...HEAD, ...[...figures, total].map(row)].join("\n");
}

function row({ name, times, counts, inconsistencies, resolvedMsMax }: FaultFigures): string {
  const cells = [
    name,
    times === 0 ? "" : count(times),
    count(sumOf(counts)),
    count(counts.committed),
    count(counts.aborted),
    count(counts.unknown),
    count(inconsistencies),
    times === 0 ? "" : `${(resolvedMsMax / 1000).toFixed(1)} s`,
  ];
  return `| ${cells.join(" | ")} |`;
}

export const count = (value: number): string => value.toLocaleString("en-US");
