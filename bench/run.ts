/**
 * `npm run bench`: Postgres directly, PgBouncer and pgxa side by side, in one run and in turn.
 *
 * Prints one table and keeps it in bench/results. The exit code is 1 if money was not conserved, if nothing
 * could be measured, or if pgxa is worse than in the baseline it is compared with; a contender that is missing is left out with a line that says why.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { compareRuns, hasWorsened } from "./baseline.ts";
import { comparisonMarkdown } from "./baselineReport.ts";
import { Belongings } from "./belongings.ts";
import { type Case, CONTENDERS } from "./cases.ts";
import { runCommitCase } from "./commit/case.ts";
import type { CommitChoice } from "./commit/plan.ts";
import { plotsOf } from "./commit/plot.ts";
import { commitMarkdown } from "./commit/report.ts";
import { type ConservationFigures, isConserved } from "./conservation.ts";
import { runConserveCase } from "./conserveCase.ts";
import { secondsOfTurns, type Turns } from "./contender.ts";
import { runDeadlockCase } from "./deadlockCase.ts";
import type { DeadlockFigures } from "./deadlockFigures.ts";
import { runFairnessCase } from "./fairness.ts";
import type { FairnessFigures } from "./fairnessFigures.ts";
import { runGrowthCase } from "./growth/case.ts";
import { growthPictures } from "./growth/picture.ts";
import type { GrowthChoice } from "./growth/plan.ts";
import { growthMarkdown } from "./growth/report.ts";
import { runIdleCase } from "./idleCase.ts";
import type { IdleFigures } from "./idleFigures.ts";
import { machineFacts } from "./machine.ts";
import { type Options, parseOptions, USAGE, UsageError } from "./options.ts";
import { type CaseDone, runConnectCase, runPgbenchCase, runRoutedCase } from "./pgbenchCase.ts";
import { Progress } from "./progress.ts";
import { markdown, type Results } from "./report.ts";
import { Stage } from "./stage.ts";
import { runStreamCase } from "./streamCase.ts";
import { NO_STREAMS, type StreamFigures } from "./streamFigures.ts";
import { runTransferCase } from "./transferCase.ts";

/** What the conservation case takes. */
const CONSERVE_SECONDS = 10;
/** What the deadlock case takes for each round. */
const DEADLOCK_SECONDS = 10;
/** What the idle case takes. */
const IDLE_SECONDS = 40;
/** What a round of a stream case takes for each contender, for a gigabyte. */
const STREAM_SECONDS = 4;

