// Pure.
/** The results of the commit case as a Markdown document. */
import { table, thousands } from "../report.ts";
import type { Row } from "../stats.ts";
import { aimRows } from "./aims.ts";
import { type CellFigures, type CommitFigures, ratio } from "./figures.ts";
import { ABOUT, C_PARALLEL, HANDWRITTEN } from "./names.ts";
import type { Flush } from "./plan.ts";
import { plotsOf } from "./plot.ts";

const FLUSH_WORDS: Readonly<Record<Flush, string>> = {
  disk: "On the disk as it is",
  slow: "With 1 ms added to every flush",
};

/** Ends with a newline. */
export function commitMarkdown(figures: CommitFigures): string {
  const flushes = [...new Set(figures.cells.map(({ flush }) => flush))];
  const parts = [
    "# Commits and aborts over several shards",
    machineLines(figures),
    contenderLines(figures),
    ...flushes.flatMap((flush) => flushParts(figures, flush)),
    figures.leftOut.map((line) => `- Left out: ${line}`).join("\n"),
  ];
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

function machineLines({ machine, rounds, secondsPerRound }: CommitFigures): string {
  const facts = `${machine.cores} × ${machine.cpu}, Node ${machine.node}, Postgres ${machine.postgres}`;
  const turns = `${rounds} round${rounds === 1 ? "" : "s"} of ${secondsPerRound} s for each contender, in turn`;
  return `${facts}; shards, proxy and load share the machine. Medians of ${turns}; p50 to p99.9 are medians of the rounds' own. A transaction
writes one row on each participant, each a Postgres server of its own. ${machine.date}`;
}

function contenderLines({ cells }: CommitFigures): string {
  const names = new Set(cells.flatMap(({ rows }) => rows.map((row) => row.contender.split(" · ")[0])));
  const lines = [...ABOUT]
    .filter(([name]) => names.has(name))
    .map(([name, about]) => `- **${name}**: ${about}`);
  return `${lines.join("\n")}\n\nWhat makes the load costs as much as what bears it: compare those in C with those in C.`;
}

function flushParts({ cells }: CommitFigures, flush: Flush): string[] {
  const mine = cells.filter((cell) => cell.flush === flush);
  const aims = aimRows(mine, flush);
  return [
    `## ${FLUSH_WORDS[flush]}`,
    aims.length === 0 ? "" : `With 2 participants; ✓ where the aim is reached.\n\n${table(aims)}`,
    plotsOf(cells)
      .filter((plot) => plot.flush === flush)
      .map(({ file, title }) => `![${title}](${file})`)
      .join("\n"),
    ...mine.map(cellPart),
  ];
}

function cellPart(cell: CellFigures): string {
  const { kind, participants, clients } = cell;
  const title = `### ${kind === "commits" ? "Commits" : "Aborts"}: ${participants} participants, ${clients} client${clients === 1 ? "" : "s"}`;
  if (cell.rows.length === 0) return `${title}\n\nNobody took part.`;
  const rows = kind === "commits" ? commitRows(cell) : abortRows(cell);
  return `${title}\n\n${table(rows)}`;
}

const HEAD = [
  "contender",
  "per second",
  "min – max",
  "p50 ms",
  "p95 ms",
  "p99 ms",
  "p99.9 ms",
  "proxy µs each",
  "load µs each",
];

function commitRows(cell: CellFigures): string[][] {
  return [
    [...HEAD, `of ${HANDWRITTEN}`, `of ${C_PARALLEL}`],
    ...cell.rows.map((row) => [
      ...cells(row),
      fixed(ratio(cell, row.contender, HANDWRITTEN)),
      fixed(ratio(cell, row.contender, C_PARALLEL)),
    ]),
  ];
}

/** Each beside the commits of the same contender. */
function abortRows(cell: CellFigures): string[][] {
  const commitsOf = (row: Row) => `${row.contender.split(" · ")[0]} · commit`;
  return [
    [...HEAD, "of its commits"],
    ...cell.rows.map((row) => [...cells(row), fixed(ratio(cell, row.contender, commitsOf(row)))]),
  ];
}

function cells(row: Row): string[] {
  return [
    row.contender,
    thousands(row.tps.median),
    `${thousands(row.tps.min)} – ${thousands(row.tps.max)}`,
    row.p50Ms.toFixed(2),
    row.p95Ms.toFixed(2),
    row.p99Ms.toFixed(2),
    row.p999Ms.toFixed(2),
    row.cpuUsPerTransaction?.toFixed(0) ?? "",
    row.loadCpuUsPerTransaction?.toFixed(0) ?? "",
  ];
}

const fixed = (value: number | null): string => value?.toFixed(2) ?? "";
