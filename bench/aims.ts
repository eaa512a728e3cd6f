// Pure.
/** What pgxa is to reach in a run of the bench, and what it has reached. */
import { addedLatencies } from "./latencyAdded.ts";
import type { Results } from "./report.ts";
import type { Row } from "./stats.ts";

export interface Aim {
  readonly case: string;
  readonly what: string;
  readonly aim: string;
  readonly measured: number;
  readonly isMet: boolean;
}

const ADDED_MAX = 1.2;
const IDLE_KIB_MAX = 25;
const STREAM_MIN = 0.9;
const ROUTED_MIN = 0.9;
/** A stream may leave that much more resident than there was before it. */
const STREAM_GROWN_MIB_MAX = 16;
const RENAMED = /prepared|extended/;
const PASSED_US_MAX = 11;
const RENAMED_US_MAX = 13;

/** Those for which there are figures. */
export function aimsOf({ rows, streams, idle }: Pick<Results, "rows" | "streams" | "idle">): readonly Aim[] {
  return [
    ...rows.filter(({ contender }) => contender === "pgxa").flatMap((row) => againstBouncer(row, rows)),
    ...rows
      .filter(({ contender, ratioTo }) => contender === "pgxa 3 shards" && ratioTo["pgxa"] !== undefined)
      .map((row) => atLeast(row.case, "throughput to one shard's", ROUTED_MIN, row.ratioTo["pgxa"]!)),
    ...addedLatencies(rows)
      .filter(({ contender, toPgbouncer }) => contender === "pgxa" && toPgbouncer !== null)
      .map((one) => atMost(one.case, "added latency to PgBouncer's", ADDED_MAX, one.toPgbouncer!)),
    ...streams.rows
      .filter(({ contender, ratioTo }) => contender === "pgxa" && ratioTo["pgbouncer"] !== undefined)
      .map((row) => atLeast(row.case, "rate to PgBouncer's", STREAM_MIN, row.ratioTo["pgbouncer"]!)),
    ...streams.memory
      .filter(({ contender }) => contender === "pgxa")
      .map((one) => atMost(one.case, "grown MiB", STREAM_GROWN_MIB_MAX, one.grownMib)),
    ...idle
      .filter(({ contender }) => contender === "pgxa")
      .map((one) => atMost("idle", "KiB for each client", IDLE_KIB_MAX, one.usedKib)),
  ];
}

function againstBouncer(row: Row, rows: readonly Row[]): readonly Aim[] {
  const bouncer = rows.find((one) => one.case === row.case && one.contender === "pgbouncer");
  const ratio = row.ratioTo["pgbouncer"];
  const least = leastOf(row.case);
  if (least === null) return [];
  const isLogin = row.case.startsWith("connect");
  return [
    ...(ratio === undefined ? [] : [atLeast(row.case, "throughput to PgBouncer's", least, ratio)]),
    ...(bouncer === undefined || isLogin || bouncer.p99Ms === 0
      ? []
      : [atMost(row.case, "p99 to PgBouncer's", 1, row.p99Ms / bouncer.p99Ms)]),
    ...(isLogin || !row.case.startsWith("select") || row.clients === 1 || row.cpuUsPerTransaction === null
      ? [] // a lone client's transactions are not read together, and cost more system calls each
      : [
          atMost(
            row.case,
            "proxy µs/txn",
            RENAMED.test(row.case) ? RENAMED_US_MAX : PASSED_US_MAX,
            row.cpuUsPerTransaction,
          ),
        ]),
  ];
}

/** Of PgBouncer's throughput; null: there is no aim. */
function leastOf(name: string): number | null {
  if (name.startsWith("connect")) return 0.7;
  if (name.startsWith("select-extended")) return 1.3;
  return /^(select|tpcb)/.test(name) ? 1 : null;
}

const atLeast = (name: string, what: string, least: number, measured: number): Aim => ({
  case: name,
  what,
  aim: `≥ ${least}`,
  measured,
  isMet: measured >= least,
});

const atMost = (name: string, what: string, most: number, measured: number): Aim => ({
  case: name,
  what,
  aim: `≤ ${most}`,
  measured,
  isMet: measured <= most,
});

/** The rows of a table, its head first. */
export const aimRows = (aims: readonly Aim[]): readonly (readonly string[])[] => [
  ["case", "what", "aim", "measured", "met"],
  ...aims.map(({ case: name, what, aim, measured, isMet }) => [
    name,
    what,
    aim,
    measured.toFixed(2),
    isMet ? "yes" : "no",
  ]),
];
