/** Two runs side by side: what has moved, and what is only noise. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { compareRuns, errorOf, hasWorsened } from "../../bench/baseline.ts";
import { comparisonMarkdown } from "../../bench/baselineReport.ts";
import type { Results } from "../../bench/report.ts";
import type { Row } from "../../bench/stats.ts";
import { NO_STREAMS } from "../../bench/streamFigures.ts";
import "../support/compileCache.ts";

const RUN = join(import.meta.dirname, "../../bench/run.ts");

/** `spread`: how far the slowest and the fastest of the rounds are from the median, as a fraction of it. */
function row(contender: string, tps: number, spread = 0.02, cpuUs: number | null = null): Row {
  return {
    case: "select",
    contender,
    clients: 16,
    rounds: 5,
    tps: { median: tps, min: tps * (1 - spread), max: tps * (1 + spread) },
    p50Ms: 1,
    p95Ms: 2,
    p99Ms: 3,
    p999Ms: 4,
    cpuUsPerTransaction: cpuUs,
    loadCpuUsPerTransaction: null,
    ratioTo: {},
  };
}

function results(rows: readonly Row[], others: Partial<Results> = {}): Results {
  return {
    machine: {
      date: "2026-01-02",
      cores: 2,
      cpu: "Example CPU",
      memoryGib: 8,
      node: "26.0.0",
      postgres: "18.4",
      pgbench: "15.1",
      pgbouncer: "1.18.0",
    },
    rounds: 5,
    secondsPerRound: 3,
    rows,
    conservation: null,
    deadlocks: null,
    fairness: null,
    idle: [],
    streams: NO_STREAMS,
    leftOut: [],
    ...others,
  };
}

const verdicts = (before: Results, now: Results) =>
  compareRuns(before, now).compared.map(({ what, reference, verdict }) => [what, reference, verdict]);

