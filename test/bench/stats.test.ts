import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { median, percentile, type Round, roundOf, rowsOf } from "../../bench/stats.ts";

const round = (tps: number, cpuUsPerTransaction: number | null = null): Round => ({
  tps,
  p50Ms: 1,
  p95Ms: 2,
  p99Ms: 3,
  p999Ms: 4,
  cpuUsPerTransaction,
  loadCpuUsPerTransaction: null,
});

const numbers = fc.array(fc.integer({ min: 0, max: 1_000_000 }), { minLength: 1 });

test("a percentile is the smallest value that covers its part of all values", () => {
  fc.assert(
    fc.property(numbers, fc.double({ min: 0.01, max: 1, noNaN: true }), (values, fraction) => {
      const sorted = values.toSorted((a, b) => a - b);
      const found = percentile(sorted, fraction);
      const atMost = values.filter((value) => value <= found).length;
      const below = values.filter((value) => value < found).length;
      return atMost >= values.length * fraction && below < values.length * fraction;
    }),
  );
});

test("a median has as many values below it as above", () => {
  fc.assert(
    fc.property(numbers, (values) => {
      const middle = median(values);
      const below = values.filter((value) => value < middle).length;
      const above = values.filter((value) => value > middle).length;
      return below <= values.length / 2 && above <= values.length / 2;
    }),
  );
});

test("the median of an even number of values is the mean of the two in the middle", () => {
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.equal(median([]), 0);
  assert.equal(percentile([], 0.5), 0);
});

test("a round has throughput, percentiles and the proxy's time for each transaction", () => {
  const latenciesMs = Array.from({ length: 100 }, (_, index) => 100 - index);
  const measured = { transactions: 200, elapsedSeconds: 2, latenciesMs, loadCpuUs: null };
  assert.deepEqual(roundOf(measured, 5000), {
    tps: 100,
    p50Ms: 50,
    p95Ms: 95,
    p99Ms: 99,
    p999Ms: 100,
    cpuUsPerTransaction: 25,
    loadCpuUsPerTransaction: null,
  });
});

test("a round in which nothing was done has no throughput and no time for each transaction", () => {
  const measured = { transactions: 0, elapsedSeconds: 0, latenciesMs: [], loadCpuUs: 100 };
  const { tps, cpuUsPerTransaction, loadCpuUsPerTransaction } = roundOf(measured, 5000);
  assert.deepEqual([tps, cpuUsPerTransaction, loadCpuUsPerTransaction], [0, null, null]);
});

test("rows have the median, the spread, and ratios to every other contender", () => {
  const rows = rowsOf(
    "select",
    16,
    new Map([
      ["direct", [round(100), round(300), round(200)]],
      ["pgxa", [round(160, 30), round(150, 40), round(170, 50)]],
    ]),
  );
  assert.deepEqual(
    rows.map(({ contender, rounds, tps, ratioTo, cpuUsPerTransaction }) => ({
      contender,
      rounds,
      tps,
      ratioTo,
      cpuUsPerTransaction,
    })),
    [
      {
        contender: "direct",
        rounds: 3,
        tps: { median: 200, min: 100, max: 300, each: [100, 300, 200] },
        ratioTo: { pgxa: 1.25 },
        cpuUsPerTransaction: null,
      },
      {
        contender: "pgxa",
        rounds: 3,
        tps: { median: 160, min: 150, max: 170, each: [160, 150, 170] },
        ratioTo: { direct: 0.8 },
        cpuUsPerTransaction: 40,
      },
    ],
  );
});

test("a contender without a round has no row and no ratio", () => {
  const rows = rowsOf(
    "select",
    1,
    new Map([
      ["direct", [round(10)]],
      ["pgxa", []],
    ]),
  );
  assert.deepEqual(
    rows.map(({ contender, ratioTo }) => [contender, ratioTo]),
    [["direct", {}]],
  );
});
