import assert from "node:assert/strict";
import { test } from "node:test";
import { type GrowthFigures, pointsOf } from "../../bench/growth/figures.ts";
import { growthPictures } from "../../bench/growth/picture.ts";
import { DIMENSIONS, type DimensionName, valueWords } from "../../bench/growth/plan.ts";
import { growthMarkdown } from "../../bench/growth/report.ts";
import type { Round } from "../../bench/stats.ts";

const round = (tps: number, cpuUsPerTransaction: number | null): Round => ({
  tps,
  p50Ms: 1,
  p95Ms: 2,
  p99Ms: 3,
  p999Ms: 4,
  cpuUsPerTransaction,
  loadCpuUsPerTransaction: null,
});

const dimension = (name: DimensionName) => DIMENSIONS.find((one) => one.name === name)!;

/** Rounds of a contender, a third slower and a third faster than the one in the middle. */
const rounds = (tps: number, cpuUs: number | null): Round[] =>
  [0.7, 1, 1.3].map((factor) => round(tps * factor, cpuUs === null ? null : cpuUs / factor));

const CLIENTS = {
  ...dimension("clients"),
  points: [1, 4, 16].flatMap((value) =>
    pointsOf(
      value,
      new Map([
        ["direct", rounds(1000 * value, null)],
        ["pgxa", rounds(800 * value, 20)],
      ]),
    ),
  ),
};

const FIGURES: GrowthFigures = {
  machine: {
    date: "2026-01-02",
    cores: 2,
    cpu: "Example CPU",
    memoryGib: 8,
    node: "26.0.0",
    postgres: "18.4",
    pgbench: "15.1",
    pgbouncer: null,
  },
  rounds: 3,
  secondsPerRound: 1,
  workers: 2,
  dimensions: [CLIENTS],
  leftOut: ["pgbouncer & its friends are missing"],
};

/** Throws unless every element that begins ends, in its order, and nothing else has a `<` or a bare `&`. */
function requireWellFormed(xml: string): void {
  const open: string[] = [];
  const rest = xml.replaceAll(
    /<(\/?)([a-z]+)((?: [\w:-]+="[^"<]*")*)(\/?)>/gi,
    (_, closing, name, _attributes, isEmpty) => {
      if (closing === "/") assert.equal(open.pop(), name);
      else if (isEmpty === "") open.push(name);
      return "";
    },
  );
  assert.deepEqual(open, []);
  assert.doesNotMatch(rest, /[<>]|&(?!(amp|lt|gt);)/);
}

test("the figures of a value are medians with the slowest and the fastest round", () => {
  assert.deepEqual(pointsOf(4, new Map([["pgxa", [round(10, 5), round(30, 4), round(20, 9)]]])), [
    {
      contender: "pgxa",
      value: 4,
      perSecond: { median: 20, min: 10, max: 30 },
      cpuUs: { median: 5, min: 4, max: 9 },
    },
  ]);
  assert.deepEqual(pointsOf(4, new Map([["direct", [round(10, null)]]]))[0]!.cpuUs, null);
  assert.deepEqual(pointsOf(4, new Map([["pgxa", []]])), []);
});

test("a picture of growth has a point for each figure, and a line and a band for each contender", () => {
  const [picture, ...others] = growthPictures(FIGURES);
  assert.deepEqual([picture!.file, others], ["growth-clients.svg", []]);
  const { svg } = picture!;
  requireWellFormed(svg);
  assert.equal(svg.match(/<circle /g)?.length, 3 + 3 + 3);
  assert.equal(svg.match(/<polyline /g)?.length, 2 + 1);
  assert.equal(svg.match(/<polygon /g)?.length, 2 + 1);
  for (const words of [
    "How the cost grows with clients",
    "transactions per second",
    "µs",
    "median of 3 rounds",
  ])
    assert.ok(svg.includes(words), words);
  assert.doesNotMatch(svg, /NaN|Infinity|undefined|null/);
});

/** Where the marks of the values stand in the left half of a picture. */
const marksOf = (svg: string): number[] =>
  [...svg.matchAll(/<line x1="([\d.]+)" x2="\1"/g)].map(([, x]) => Number(x)).filter((x) => x < 500);

test("what grows by factors has a logarithmic axis, and what does not a linear one", () => {
  const [first, second, third] = marksOf(growthPictures(FIGURES)[0]!.svg);
  assert.equal(second! - first!, third! - second!);
  const linear = { ...CLIENTS, growsByFactors: false };
  const [one, four, sixteen] = marksOf(growthPictures({ ...FIGURES, dimensions: [linear] })[0]!.svg);
  assert.ok(Math.abs((sixteen! - one!) / (four! - one!) - 5) < 0.01);
});

test("a picture can be drawn of one point, of figures of nothing, and of names with XML's own characters", () => {
  const points = [
    {
      contender: "a < b & c",
      value: 10_000,
      perSecond: { median: 0, min: 0, max: 0 },
      cpuUs: { median: 0, min: 0, max: 0 },
    },
  ];
  const [picture] = growthPictures({ ...FIGURES, dimensions: [{ ...dimension("rows"), points }] });
  requireWellFormed(picture!.svg);
  assert.match(picture!.svg, />10 KB</);
  assert.doesNotMatch(picture!.svg, /NaN|Infinity/);
});

test("there is no picture of a dimension that nobody took part in, and the report says so", () => {
  const figures = { ...FIGURES, dimensions: [CLIENTS, { ...dimension("shards"), points: [] }] };
  assert.equal(growthPictures(figures).length, 1);
  assert.match(growthMarkdown(figures), /## With shards\n\nNobody took part\.\n/);
});

test("the report of growth has a table and a picture for each dimension, and what was left out", () => {
  const text = growthMarkdown(FIGURES);
  assert.match(
    text,
    /^# How the cost grows\n\n2 × Example CPU, .*pgxa with workers: 2\. Medians of 3 rounds of 1 s/,
  );
  assert.match(text, /!\[How the cost grows with clients\]\(growth-clients\.svg\)/);
  assert.match(text, /\| +4 \| pgxa +\| +3,200 \| +2,240 – 4,160 \| +20\.0 \| +15\.4 – 28\.6 \|/);
  assert.match(text, /- Left out: pgbouncer & its friends are missing\n$/);
});

test("values have their unit", () => {
  const words = dimension("rows").values.map((value) => valueWords({ name: "rows" }, value));
  assert.deepEqual(words, ["10 B", "1 KB", "10 KB", "100 KB"]);
  assert.equal(valueWords({ name: "clients" }, 256), "256");
});
