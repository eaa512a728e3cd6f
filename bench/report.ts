// Pure.
/**
 * The result of a run as a Markdown document: one table, medians with their spread, ratios, and what the run
 * was made on. The same text is printed and kept as `latest.md`.
 */
import { aimRows, aimsOf } from "./aims.ts";
import type { ConservationFigures } from "./conservation.ts";
import { circleRows, costLines, type DeadlockFigures } from "./deadlockFigures.ts";
import { type FairnessFigures, fairnessWords, tenantRows } from "./fairnessFigures.ts";
import { IDLE_WORDS, type IdleFigures, idleRows } from "./idleFigures.ts";
import { addedLatencies, addedRows } from "./latencyAdded.ts";
import type { Machine } from "./machine.ts";
import type { Workers } from "./pgxa.ts";
import type { Row } from "./stats.ts";
import { type StreamFigures, streamRows, streamWords } from "./streamFigures.ts";

export interface Results {
  readonly machine: Machine;
  readonly rounds: number;
  readonly secondsPerRound: number;
  /** How many processes each pgxa was. Older results lack it: one. */
  readonly workers?: Workers;
  readonly rows: readonly Row[];
  /** Null if the case was not run. */
  readonly conservation: ConservationFigures | null;
  /** Null if the case was not run. */
  readonly deadlocks: DeadlockFigures | null;
  /** Null if the case was not run. */
  readonly fairness: FairnessFigures | null;
  /** Empty if the case was not run. */
  readonly idle: readonly IdleFigures[];
  /** Without rows if none of the cases was run. */
  readonly streams: StreamFigures;
  /** Contenders that were left out, and why. */
  readonly leftOut: readonly string[];
}

type Made = Pick<Results, "machine" | "rounds" | "secondsPerRound" | "workers">;

const HEAD = [
  "case",
  "clients",
  "contender",
  "tps (median)",
  "tps (min – max)",
  "p50 ms",
  "p95 ms",
  "p99 ms",
  "proxy µs/txn",
  "load µs/txn",
  "ratio to",
];

/** The whole document; ends with a newline. */
export function markdown(results: Results): string {
  const parts = [
    "# Benchmark results",
    machineLines(results),
    results.rows.length === 0 ? "" : table([HEAD, ...results.rows.map(cells)]),
    addedLatencies(results.rows).length === 0 ? "" : addedLines(results.rows),
    results.streams.rows.length === 0 ? "" : streamLines(results.streams),
    results.idle.length === 0 ? "" : idleLines(results.idle),
    aimsOf(results).length === 0 ? "" : `## Aims\n\n${table(aimRows(aimsOf(results)))}`,
    results.conservation === null ? "" : conservationLines(results.conservation),
    results.deadlocks === null ? "" : deadlockLines(results.deadlocks),
    results.fairness === null ? "" : fairnessLines(results.fairness),
    results.leftOut.map((line) => `- Left out: ${line}`).join("\n"),
  ];
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

/** What the figures were made on, and how. */
export function machineLines({ machine, rounds, secondsPerRound, workers = 1 }: Made): string {
  const facts = [
    `${machine.cores} × ${machine.cpu}`,
    `Node ${machine.node}`,
    `Postgres ${machine.postgres}`,
    machine.pgbench === null ? "" : `pgbench ${machine.pgbench}`,
    machine.pgbouncer === null ? "" : `PgBouncer ${machine.pgbouncer}`,
    workers === 1 ? "" : `pgxa with workers: ${workers}`,
  ];
  const turns = `${rounds} round${rounds === 1 ? "" : "s"} of ${secondsPerRound} s for each contender, in turn`;
  return `${facts.filter((fact) => fact !== "").join(", ")}. Medians of ${turns}. ${machine.date}`;
}

function cells(row: Row): string[] {
  return [
    row.case,
    String(row.clients),
    row.contender,
    thousands(row.tps.median),
    `${thousands(row.tps.min)} – ${thousands(row.tps.max)}`,
    row.p50Ms.toFixed(2),
    row.p95Ms.toFixed(2),
    row.p99Ms.toFixed(2),
    row.cpuUsPerTransaction?.toFixed(1) ?? "",
    row.loadCpuUsPerTransaction?.toFixed(1) ?? "",
    Object.entries(row.ratioTo)
      .map(([other, ratio]) => `${other} ${ratio.toFixed(2)}`)
      .join(", "),
  ];
}

function deadlockLines(figures: DeadlockFigures): string {
  const about = "From the moment the circle is closed to the victim's error.";
  return `## Deadlocks\n\n${about}\n\n${table(circleRows(figures))}\n\n${costLines(figures)}`;
}

const fairnessLines = (figures: FairnessFigures): string =>
  `## Fairness\n\n${fairnessWords(figures)}\n\n${table(tenantRows(figures))}`;

const addedLines = (rows: readonly Row[]): string =>
  `## Latency that a proxy adds for a lone client\n\n${table(addedRows(addedLatencies(rows)))}`;

const streamLines = (figures: StreamFigures): string =>
  `## Streams\n\n${streamWords(figures)}\n\n${table(streamRows(figures))}`;

const idleLines = (figures: readonly IdleFigures[]): string =>
  `## Idle clients\n\n${IDLE_WORDS}\n\n${table(idleRows(figures))}`;

function conservationLines(figures: ConservationFigures): string {
  const rows: [string, number][] = [
    ["transfers started", figures.started],
    ["at once", figures.clients],
    ["acknowledged", figures.acknowledged],
    ["refused or failed", figures.failed],
    ["of unknown outcome", figures.unknown],
    ["acknowledged but lost", figures.lost],
    ["reported failed but applied", figures.resurrected],
    ["applied on one shard only", figures.half],
    ["total before", figures.totalBefore],
    ["total after", figures.totalAfter],
    ["left prepared", figures.leftPrepared],
    ["totals read meanwhile", figures.totalsRead],
    ["of them between two COMMIT PREPARED", figures.totalsTorn],
  ];
  const body = rows.map(([what, value]) => [what, thousands(value)]);
  return `## Conservation of money\n\n${table([["figure", "value"], ...body])}`;
}

/** Rows of cells as an aligned Markdown table; the first row is the head. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(3, ...rows.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, column) => (isNumeric(cell) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!))).join(" | ")} |`;
  const rule = `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`;
  return [line(rows[0]!), rule, ...rows.slice(1).map(line)].join("\n");
}

function isNumeric(cell: string): boolean {
  return /^[\d.,]+( – [\d.,]+)?$/.test(cell);
}

export function thousands(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}
