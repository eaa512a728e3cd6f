/**
 * The benchmark itself, as short as it can be run: it must not rot between the days on which somebody measures.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { CommitFigures } from "../../bench/commit/figures.ts";
import type { GrowthFigures } from "../../bench/growth/figures.ts";
import type { Results } from "../../bench/report.ts";
import { findTool } from "../../bench/tools.ts";
import "../support/compileCache.ts";

const RUN = join(import.meta.dirname, "../../bench/run.ts");
const PLOT = join(import.meta.dirname, "../../bench/plot.ts");
const SHORT = ["--rounds", "1", "--seconds", "0.5", "--scale", "1", "--clients", "4", "--no-install"];

interface Bench {
  readonly child: ChildProcess;
  readonly ended: Promise<unknown[]>;
  said(): string;
}

function startBench(args: readonly string[]): Bench {
  const child = spawn(process.execPath, [RUN, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  child.stdout.on("data", (chunk) => (said += chunk));
  child.stderr.on("data", (chunk) => (said += chunk));
  return { child, ended: once(child, "close"), said: () => said };
}

async function resultsOf(cases: readonly string[]): Promise<Results> {
  const output = await mkdtemp(join(tmpdir(), "pgxa-bench-smoke-"));
  try {
    const bench = startBench([...cases, ...SHORT, "--output", output]);
    const [code] = await bench.ended;
    assert.equal(code, 0, bench.said());
    assert.match(await readFile(join(output, "latest.md"), "utf8"), /^# Benchmark results\n/);
    return JSON.parse(await readFile(join(output, "latest.json"), "utf8")) as Results;
  } finally {
    await rm(output, { recursive: true });
  }
}

test("a short run of select measures Postgres and pgxa side by side", async (t) => {
  const pgbench = await findTool("pgbench", false, () => {});
  if (typeof pgbench === "string") return t.skip(pgbench);
  const { rows, leftOut } = await resultsOf(["select"]);
  const contenders = rows.map((row) => row.contender);
  assert.ok(contenders.includes("direct") && contenders.includes("pgxa"), leftOut.join("\n"));
  const pgxa = rows.find((row) => row.contender === "pgxa")!;
  assert.ok(pgxa.tps.median > 0 && pgxa.p50Ms > 0 && pgxa.p99Ms >= pgxa.p50Ms);
  assert.ok(pgxa.ratioTo.direct! > 0);
  if (process.platform === "linux") assert.ok(pgxa.cpuUsPerTransaction! > 0);
});

test("a short run of transfers measures every way and conserves money", async () => {
  const { rows, conservation, leftOut } = await resultsOf(["transfer", "conserve"]);
  assert.deepEqual(
    rows.map((row) => row.contender),
    ["handwritten", "plain", "pgxa", "pgxa file log"],
    leftOut.join("\n"),
  );
  assert.equal(conservation?.started, 4);
  assert.equal(conservation.acknowledged, 4);
  assert.ok(conservation.totalsRead > 0);
});

test("a short run of logins, routing, idle clients and streams measures pgxa", async (t) => {
  const pgbench = await findTool("pgbench", false, () => {});
  if (typeof pgbench === "string") return t.skip(pgbench);
  const cases = ["connect-scram", "connect-tls", "routed", "idle", "stream-result", "stream-copy-in"];
  const { rows, idle, streams, leftOut } = await resultsOf([...cases, "--megabytes", "2"]);
  const said = leftOut.join("\n");
  for (const name of ["connect-scram", "connect-tls", "routed"])
    assert.ok(
      rows.some((row) => row.case === name && row.contender === "pgxa" && row.tps.median > 0),
      said,
    );
  assert.ok(
    rows.some(({ contender }) => contender === "pgxa 3 shards"),
    said,
  );
  for (const name of ["stream-result", "stream-copy-in"])
    assert.ok(
      streams.rows.some((row) => row.case === name && row.contender === "pgxa" && row.tps.median > 0),
      said,
    );
  if (process.platform === "linux")
    assert.ok(
      idle.some(({ contender }) => contender === "pgxa"),
      said,
    );
});

test("a short run of commits measures who commits, with slow flushes, and loses no money", {
  skip: process.platform !== "linux",
}, async () => {
  const output = await mkdtemp(join(tmpdir(), "pgxa-bench-smoke-"));
  try {
    const bench = startBench(["commit", "--quick", "--clients", "2", "--flush", "slow", "--output", output]);
    const [code] = await bench.ended;
    assert.equal(code, 0, bench.said());
    const figures = JSON.parse(await readFile(join(output, "commit.json"), "utf8")) as CommitFigures;
    if (figures.cells.length === 0) assert.match(figures.leftOut.join("\n"), /there is no C compiler/);
    for (const { kind, rows } of figures.cells) {
      const names = rows.map((row) => row.contender);
      const expected =
        kind === "commits" ? ["hand-written", "pgxa shard", "pgxa file"] : ["pgxa shard · refused"];
      for (const name of expected) assert.ok(names.includes(name), bench.said());
    }
  } finally {
    await rm(output, { recursive: true });
  }
});

test("a short run of growth measures every dimension and draws it", {
  skip: process.platform !== "linux",
}, async (t) => {
  const pgbench = await findTool("pgbench", false, () => {});
  if (typeof pgbench === "string") return t.skip(pgbench);
  const output = await mkdtemp(join(tmpdir(), "pgxa-bench-smoke-"));
  try {
    const bench = startBench(["growth", "--quick", "--no-install", "--output", output]);
    const [code] = await bench.ended;
    assert.equal(code, 0, bench.said());
    const { dimensions, leftOut } = JSON.parse(
      await readFile(join(output, "growth.json"), "utf8"),
    ) as GrowthFigures;
    assert.deepEqual(
      leftOut.filter((line) => !line.startsWith("pgbouncer ")),
      [],
    );
    for (const { name, points, values, contenders } of dimensions) {
      assert.equal(points.length, values.length * contenders, name);
      for (const { contender, perSecond, cpuUs } of points) {
        assert.ok(perSecond.median > 0, `${name} ${contender}`);
        assert.equal(cpuUs === null, ["direct", "hand-written"].includes(contender), `${name} ${contender}`);
      }
      const svg = await readFile(join(output, `growth-${name}.svg`), "utf8");
      const figures = points.length + points.filter(({ cpuUs }) => cpuUs !== null).length;
      assert.equal(svg.match(/<circle /g)?.length, figures);
      await rm(join(output, `growth-${name}.svg`));
    }
    assert.match(await readFile(join(output, "growth.md"), "utf8"), /^# How the cost grows\n/);
    const plot = spawn(process.execPath, [PLOT, join(output, "growth.json"), "--output", output]);
    assert.deepEqual(await once(plot, "close"), [0, null]);
    for (const { name } of dimensions) assert.ok(existsSync(join(output, `growth-${name}.svg`)), name);
  } finally {
    await rm(output, { recursive: true });
  }
});

test("Ctrl-C in the middle stops everything that was started", {
  skip: process.platform !== "linux",
}, async () => {
  const bench = startBench(["transfer", ...SHORT]);
  while (!bench.said().includes("warm-up")) await once(bench.child.stderr!, "data");
  const started = descendants(bench.child.pid!);
  assert.ok(started.length > 2, `${started.length} processes`);
  bench.child.kill("SIGINT");
  const [code] = await bench.ended;
  assert.equal(code, 130);
  assert.deepEqual(started.filter(isAlive), []);
});

/** A process with the time of its start, since pids are reused. */
interface Started {
  readonly pid: number;
  readonly startedAt: string;
}

function descendants(pid: number): Started[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
    .trim()
    .split(" ")
    .filter(Boolean);
  return children
    .map(Number)
    .flatMap((child) => [{ pid: child, startedAt: startOf(child) }, ...descendants(child)]);
}

function isAlive({ pid, startedAt }: Started): boolean {
  return existsSync(`/proc/${pid}/stat`) && startOf(pid) === startedAt;
}

function startOf(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]!;
}
