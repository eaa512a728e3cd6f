/**
 * Where pgxa's processor time goes:
 * `npx node bench/profile.ts [CASE] [--seconds S] [--clients N] [--log shard|file] [--output DIR]`.
 *
 * Runs one case against pgxa alone, under V8's sampling profiler, and prints the functions that used most time
 * themselves during the round, without the start of the process. The case commit is transfer, with a choice of the
 * decision log; those that are routed have three shards. In DIR the profile is kept for a viewer, and as a flame graph.
 */
import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Belongings } from "./belongings.ts";
import { CASES, type Case } from "./cases.ts";
import type { Contender } from "./contender.ts";
import { takeTurns } from "./contender.ts";
import { type CpuProfile, endOf, profileTable, selfTimes } from "./cpuProfile.ts";
import { flameGraph } from "./flameGraph.ts";
import { type Options, parseOptions } from "./options.ts";
import { startPgxa } from "./pgxa.ts";
import { Progress } from "./progress.ts";
import { Stage } from "./stage.ts";
import { rowsOf } from "./stats.ts";
import { transferContender } from "./transferCase.ts";

const SAMPLE_US = 250;
const FUNCTIONS = 40;
const ROOT = `${pathToFileURL(join(import.meta.dirname, "..")).href}/`;

async function main(argv: readonly string[]): Promise<void> {
  const options = parseOptions(argv); // without a case: the first of all of them
  if (options === "help")
    throw new Error("node bench/profile.ts [CASE] [--seconds S] [--clients N] [--output DIR]");
  const belongings = new Belongings();
  belongings.stopOnSignals();
  try {
    await profile(options, profiledCase(options), belongings);
  } finally {
    await belongings.stopAll();
  }
}

function profiledCase({ commit, cases }: Options): Case {
  if (commit === null && cases.length === 0) throw new Error("there is no profile of growth");
  if (commit === null) return cases[0]!;
  const transfer = CASES.find((one) => one.kind === "transfer")!;
  return { ...transfer, clients: commit.clients?.[0] ?? transfer.clients };
}

async function profile(options: Options, one: Case, belongings: Belongings): Promise<void> {
  const progress = new Progress();
  const stage = await Stage.set([one], { belongings, progress, ...options });
  const flags = ["--cpu-prof", `--cpu-prof-dir=${stage.directory}`, `--cpu-prof-interval=${SAMPLE_US}`];
  const identity = one.kind === "connect" ? await stage.identity(one.login) : undefined;
  const proxy = await startPgxa(stage.shards, belongings, stage.directory, flags, {
    log: options.commit?.logs[0] ?? "file",
    workers: options.workers,
    ...(identity && { identity }),
  });
  const contender = await contenderOf(one, stage, proxy);
  const done = await takeTurns(one.name, [contender], { rounds: 1, seconds: options.seconds }, progress);
  progress.end();
  if (done.leftOut.length > 0) throw new Error(done.leftOut[0]);
  await proxy.stop(); // the profile is written when the process ends
  const [row] = rowsOf(one.name, one.clients, done.rounds);
  process.stdout.write(
    `${one.name}, ${one.clients} clients: ${row!.tps.median} tps, ${row!.cpuUsPerTransaction} µs/txn\n\n`,
  );
  await printProfiles(stage.directory, options, one);
}

async function contenderOf(
  one: Case,
  stage: Stage,
  proxy: Awaited<ReturnType<typeof startPgxa>>,
): Promise<Contender> {
  if (one.kind !== "pgbench" && one.kind !== "connect" && one.kind !== "routed")
    return transferContender("pgxa", one.clients, await stage.bank(), proxy, stage);
  const pgbench = await stage.pgbench();
  if (one.kind === "routed") await stage.fillAllShards();
  const access = one.kind === "connect" ? (await stage.identity(one.login)).access : undefined;
  const run = (seconds: number) => pgbench.run(one, proxy.endpoint, seconds, access);
  return { name: "pgxa", proxyPid: proxy.pid, run };
}

/** One table for each process or worker; with `output` the files are kept for a viewer. */
async function printProfiles(
  directory: string,
  { output, seconds }: Options,
  { name, clients, about }: Case,
): Promise<void> {
  const files = (await readdir(directory)).filter((name) => name.endsWith(".cpuprofile"));
  if (files.length === 0) throw new Error("pgxa ended without writing a profile");
  for (const file of files) {
    const text = await readFile(join(directory, file), "utf8");
    const profile = endOf(JSON.parse(text) as CpuProfile, seconds * 1e6);
    process.stdout.write(`${profileTable(selfTimes(profile, ROOT), FUNCTIONS)}\n\n`);
    if (output === undefined) continue;
    await mkdir(output, { recursive: true });
    await copyFile(join(directory, file), join(output, file));
    const title = `pgxa's processor time: ${about}, ${clients} client${clients === 1 ? "" : "s"}`;
    const suffix = files.length > 1 ? `-${files.indexOf(file) + 1}` : "";
    await writeFile(join(output, `profile-${name}${suffix}.svg`), flameGraph(profile, ROOT, title));
  }
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