describe("a comparison with a baseline", () => {
  const before = results([row("pgbouncer", 20_000), row("pgxa", 18_000)]);

  it("finds nothing in a machine that is half as fast", () => {
    const now = results([row("pgbouncer", 10_000), row("pgxa", 9_000)]);
    assert.deepEqual(verdicts(before, now), [["throughput", "pgbouncer", "same"]]);
    assert.equal(hasWorsened(compareRuns(before, now)), false);
  });

  it("finds what became slower beside its reference, although it is faster than it was", () => {
    const now = results([row("pgbouncer", 40_000), row("pgxa", 27_000)]);
    assert.deepEqual(verdicts(before, now), [["throughput", "pgbouncer", "worse"]]);
    assert.equal(hasWorsened(compareRuns(before, now)), true);
    assert.match(
      comparisonMarkdown(compareRuns(before, now)),
      /- WORSE: throughput of pgxa in select, −25\.0 % to pgbouncer/,
    );
  });

  it("finds what became faster", () => {
    const now = results([row("pgbouncer", 20_000), row("pgxa", 22_000)]);
    assert.deepEqual(verdicts(before, now), [["throughput", "pgbouncer", "better"]]);
  });

  it("says nothing of what rounds differ by among themselves", () => {
    const noisy = results([row("pgbouncer", 20_000, 0.3), row("pgxa", 18_000, 0.3)]);
    const now = results([row("pgbouncer", 20_000, 0.3), row("pgxa", 14_500, 0.3)]);
    assert.deepEqual(verdicts(noisy, now), [["throughput", "pgbouncer", "unclear"]]);
    assert.equal(hasWorsened(compareRuns(noisy, now)), false);
    assert.match(
      comparisonMarkdown(compareRuns(noisy, now)),
      /Of 1 of 1 ratios the spread is too large to tell/,
    );
    const much = results([row("pgbouncer", 20_000, 0.3), row("pgxa", 7_000, 0.3)]);
    assert.deepEqual(verdicts(noisy, much), [["throughput", "pgbouncer", "worse"]]);
  });

  it("is not led astray by a machine that was slow for some rounds, and for both in them", () => {
    const each = (factor: number) => [1, 0.5, 0.52, 1.02, 0.98].map((speed) => speed * factor);
    const of = (contender: string, tps: number): Row => {
      const one = row(contender, tps, 0.5);
      return { ...one, tps: { ...one.tps, each: each(tps) } };
    };
    const shaken = results([of("pgbouncer", 20_000), of("pgxa", 18_000)]);
    assert.deepEqual(verdicts(shaken, results([of("pgbouncer", 20_000), of("pgxa", 18_200)])), [
      ["throughput", "pgbouncer", "same"],
    ]);
    assert.deepEqual(verdicts(shaken, results([of("pgbouncer", 20_000), of("pgxa", 15_000)])), [
      ["throughput", "pgbouncer", "worse"],
    ]);
  });

  it("takes more processor time for worse", () => {
    const cheap = results([row("pgbouncer", 20_000, 0.02, 10), row("pgxa", 18_000, 0.02, 12)]);
    const dear = results([row("pgbouncer", 20_000, 0.02, 10), row("pgxa", 18_000, 0.02, 15)]);
    assert.deepEqual(verdicts(cheap, dear), [
      ["throughput", "pgbouncer", "same"],
      ["processor time", "pgbouncer", "worse"],
    ]);
    assert.deepEqual(verdicts(dear, cheap)[1], ["processor time", "pgbouncer", "better"]);
  });

  it("takes the reference that both runs have, and nothing where there is none", () => {
    const direct = results([row("direct", 30_000), row("pgxa", 18_000)]);
    const both = results([row("direct", 30_000), row("pgbouncer", 20_000), row("pgxa", 18_000)]);
    assert.deepEqual(verdicts(direct, both), [["throughput", "direct", "same"]]);
    assert.deepEqual(verdicts(results([row("pgxa", 18_000)]), both), []);
    assert.match(comparisonMarkdown({ compared: [], remarks: [] }), /Nothing was measured in both runs/);
  });

  it("holds pgxa with three shards against pgxa with one", () => {
    const then = results([row("pgxa", 20_000), row("pgxa 3 shards", 18_000)]);
    const now = results([row("pgxa", 20_000), row("pgxa 3 shards", 12_000)]);
    assert.deepEqual(verdicts(then, now), [["throughput", "pgxa", "worse"]]);
  });

  it("knows memory and streams, and results from before there were any", () => {
    const idle = (usedKib: number) => [
      { contender: "pgbouncer", clients: 5000, baseMib: 5, loggedInKib: 2, usedKib: 4 },
      { contender: "pgxa", clients: 5000, baseMib: 80, loggedInKib: 20, usedKib },
    ];
    const rows = [row("pgbouncer", 900), row("pgxa", 800)].map((one) => ({ ...one, case: "stream-result" }));
    const streams = { rows, memory: [], megabytes: 100 };
    const then = results([], { idle: idle(20), streams });
    assert.deepEqual(verdicts(then, results([], { idle: idle(40), streams })), [
      ["throughput", "pgbouncer", "same"],
      ["memory", "pgbouncer", "worse"],
    ]);
    const { idle: _idle, streams: _streams, ...old } = before;
    assert.deepEqual(verdicts(old as Results, then), []);
  });

  it("says that the machine or a program is another", () => {
    const now = { ...before, machine: { ...before.machine, cores: 8, pgbouncer: "1.25.0" } };
    assert.deepEqual(compareRuns(before, now).remarks, [
      "cores: 2 then, 8 now.",
      "pgbouncer: 1.18.0 then, 1.25.0 now.",
    ]);
  });

  it("knows a median of more rounds better", () => {
    const tps = { median: 100, min: 90, max: 110 };
    assert.ok(errorOf({ rounds: 10, tps }) < errorOf({ rounds: 5, tps }));
    assert.ok(errorOf({ rounds: 1, tps: { median: 100, min: 100, max: 100 } }) > 0.05);
  });
});

it("npm run bench -- --baseline ends with 1 if pgxa has become worse, and with 0 if not", () => {
  const home = mkdtempSync(join(tmpdir(), "pgxa-baseline-"));
  try {
    const keep = (name: string, tps: number): string => {
      const path = join(home, name);
      writeFileSync(path, JSON.stringify(results([row("pgbouncer", 20_000), row("pgxa", tps)])));
      return path;
    };
    const [then, slower, alike] = [keep("then", 18_000), keep("slower", 12_000), keep("alike", 18_100)];
    const run = (...args: string[]) => spawnSync(process.execPath, [RUN, ...args], { encoding: "utf8" });
    const worse = run("--baseline", then, "--results", slower);
    assert.equal(worse.status, 1, worse.stderr);
    assert.match(worse.stdout, /WORSE: throughput of pgxa in select/);
    const same = run("--baseline", then, "--results", alike);
    assert.equal(same.status, 0, same.stderr);
    assert.match(same.stdout, /Nothing moved: 1 ratios are the same/);
    assert.equal(run("--results", then).status, 2);
    assert.equal(run("--baseline", join(home, "missing"), "--results", then).status, 2);
  } finally {
    rmSync(home, { recursive: true });
  }
});
