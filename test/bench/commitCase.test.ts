import assert from "node:assert/strict";
import { test } from "node:test";
import { aimRows } from "../../bench/commit/aims.ts";
import type { CellFigures, CommitFigures } from "../../bench/commit/figures.ts";
import { type Cell, type CommitChoice, cellsOf, type Flush } from "../../bench/commit/plan.ts";
import { plotsOf } from "../../bench/commit/plot.ts";
import { commitMarkdown } from "../../bench/commit/report.ts";
import { parseOptions, UsageError } from "../../bench/options.ts";
import { type Round, rowsOf } from "../../bench/stats.ts";

function choiceOf(...argv: string[]): CommitChoice {
  const options = parseOptions(["commit", ...argv]);
  assert.ok(options !== "help" && options.commit !== null);
  assert.deepEqual(options.cases, []);
  return options.commit;
}

const told = (cells: readonly Cell[]): string[] =>
  cells.map(({ kind, participants, clients }) => `${kind} ${participants} × ${clients}`);

test("the commit case runs a cross through its table", () => {
  assert.deepEqual(told(cellsOf(choiceOf())), [
    "commits 2 × 1",
    "commits 2 × 8",
    "commits 2 × 32",
    "commits 2 × 100",
    "aborts 2 × 8",
    "commits 5 × 8",
    "commits 10 × 8",
  ]);
});

test("the commit case runs all of its table if it is told to", () => {
  const cells = cellsOf(choiceOf("--full"));
  assert.equal(cells.filter(({ kind }) => kind === "commits").length, 12);
  assert.deepEqual(told(cells.filter(({ kind }) => kind === "aborts")), [
    "aborts 2 × 8",
    "aborts 5 × 8",
    "aborts 10 × 8",
  ]);
});

test("the commit case runs what is chosen", () => {
  const choice = choiceOf("--clients", "4", "--participants", "3,6", "--log", "shard", "--flush", "slow");
  assert.deepEqual([choice.logs, choice.flushes], [["shard"], ["slow"]]);
  assert.deepEqual(told(cellsOf({ ...choice, kinds: ["commits"] })), ["commits 3 × 4", "commits 6 × 4"]);
  assert.deepEqual(told(cellsOf(choiceOf("--participants", "5", "--ending", "aborts"))), ["aborts 5 × 8"]);
  assert.deepEqual(told(cellsOf(choiceOf("--quick"))), ["commits 2 × 8", "aborts 2 × 8"]);
});

for (const argv of [
  ["commit", "--participants", "1"],
  ["commit", "--participants", "17"],
  ["commit", "--log", "etcd"],
  ["commit", "--clients", "1,none"],
  ["commit", "transfer", "--clients", "1,8"],
  ["transfer", "--full"],
]) {
  test(`${argv.join(" ")} is refused`, () => {
    assert.throws(() => parseOptions(argv), UsageError);
  });
}

const round = (tps: number, p99Ms: number): Round => ({
  tps,
  p50Ms: 1,
  p95Ms: 2,
  p99Ms,
  p999Ms: 2 * p99Ms,
  cpuUsPerTransaction: null,
  loadCpuUsPerTransaction: null,
});

function cell(flush: Flush, clients: number, kind: Cell["kind"], tpsOf: Record<string, number>): CellFigures {
  const rounds = new Map(Object.entries(tpsOf).map(([name, tps]) => [name, [round(tps, 1000 / tps)]]));
  return { kind, participants: 2, clients, flush, rows: rowsOf("commit", clients, rounds) };
}

const CELLS = [
  cell("disk", 1, "commits", {
    "hand-written": 100,
    "pgxa file": 120,
    "c parallel": 200,
    "c pgxa file": 150,
  }),
  cell("disk", 8, "commits", {
    "hand-written": 400,
    "pgxa file": 400,
    "c parallel": 800,
    "c pgxa file": 640,
  }),
  cell("disk", 8, "aborts", { "pgxa file · commit": 100, "pgxa file · rollback": 200 }),
];

test("aims are told with what was reached, and marked where it is enough", () => {
  assert.deepEqual(aimRows(CELLS, "disk"), [
    ["ratio", "aim", "1 client", "8 clients"],
    ["throughput of pgxa file, of hand-written", "≥ 1.1", "1.20 ✓", "1.00"],
    ["p99 of pgxa file, of hand-written", "≤ 1", "0.83 ✓", "1.00 ✓"],
    ["throughput of c pgxa file, of c parallel", "≥ 0.8", "0.75", "0.80 ✓"],
    ["throughput of pgxa file · rollback, of pgxa file · commit", "≥ 1.5", "", "2.00 ✓"],
  ]);
  assert.deepEqual(aimRows(CELLS, "slow"), []);
});

const FIGURES: CommitFigures = {
  machine: {
    date: "2026-01-02",
    cores: 2,
    cpu: "Example CPU",
    memoryGib: 8,
    node: "26.0.0",
    postgres: "18.4",
    pgbench: null,
    pgbouncer: null,
  },
  rounds: 5,
  secondsPerRound: 1,
  cells: CELLS,
  leftOut: ["Citus is not installed"],
};

test("the report has a table for each cell, its ratios, its pictures, and what was left out", () => {
  const text = commitMarkdown(FIGURES);
  assert.match(text, /## On the disk as it is/);
  assert.match(text, /### Commits: 2 participants, 1 client\n/);
  assert.match(text, /\| c pgxa file +\| +640 \|.* 1\.60 \| +0\.80 \|/);
  assert.match(text, /\| pgxa file · rollback +\| +200 \|.* 2\.00 \|/);
  assert.match(text, /!\[Commits per second over clients, 2 participants\]\(commit-clients-disk\.svg\)/);
  assert.doesNotMatch(text, /1 ms added/);
  assert.match(text, /- Left out: Citus is not installed\n$/);
});

test("a picture has a line for each contender, and there is none of a single point", () => {
  const plots = plotsOf(CELLS);
  assert.deepEqual(
    plots.map(({ file }) => file),
    ["commit-clients-disk.svg"],
  );
  const { svg } = plots[0]!;
  assert.equal(svg.match(/<polyline /g)?.length, 4);
  assert.equal(svg.match(/<circle /g)?.length, 8);
  assert.match(svg, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
});
