/**
 * PostgreSQL's own regression files, run directly and through pgxa in front of one shard.
 *
 *     npm run test:regress                           all files, in both modes of the pool
 *     npm run test:regress -- --mode session copy2   one mode; the files named, behind test_setup
 *     … --source DIR      PostgreSQL's source tree, or its src/test/regress; else Debian's source of the installed server
 *     … --programs DIR    where psql, initdb and postgres are; else Debian's
 *     … --results DIR     where the outputs and differences are left
 *     … --still           without the other clients that make a session change its connection (transaction mode)
 *
 * Prints a table of the files that say through pgxa neither what they say directly nor what PostgreSQL expects, but for
 * what is known of every pooler (knownDifferences.ts). Ends with 1 if there are any. Where the files or the programs cannot be had, one line says why, and it ends with 0.
 */
import { cpSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Belongings } from "../../bench/belongings.ts";
import { sharedTemporary } from "../../src/cli/embeddedPostgres.ts";
import { makeDirectoryFor } from "../../src/cli/embeddedShards.ts";
import { keep } from "../support/keeper.ts";
import { openCluster, programsIn, type RegressionCluster, WAYS, type Way } from "./cluster.ts";
import { whyKnown } from "./knownDifferences.ts";
import { type Comparison, compare, isExpected, runFile } from "./regressionFile.ts";
import { findPrograms, findSource, type RegressionSource } from "./source.ts";
import { stir } from "./stirrer.ts";

/** Makes what the other files stand on. */
const SETUP = "test_setup";

const { values: options, positionals: wanted } = parseArgs({
  allowPositionals: true,
  options: {
    mode: { type: "string" },
    source: { type: "string" },
    programs: { type: "string" },
    results: { type: "string" },
    still: { type: "boolean", default: false },
  },
});

process.exitCode = await main();

async function main(): Promise<number> {
  const modes = WAYS.filter((way) => way !== "direct" && (options.mode ?? way) === way);
  if (modes.length === 0) return refuse(`--mode is session or transaction, not ${options.mode}`);
  const bin = options.programs ?? findPrograms();
  if (bin === null) return skip("Debian's PostgreSQL is not installed (apt-get install postgresql)");
  const source = await findSource(bin, options.source === undefined ? null : resolve(options.source));
  if (typeof source === "string") return skip(source);
  const unknown = wanted.filter((name) => !source.tests.includes(name));
  if (unknown.length > 0) return refuse(`no such file: ${unknown.join(", ")}`);
  const isNamed = (name: string): boolean => wanted.length === 0 || name === SETUP || wanted.includes(name);
  return runAll(bin, modes, source, source.tests.filter(isNamed));
}

function skip(reason: string): number {
  console.log(`▸ regression files skipped: ${reason}`);
  return 0;
}

function refuse(reason: string): number {
  console.error(reason);
  return 1;
}

async function runAll(
  bin: string,
  modes: readonly Way[],
  source: RegressionSource,
  tests: readonly string[],
): Promise<number> {
  const programs = programsIn(bin);
  const home = mkdtempSync(join(sharedTemporary(programs.runner), "pgxa-regress-run-"));
  makeDirectoryFor(programs.runner, home);
  const clear = keep(home);
  const belongings = new Belongings();
  belongings.stopOnSignals();
  try {
    const clusters: RegressionCluster[] = [];
    for (const way of ["direct", ...modes] as const) {
      console.log(`▸ ${way}: ${tests.length} files`);
      const cluster = await openCluster(way, programs, source, home, belongings);
      await runEach(join(bin, "psql"), cluster, source, tests);
      clusters.push(cluster);
    }
    const [direct, ...proxied] = clusters;
    return report(tests, direct!, proxied, source);
  } finally {
    await belongings.stopAll();
    await clear();
  }
}

async function runEach(
  psql: string,
  cluster: RegressionCluster,
  source: RegressionSource,
  tests: readonly string[],
): Promise<void> {
  const isStirred = cluster.way === "transaction" && !options.still;
  const rest = isStirred ? await stir(cluster.port) : async () => {};
  try {
    for (const test of tests) {
      const tookMs = await runFile(psql, test, cluster, source);
      if (process.stdout.isTTY) process.stdout.write(`\r  ${test} ${(tookMs / 1000).toFixed(1)} s\x1b[K\r`);
    }
  } finally {
    await rest();
  }
}

/** Prints what differs, keeps it where it is asked for; the exit status. */
function report(
  tests: readonly string[],
  direct: RegressionCluster,
  proxied: readonly RegressionCluster[],
  source: RegressionSource,
): number {
  const surprising = tests.filter((test) => !isExpected(test, direct, source));
  console.log(`\ndirect: ${tests.length - surprising.length} of ${tests.length} files as PostgreSQL expects`);
  if (surprising.length > 0) console.log(`  the others: ${surprising.join(" ")}`);
  const rows: string[] = [];
  for (const cluster of proxied) {
    const compared = tests.map((test) => [test, compare(test, direct, cluster, source)] as const);
    const differing = compared.filter(([, { lines }]) => lines.length > 0);
    keepResults(cluster, differing);
    const news: string[] = [];
    for (const [test, { lines }] of differing) {
      const why = whyKnown(cluster.way, test, lines);
      if (why === null) news.push(row(cluster.way, test, `${lines.length} lines`));
      else console.log(`  known in ${cluster.way} mode: ${test} (${why})`);
    }
    console.log(`${cluster.way}: ${news.length} of ${tests.length} files differ from the direct run`);
    rows.push(...news);
  }
  keepResults(direct, []);
  if (rows.length > 0) console.log(["", row("mode", "file", "differing"), ...rows].join("\n"));
  return rows.length > 0 ? 1 : 0;
}

function row(mode: string, test: string, what: string): string {
  return `${mode.padEnd(12)} ${test.padEnd(28)} ${what}`;
}

function keepResults(
  cluster: RegressionCluster,
  differing: readonly (readonly [string, Comparison])[],
): void {
  if (options.results === undefined) return;
  const target = join(options.results, cluster.way);
  mkdirSync(target, { recursive: true });
  cpSync(join(cluster.directory, "results"), target, { recursive: true });
  for (const [test, { diff }] of differing) writeFileSync(join(target, `${test}.diff`), diff);
}
