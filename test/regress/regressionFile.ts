/**
 * One regression file run by psql as pg_regress runs it, and its output beside another's.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { SHARD_HOST, SHARD_USER } from "../../src/cli/embeddedShards.ts";
import { DATABASE, type RegressionCluster } from "./cluster.ts";
import type { RegressionSource } from "./source.ts";

const FILE_TIMEOUT_MS = 300_000;
const DIFF_BYTES_MAX = 64 * 1024 * 1024;
const VARIABLES = ["-v", "HIDE_TABLEAM=on", "-v", "HIDE_TOAST_COMPRESSION=on"];

export const outputOf = (cluster: RegressionCluster, test: string): string =>
  join(cluster.directory, "results", `${test}.out`);

/** Runs the file; its output is in `outputOf` then. Resolves to its duration in ms. */
export async function runFile(
  psql: string,
  test: string,
  cluster: RegressionCluster,
  source: RegressionSource,
): Promise<number> {
  const startedAtMs = performance.now();
  const input = openSync(join(cluster.directory, "sql", `${test}.sql`), "r");
  const output = openSync(outputOf(cluster, test), "w");
  const child = spawn(psql, ["-X", "-a", "-q", "-d", DATABASE, ...VARIABLES], {
    stdio: [input, output, output],
    timeout: FILE_TIMEOUT_MS,
    env: environmentOf(test, cluster, source),
  });
  closeSync(input);
  closeSync(output);
  await once(child, "close");
  return performance.now() - startedAtMs;
}

/** https://www.postgresql.org/docs/current/regress-run.html, and `initialize_environment` of pg_regress.c. */
function environmentOf(test: string, cluster: RegressionCluster, source: RegressionSource) {
  return {
    PATH: process.env.PATH,
    LANG: "C",
    LC_MESSAGES: "C",
    PGHOST: SHARD_HOST,
    PGPORT: String(cluster.port),
    PGUSER: SHARD_USER,
    PGAPPNAME: `pg_regress/${test}`,
    PGTZ: "America/Los_Angeles",
    PGDATESTYLE: "Postgres, MDY",
    PGOPTIONS: "-c intervalstyle=postgres_verbose",
    PG_ABS_SRCDIR: cluster.directory,
    PG_ABS_BUILDDIR: cluster.directory,
    PG_LIBDIR: source.library,
    PG_DLSUFFIX: ".so",
  };
}

export interface Comparison {
  /** The lines that differ, with their sign; none if the outputs are alike. */
  readonly lines: readonly string[];
  /** As `diff -u` prints it. */
  readonly diff: string;
}

/**
 * The output of `test` through pgxa beside the direct one's. What PostgreSQL expects is as good as what the direct
 * run said, for a plan or a count may come out differently from one run to the next.
 */
export function compare(
  test: string,
  direct: RegressionCluster,
  proxied: RegressionCluster,
  source: RegressionSource,
): Comparison {
  if (isExpected(test, proxied, source)) return { lines: [], diff: "" };
  const said = textOf(direct, test);
  if (said === textOf(proxied, test)) return { lines: [], diff: "" };
  const paths = [outputOf(direct, test), outputOf(proxied, test)];
  const { stdout } = spawnSync("diff", ["-U3", ...paths], { encoding: "utf8", maxBuffer: DIFF_BYTES_MAX });
  const diff = stdout.replaceAll(proxied.directory, direct.directory);
  return { lines: diff.split("\n").filter((line) => /^[-+](?![-+]{2} )/.test(line)), diff };
}

/** Whether `test` said what PostgreSQL's own files expect, in one of their variants. */
export function isExpected(test: string, cluster: RegressionCluster, source: RegressionSource): boolean {
  const said = textOf(cluster, test);
  const expected = join(source.files, "expected");
  const variants = readdirSync(expected).filter(
    (name) => name === `${test}.out` || (name.startsWith(`${test}_`) && /_\d\.out$/.test(name)),
  );
  return variants.some((name) => plain(readFileSync(join(expected, name), "latin1")) === plain(said));
}

/** The output, with the directory of the run named alike in all. */
function textOf(cluster: RegressionCluster, test: string): string {
  const path = outputOf(cluster, test);
  if (!existsSync(path)) return "";
  return readFileSync(path, "latin1").replaceAll(cluster.directory, "DIRECTORY");
}

/** pg_regress compares with `diff -w`. */
const plain = (text: string): string => text.replaceAll(/[ \t]+/g, "");
