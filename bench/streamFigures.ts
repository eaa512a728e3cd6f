// Pure.
/** What the stream cases found: rows in which a transaction is a megabyte, and what the proxies needed for it. */
import type { Row } from "./stats.ts";

/** Of one contender in one case, over all rounds. */
export interface StreamMemory {
  readonly case: string;
  readonly contender: string;
  /** The most that was resident while it streamed, in MiB. */
  readonly peakMib: number;
  /** By how much that is more than before the first round, in MiB. */
  readonly grownMib: number;
}

export interface StreamFigures {
  /** `tps` counts megabytes per second. */
  readonly rows: readonly Row[];
  /** Of those whose memory could be read. */
  readonly memory: readonly StreamMemory[];
  /** Of one round, in megabytes. */
  readonly megabytes: number;
}

export const NO_STREAMS: StreamFigures = { rows: [], memory: [], megabytes: 0 };

export const streamWords = ({ megabytes }: StreamFigures): string =>
  `${megabytes} MB in each round, to or from one client.`;

/** The rows of a table, its head first. */
export function streamRows({ rows, memory }: StreamFigures): readonly (readonly string[])[] {
  const head = [
    "case",
    "contender",
    "MB/s (median)",
    "MB/s (min – max)",
    "proxy µs/MB",
    "peak MiB",
    "grown MiB",
  ];
  return [
    [...head, "ratio to"],
    ...rows.map((row) => {
      const used = memory.find((one) => one.case === row.case && one.contender === row.contender);
      return [
        row.case,
        row.contender,
        row.tps.median.toFixed(0),
        `${row.tps.min.toFixed(0)} – ${row.tps.max.toFixed(0)}`,
        row.cpuUsPerTransaction?.toFixed(0) ?? "",
        used?.peakMib.toFixed(0) ?? "",
        used === undefined ? "" : Math.max(0, used.grownMib).toFixed(0),
        Object.entries(row.ratioTo)
          .map(([other, ratio]) => `${other} ${ratio.toFixed(2)}`)
          .join(", "),
      ];
    }),
  ];
}
