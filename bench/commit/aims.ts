// Pure.
/** What pgxa aims at in the commit case, as ratios within one run, and how far it is. */
import { type CellFigures, ratio } from "./figures.ts";
import { C_PARALLEL, CITUS, HANDWRITTEN } from "./names.ts";
import { type Flush, PARTICIPANTS_USUAL } from "./plan.ts";

interface Aim {
  readonly about: string;
  readonly one: string;
  readonly other: string;
  readonly of: "tps" | "p99Ms";
  /** By flush; a ratio of throughputs is to be no less, one of latencies no more. */
  readonly target: Readonly<Record<Flush, number>>;
}

const times = (one: string, other: string, disk: number, slow: number): Aim => ({
  about: `throughput of ${one}, of ${other}`,
  one,
  other,
  of: "tps",
  target: { disk, slow },
});

const noWorse = (one: string): Aim => ({
  about: `p99 of ${one}, of ${HANDWRITTEN}`,
  one,
  other: HANDWRITTEN,
  of: "p99Ms",
  target: { disk: 1, slow: 1 },
});

const COMMIT_AIMS: readonly Aim[] = [
  times("pgxa file", HANDWRITTEN, 1.1, 1.1),
  times("pgxa shard", HANDWRITTEN, 1.3, 1.3),
  noWorse("pgxa file"),
  noWorse("pgxa shard"),
  times("c pgxa file", C_PARALLEL, 0.8, 0.95),
  times("c pgxa shard", C_PARALLEL, 0.95, 1),
  times("c pgxa file", CITUS, 3, 3),
  times("c pgxa shard", CITUS, 3, 3),
];

const ABORT_AIMS: readonly Aim[] = ["pgxa file", "pgxa shard"].flatMap((name) =>
  ["rollback", "refused"].map((ending) => times(`${name} · ${ending}`, `${name} · commit`, 1.5, 1.5)),
);

/** Head and rows of a table, a column for each number of clients; no rows if nothing was measured. */
export function aimRows(cells: readonly CellFigures[], flush: Flush): string[][] {
  const usual = cells.filter((cell) => cell.flush === flush && cell.participants === PARTICIPANTS_USUAL);
  const clients = [...new Set(usual.map((cell) => cell.clients))].toSorted((a, b) => a - b);
  const rows = [...COMMIT_AIMS, ...ABORT_AIMS].map((aim) => {
    const values = clients.map((count) =>
      measuredOf(
        aim,
        usual.filter((cell) => cell.clients === count),
      ),
    );
    return { aim, values };
  });
  const measured = rows.filter(({ values }) => values.some((value) => value !== null));
  if (measured.length === 0) return [];
  return [
    ["ratio", "aim", ...clients.map((count) => `${count} client${count === 1 ? "" : "s"}`)],
    ...measured.map(({ aim, values }) => [
      aim.about,
      `${aim.of === "tps" ? "≥" : "≤"} ${aim.target[flush]}`,
      ...values.map((value) => told(value, aim, flush)),
    ]),
  ];
}

function measuredOf(aim: Aim, cells: readonly CellFigures[]): number | null {
  for (const cell of cells) {
    const value = aim.of === "tps" ? ratio(cell, aim.one, aim.other) : latencyRatio(cell, aim);
    if (value !== null) return value;
  }
  return null;
}

function latencyRatio({ rows }: CellFigures, { one, other }: Aim): number | null {
  const p99 = (name: string) => rows.find((row) => row.contender === name)?.p99Ms;
  const [own, theirs] = [p99(one), p99(other)];
  return own === undefined || theirs === undefined || theirs === 0 ? null : own / theirs;
}

function told(value: number | null, { of, target }: Aim, flush: Flush): string {
  if (value === null) return "";
  const isMet = of === "tps" ? value >= target[flush] : value <= target[flush];
  return `${value.toFixed(2)}${isMet ? " ✓" : ""}`;
}
