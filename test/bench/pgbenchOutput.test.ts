import assert from "node:assert/strict";
import { test } from "node:test";
import { complaint } from "../../bench/complaint.ts";
import { parseLog, parseReport } from "../../bench/pgbenchOutput.ts";
import { ticksOf } from "../../bench/processTime.ts";

const REPORT = `pgbench (15.18, server 18.4)
transaction type: <builtin: select only>
number of clients: 16
number of transactions actually processed: 45877
number of failed transactions: 0 (0.000%)
latency average = 0.697 ms
initial connection time = 21.042 ms
tps = 22947.330194 (without initial connection time)
`;

test("transactions and throughput are read from pgbench's report", () => {
  assert.deepEqual(parseReport(REPORT), { transactions: 45877, tps: 22947.330194 });
});

test("pgbench's older wording is understood too", () => {
  const older = REPORT.replace("without initial connection time", "excluding connections establishing");
  assert.equal(parseReport(older)?.tps, 22947.330194);
});

test("with a connection for each transaction the throughput includes connecting", () => {
  const anew = REPORT.replace("without initial connection time", "including reconnection times");
  assert.equal(parseReport(anew)?.tps, 22947.330194);
});

test("a report of nothing done is one, although it names no throughput", () => {
  const nothing = REPORT.replace("45877", "0").replace(/^tps.*$/m, "");
  assert.deepEqual(parseReport(nothing), { transactions: 0, tps: 0 });
});

test("a report that breaks off is no report", () => {
  assert.equal(parseReport(REPORT.slice(0, 120)), null);
});

test("latencies are read from pgbench's log, without those of failed transactions", () => {
  const log = "0 1 1234 0 1700000000 5\n3 2 500 0 1700000000 9\n3 3 failed 0 1700000000 9\n";
  assert.deepEqual(parseLog(log), [1.234, 0.5]);
  assert.deepEqual(parseLog(""), []);
});

test("a complaint is the first line that names an error, else the last line", () => {
  assert.equal(complaint("it", "starting\npgbench: error: no route\nmore"), "pgbench: error: no route");
  const crash = "    throw new Error(x)\n\nError: it broke\n    at f (file.ts:1)\n\nNode.js v26.0.0\n";
  assert.equal(complaint("it", crash), "Error: it broke");
  assert.equal(complaint("it", "one\ntwo\n"), "two");
  assert.equal(complaint("pgbench", " \n"), "pgbench ended without a word");
});

test("processor time is read from a stat line whose command has blanks and parentheses", () => {
  const stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 100 0 0 0 70 30 5 6 20 0 1 0 999 1 2 3";
  assert.equal(ticksOf(stat), 100);
});