async function main(argv: readonly string[]): Promise<number> {
  const options = parseOptions(argv);
  if (options === "help") {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  const baseline = options.baseline === null ? null : await readResults(options.baseline);
  if (baseline !== null && options.results !== null)
    return compared(baseline, await readResults(options.results)) ? 0 : 1;
  const belongings = new Belongings();
  belongings.stopOnSignals();
  const directory = options.output ?? join(import.meta.dirname, "results");
  try {
    const isCaseFine =
      options.cases.length === 0 || (await measureCases(options, baseline, belongings, directory));
    const isCommitFine =
      options.commit === null || (await measureCommits(options.commit, options, belongings, directory));
    const isGrowthFine =
      options.growth === null || (await measureGrowth(options.growth, options, belongings, directory));
    return isCaseFine && isCommitFine && isGrowthFine ? 0 : 1;
  } finally {
    await belongings.stopAll();
  }
}

/** Whether it went well; with a baseline also whether nothing has become worse. */
async function measureCases(
  options: Options,
  baseline: Results | null,
  belongings: Belongings,
  directory: string,
): Promise<boolean> {
  const results = await measure(options, belongings);
  await keep(results, directory);
  process.stdout.write(markdown(results));
  const isNoWorse = baseline === null || compared(baseline, results);
  return isFine(results) && isNoWorse;
}

/** Prints what moved; false if something has become worse. */
function compared(baseline: Results, results: Results): boolean {
  const comparisons = compareRuns(baseline, results);
  process.stdout.write(`\n${comparisonMarkdown(comparisons)}`);
  return !hasWorsened(comparisons);
}

async function readResults(path: string): Promise<Results> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as Results;
  } catch (error) {
    throw new UsageError(`${path} has no results of an earlier run: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** Results of its own, which stay when other cases are run. */
async function measureCommits(
  choice: CommitChoice,
  { workers }: Options,
  belongings: Belongings,
  directory: string,
): Promise<boolean> {
  const progress = new Progress();
  const figures = await runCommitCase(choice, belongings, progress, workers);
  progress.end();
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, "commit.md"), commitMarkdown(figures));
  await writeFile(join(directory, "commit.json"), `${JSON.stringify(figures, null, 2)}\n`);
  for (const { file, svg } of plotsOf(figures.cells)) await writeFile(join(directory, file), svg);
  process.stdout.write(commitMarkdown(figures));
  return figures.cells.some(({ rows }) => rows.length > 0);
}

/** Results of its own, too. */
async function measureGrowth(
  choice: GrowthChoice,
  { mayInstall, workers }: Options,
  belongings: Belongings,
  directory: string,
): Promise<boolean> {
  const progress = new Progress();
  const figures = await runGrowthCase(choice, { belongings, progress, mayInstall, workers });
  progress.end();
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, "growth.md"), growthMarkdown(figures));
  await writeFile(join(directory, "growth.json"), `${JSON.stringify(figures, null, 2)}\n`);
  for (const { file, svg } of growthPictures(figures)) await writeFile(join(directory, file), svg);
  process.stdout.write(growthMarkdown(figures));
  return figures.dimensions.some(({ points }) => points.length > 0);
}

async function measure(options: Options, belongings: Belongings): Promise<Results> {
  const progress = new Progress();
  const stage = await Stage.set(options.cases, { belongings, progress, ...options });
  const done: CaseOutcome[] = [];
  for (const [index, one] of options.cases.entries()) {
    progress.expect(estimateSeconds(options.cases.slice(index), options));
    done.push(await runCase(one, stage, options));
  }
  progress.end();
  return {
    machine: machineFacts(await stage.versions()),
    rounds: options.rounds,
    secondsPerRound: options.seconds,
    workers: options.workers,
    rows: done.flatMap(({ rows }) => rows),
    conservation: done.find(({ conservation }) => conservation !== null)?.conservation ?? null,
    deadlocks: done.find(({ deadlocks }) => deadlocks !== null)?.deadlocks ?? null,
    fairness: done.find(({ fairness }) => fairness !== null)?.fairness ?? null,
    idle: done.flatMap(({ idle }) => idle),
    streams: {
      rows: done.flatMap(({ streams }) => streams.rows),
      memory: done.flatMap(({ streams }) => streams.memory),
      megabytes: options.megabytes,
    },
    leftOut: done.flatMap(({ leftOut }) => leftOut),
  };
}

interface CaseOutcome extends CaseDone {
  readonly conservation: ConservationFigures | null;
  readonly deadlocks: DeadlockFigures | null;
  readonly fairness: FairnessFigures | null;
  readonly idle: readonly IdleFigures[];
  readonly streams: StreamFigures;
}

const NOTHING: CaseOutcome = {
  rows: [],
  leftOut: [],
  conservation: null,
  deadlocks: null,
  fairness: null,
  idle: [],
  streams: NO_STREAMS,
};

/** A case that can't be run at all is left out as a whole. */
async function runCase(one: Case, stage: Stage, options: Options): Promise<CaseOutcome> {
  try {
    return await runKind(one, stage, options);
  } catch (error) {
    const line = `${one.name}: ${(error as Error).message}`;
    stage.progress.say(`left out: ${line}`);
    return { ...NOTHING, leftOut: [line] };
  }
}

async function runKind(one: Case, stage: Stage, options: Options): Promise<CaseOutcome> {
  switch (one.kind) {
    case "pgbench":
      return { ...NOTHING, ...(await runPgbenchCase(one, stage, options)) };
    case "connect":
      return { ...NOTHING, ...(await runConnectCase(one, stage, options)) };
    case "routed":
      return { ...NOTHING, ...(await runRoutedCase(one, stage, options)) };
    case "idle":
      return { ...NOTHING, ...(await runIdleCase(one, stage)) };
    case "stream":
      return { ...NOTHING, ...(await runStreamCase(one, stage, options, options.megabytes)) };
    case "transfer":
      return { ...NOTHING, ...(await runTransferCase(one, stage, options)) };
    case "conserve":
      return { ...NOTHING, conservation: await runConserveCase(one, stage, options.rounds) };
    case "deadlock":
      return { ...NOTHING, deadlocks: await runDeadlockCase(one, stage, options.rounds) };
    case "fairness":
      return { ...NOTHING, ...(await runFairnessCase(one, stage, options.rounds * options.seconds)) };
  }
}

/** What `cases` will take if nothing is left out. */
function estimateSeconds(cases: readonly Case[], turns: Turns): number {
  const each = cases.map((one) => {
    if (one.kind === "conserve") return CONSERVE_SECONDS;
    if (one.kind === "idle") return IDLE_SECONDS;
    if (one.kind === "stream") return CONTENDERS * (1 + turns.rounds) * STREAM_SECONDS;
    if (one.kind === "fairness") return 2 * turns.rounds * turns.seconds;
    return one.kind === "deadlock" ? DEADLOCK_SECONDS * turns.rounds : secondsOfTurns(CONTENDERS, turns);
  });
  return each.reduce((total, seconds) => total + seconds, 0);
}

async function keep(results: Results, directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, "latest.md"), markdown(results));
  await writeFile(join(directory, "latest.json"), `${JSON.stringify(results, null, 2)}\n`);
}

function isFine({ rows, conservation, deadlocks, fairness, idle, streams }: Results): boolean {
  if (conservation !== null && !isConserved(conservation)) return false;
  if (rows.length + idle.length + streams.rows.length > 0) return true;
  return conservation !== null || deadlocks !== null || fairness !== null;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(
    `${error instanceof UsageError ? `${error.message}\n\n${USAGE}` : (error as Error).stack}\n`,
  );
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
