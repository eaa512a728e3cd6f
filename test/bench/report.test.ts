import assert from "node:assert/strict";
import { test } from "node:test";
import { aimsOf } from "../../bench/aims.ts";
import { type CpuProfile, profileTable, selfTimes } from "../../bench/cpuProfile.ts";
import { flameGraph } from "../../bench/flameGraph.ts";
import { addedLatencies } from "../../bench/latencyAdded.ts";
import { markdown, table } from "../../bench/report.ts";
import { rowsOf } from "../../bench/stats.ts";
import { NO_STREAMS } from "../../bench/streamFigures.ts";

const machine = {
  date: "2026-01-02",
  cores: 2,
  cpu: "Example CPU",
  memoryGib: 8,
  node: "26.0.0",
  postgres: "18.4",
  pgbench: "15.1",
  pgbouncer: null,
};

test("a table's columns are aligned, numbers to the right", () => {
  const text = table([
    ["case", "tps"],
    ["select", "12,345"],
    ["tpcb", "9"],
  ]);
  assert.equal(
    text,
    ["| case   | tps    |", "| ------ | ------ |", "| select | 12,345 |", "| tpcb   |      9 |"].join("\n"),
  );
});

test("a report has medians, spread, ratios, the machine, and what was left out", () => {
  const round = {
    tps: 1234.5,
    p50Ms: 0.5,
    p95Ms: 1,
    p99Ms: 2,
    p999Ms: 3,
    cpuUsPerTransaction: 20.44,
    loadCpuUsPerTransaction: null,
  };
  const rows = rowsOf(
    "select",
    16,
    new Map([
      ["direct", [{ ...round, tps: 2469 }]],
      ["pgxa", [round]],
    ]),
  );
  const text = markdown({
    machine,
    rounds: 1,
    secondsPerRound: 3,
    rows,
    conservation: null,
    deadlocks: null,
    fairness: null,
    idle: [],
    streams: NO_STREAMS,
    leftOut: ["pgbouncer is missing"],
  });
  assert.match(text, /2 × Example CPU, Node 26\.0\.0, Postgres 18\.4, pgbench 15\.1\. /);
  assert.match(text, /\| pgxa +\| +1,235 \| +1,235 – 1,235 \| +0\.50 \| +1\.00 \| +2\.00 \| +20\.4 \|/);
  assert.match(text, /direct 0\.50 +\|\n/);
  assert.match(text, /- Left out: pgbouncer is missing\n$/);
});

test("what a proxy adds for a lone client is told beside what PgBouncer adds", () => {
  const round = {
    tps: 1,
    p95Ms: 1,
    p99Ms: 2,
    p999Ms: 3,
    cpuUsPerTransaction: null,
    loadCpuUsPerTransaction: null,
  };
  const rounds = new Map([
    ["direct", [{ ...round, p50Ms: 0.1 }]],
    ["pgbouncer", [{ ...round, p50Ms: 0.15 }]],
    ["pgxa", [{ ...round, p50Ms: 0.16 }]],
  ]);
  assert.deepEqual(addedLatencies([...rowsOf("select-1", 1, rounds), ...rowsOf("select", 16, rounds)]), [
    { case: "select-1", contender: "pgbouncer", addedUs: 50, toPgbouncer: 1 },
    { case: "select-1", contender: "pgxa", addedUs: 60, toPgbouncer: 1.2 },
  ]);
});

test("aims are told with what was measured of them, by case", () => {
  const round = {
    tps: 1000,
    p50Ms: 1,
    p95Ms: 1,
    p99Ms: 2,
    p999Ms: 3,
    cpuUsPerTransaction: 12,
    loadCpuUsPerTransaction: null,
  };
  const of = (name: string, ...pairs: [string, object][]) =>
    rowsOf(name, 16, new Map(pairs.map(([contender, other]) => [contender, [{ ...round, ...other }]])));
  const rows = [
    ...of("select", ["pgbouncer", {}], ["pgxa", { tps: 900, p99Ms: 1 }]),
    ...of("select-prepared", ["direct", {}], ["pgxa", {}]),
    ...of("connect-tls", ["pgbouncer", {}], ["pgxa", { tps: 800 }]),
    ...of("routed", ["pgxa", {}], ["pgxa 3 shards", { tps: 950 }]),
  ];
  const idle = [{ contender: "pgxa", clients: 5000, baseMib: 90, loggedInKib: 20, usedKib: 30 }];
  assert.deepEqual(
    aimsOf({ rows, streams: NO_STREAMS, idle }).map(({ case: name, what, aim, isMet }) => [
      name,
      what,
      aim,
      isMet,
    ]),
    [
      ["select", "throughput to PgBouncer's", "≥ 1", false],
      ["select", "p99 to PgBouncer's", "≤ 1", true],
      ["select", "proxy µs/txn", "≤ 11", false],
      ["select-prepared", "proxy µs/txn", "≤ 13", true],
      ["connect-tls", "throughput to PgBouncer's", "≥ 0.7", true],
      ["routed", "throughput to one shard's", "≥ 0.9", true],
      ["idle", "KiB for each client", "≤ 25", false],
    ],
  );
});

test("a flame graph has callees on their callers, as wide as they took time, and no idle time", () => {
  const frame = (functionName: string, url = "") => ({ functionName, url, lineNumber: 0 });
  const profile: CpuProfile = {
    nodes: [
      { id: 1, callFrame: frame("(root)"), children: [2, 3] },
      { id: 2, callFrame: frame("(idle)") },
      { id: 3, callFrame: frame("read", "file:///p/src/pool/read.ts"), children: [4] },
      { id: 4, callFrame: frame("write <&>") },
    ],
    samples: [2, 3, 4, 4, 4],
    timeDeltas: [9000, 1000, 1000, 1000, 1000],
  };
  const svg = flameGraph(profile, "file:///p/", "a title");
  assert.match(
    svg,
    /<title>read src\/pool\/read\.ts:1, 100\.0 %<\/title><rect x="10\.0" y="\d+" width="1180\.0"/,
  );
  assert.match(svg, /<title>write &lt;&amp;&gt;, 75\.0 %<\/title><rect x="10\.0" y="\d+" width="885\.0"/);
  assert.doesNotMatch(svg, /idle/);
});

test("self time is summed by function, without idle time", () => {
  const frame = (functionName: string, url = "", lineNumber = -1) => ({ functionName, url, lineNumber });
  const profile: CpuProfile = {
    nodes: [
      { id: 1, callFrame: frame("(idle)") },
      { id: 2, callFrame: frame("scan", "file:///p/src/wire/scan.ts", 9) },
      { id: 3, callFrame: frame("scan", "file:///p/src/wire/scan.ts", 9) },
      { id: 4, callFrame: frame("(garbage collector)") },
    ],
    samples: [1, 2, 3, 4, 2],
    timeDeltas: [9000, 1000, 1000, 1000, 1000],
  };
  const times = selfTimes(profile, "file:///p/");
  assert.deepEqual(times, [
    { name: "scan", place: "src/wire/scan.ts:10", selfMs: 3, share: 0.75 },
    { name: "(garbage collector)", place: "", selfMs: 1, share: 0.25 },
  ]);
  assert.equal(profileTable(times, 1), " 75.0 %       3 ms  scan  src/wire/scan.ts:10");
});
