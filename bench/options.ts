// Pure.
/**
 * The command line of `npm run bench`, read strictly: what is not understood is an error with advice.
 */
import { parseArgs } from "node:util";
import { ALL_CASES, CASES, type Case, MORE_CASES } from "./cases.ts";
import { CLIENTS_USUAL, type CommitChoice, PARTICIPANTS_MAX, PARTICIPANTS_USUAL } from "./commit/plan.ts";
import { DIMENSIONS, type GrowthChoice, quickly } from "./growth/plan.ts";
import type { Workers } from "./pgxa.ts";

export interface Options {
  /** The cases to run, in order. */
  readonly cases: readonly Case[];
  /** What of the commit case to run; null: nothing. */
  readonly commit: CommitChoice | null;
  /** What of the growth case to run; null: nothing. */
  readonly growth: GrowthChoice | null;
  /** Measured rounds for each contender. */
  readonly rounds: number;
  /** Length of a round. */
  readonly seconds: number;
  /** pgbench's scale factor: 100,000 accounts each. */
  readonly scale: number;
  /** What goes by in a round of a stream case. */
  readonly megabytes: number;
  /** A file with the results of an earlier run to compare with; null: none. */
  readonly baseline: string | null;
  /** A file with results that are compared in place of a run; null: there is a run. */
  readonly results: string | null;
  /** Where the results go; undefined is `bench/results`. */
  readonly output: string | undefined;
  /** Whether missing programs may be installed. */
  readonly mayInstall: boolean;
  /** Whether Pgpool-II takes part where it is installed. */
  readonly hasPgpool: boolean;
  /** How many processes each pgxa is. */
  readonly workers: Workers;
}

const COMMIT = "commit";
const GROWTH = "growth";
/** Those that keep results of their own. */
const APART = [COMMIT, GROWTH];
const QUICK = { rounds: "1", seconds: "0.3", warmUpSeconds: 0.1 };
const THOROUGH = { rounds: "5", seconds: "1", warmUpSeconds: 0.5 };
const WORKERS_MAX = 64;

const NAME_WIDTH = 20;
const caseLine = ({ name, about, clients }: Case): string =>
  `  ${name.padEnd(NAME_WIDTH)} ${about}, ${clients} client${clients === 1 ? "" : "s"}`;

export const USAGE = `npm run bench -- [CASE…] [--rounds N] [--seconds S] [--clients N] [--scale N]
                          [--all] [--output DIR] [--no-install] [--pgpool] [--workers N]
       npm run bench -- --baseline FILE [--results FILE] …

Runs Postgres directly, PgBouncer and pgxa in turn, and prints throughput, latency and processor time.

Cases (all of these if none is named):
${CASES.map(caseLine).join("\n")}

More, if they are named or with --all:
${MORE_CASES.map(caseLine).join("\n")}
  ${GROWTH.padEnd(NAME_WIDTH)} how the cost grows with clients, size of rows, pipelining, shards and participants (about 6 min)
  ${COMMIT.padEnd(NAME_WIDTH)} commits and aborts over several shards (about 13 min; not with --all)

  --rounds N     measured rounds for each contender (default 5)
  --seconds S    length of a round (default 3; of growth and commit 1)
  --clients N    clients, instead of the case's own number (not of growth)
  --all          every case but ${COMMIT}
  --megabytes N  of a round of a stream case (default 1024)
  --baseline F   compares with the results in file F, such as bench/results/latest.json, by ratio to the contender that
                 each case is measured by; ends with 1 if pgxa has become worse by more than the spread
  --results F    what is compared with the baseline in place of a new run
  --scale N      pgbench's scale factor (default 10; of growth 1)
  --output DIR   where latest.md and latest.json go (default bench/results)
  --no-install   leave out what is missing, instead of installing it
  --pgpool       Pgpool-II, too, if it is installed
  --workers N    how many processes each pgxa is, or auto (default 1)

Of growth, whose results go to growth.md, growth.json and growth-*.svg:
  --quick        one short round of the first two values of each, to see that all of it works

Of commit, whose results go to commit.md, commit.json and commit-*.svg:
  --clients N[,N…]       default 1,8,32,100 with 2 participants, and 8 with more
  --participants N[,N…]  shards that a transaction writes to (default 2,5,10)
  --log shard|file       with this decision log only
  --flush disk|slow      only on the disk as it is, or only with 1 ms added to every flush
  --ending commits|aborts
  --quick                one short round of the smallest table, to see that all of it works
  --full                 every number of clients with every number of participants (about half an hour)`;

export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Throws UsageError. `help` is a wish to see the usage. */
export function parseOptions(argv: readonly string[]): Options | "help" {
  const { values, positionals } = parsed(argv);
  if (values.help === true) return "help";
  const names = positionals.filter((name) => !APART.includes(name));
  const isCommit = positionals.includes(COMMIT);
  const isGrowth = positionals.includes(GROWTH);
  if (!isCommit) refuseCommitOptions(values, isGrowth);
  const clients = values.clients === undefined ? null : counts("--clients", values.clients);
  const cases = chosenCases(values, positionals, names);
  if (values.results !== undefined && values.baseline === undefined)
    throw new UsageError("--results is for --baseline only");
  for (const name of APART)
    if (positionals.includes(name) && values.baseline !== undefined)
      throw new UsageError(`there is no comparison with a baseline for ${name}`);
  if (isGrowth && clients !== null) throw new UsageError(`${GROWTH} has numbers of clients of its own`);
  if (cases.length > 0 && clients !== null && clients.length > 1)
    throw new UsageError("--clients takes several numbers with commit alone");
  return {
    cases: clients === null ? cases : cases.map((one) => ({ ...one, clients: clients[0]! })),
    commit: isCommit ? commitChoice(values, clients) : null,
    growth: isGrowth || values.all === true ? growthChoice(values) : null,
    rounds: count("--rounds", values.rounds ?? "5"),
    seconds: positive("--seconds", values.seconds ?? "3"),
    scale: count("--scale", values.scale ?? "10"),
    megabytes: count("--megabytes", values.megabytes ?? "1024"),
    baseline: values.baseline ?? null,
    results: values.results ?? null,
    output: values.output,
    mayInstall: values["no-install"] !== true,
    hasPgpool: values.pgpool === true,
    workers: workersOf(values.workers ?? "1"),
  };
}

function chosenCases(
  values: Values,
  positionals: readonly string[],
  names: readonly string[],
): readonly Case[] {
  if (values.all !== true) return positionals.length === 0 ? CASES : names.map(caseNamed);
  if (positionals.length > 0) throw new UsageError("--all is every case: name none");
  return ALL_CASES;
}

type Values = ReturnType<typeof parsed>["values"];

function commitChoice(values: Values, clients: readonly number[] | null): CommitChoice {
  const isQuick = values.quick === true;
  const length = isQuick ? QUICK : THOROUGH;
  const participants =
    values.participants === undefined ? null : counts("--participants", values.participants);
  if (participants?.some((number) => number < 2 || number > PARTICIPANTS_MAX))
    throw new UsageError(`--participants must be from 2 to ${PARTICIPANTS_MAX}`);
  return {
    clients: clients ?? (isQuick ? [CLIENTS_USUAL] : null),
    participants: participants ?? (isQuick ? [PARTICIPANTS_USUAL] : null),
    logs: chosen("--log", values.log, ["shard", "file"]),
    flushes: chosen("--flush", values.flush, ["disk", "slow"]),
    kinds: chosen("--ending", values.ending, ["commits", "aborts"]),
    isFull: values.full === true,
    rounds: count("--rounds", values.rounds ?? length.rounds),
    seconds: positive("--seconds", values.seconds ?? length.seconds),
    warmUpSeconds: length.warmUpSeconds,
  };
}

function growthChoice(values: Values): GrowthChoice {
  const isQuick = values.quick === true;
  const length = isQuick ? { ...QUICK, warmUpSeconds: 0 } : THOROUGH;
  return {
    dimensions: isQuick ? quickly(DIMENSIONS) : DIMENSIONS,
    rounds: count("--rounds", values.rounds ?? length.rounds),
    seconds: positive("--seconds", values.seconds ?? length.seconds),
    warmUpSeconds: length.warmUpSeconds,
    scale: count("--scale", values.scale ?? "1"),
  };
}

function refuseCommitOptions(values: Values, isGrowth: boolean): void {
  for (const option of ["participants", "log", "flush", "ending", "quick", "full"] as const)
    if (values[option] !== undefined && !(isGrowth && option === "quick"))
      throw new UsageError(`--${option} is for the case ${COMMIT} only`);
}

function parsed(argv: readonly string[]) {
  const text = { type: "string" } as const;
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        rounds: text,
        seconds: text,
        clients: text,
        scale: text,
        output: text,
        megabytes: text,
        baseline: text,
        results: text,
        all: { type: "boolean" },
        pgpool: { type: "boolean" },
        workers: text,
        participants: text,
        log: text,
        flush: text,
        ending: text,
        quick: { type: "boolean" },
        full: { type: "boolean" },
        "no-install": { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

function caseNamed(name: string): Case {
  const found = ALL_CASES.find((one) => one.name === name);
  if (found) return found;
  throw new UsageError(
    `there is no case ${name}; there are ${[...ALL_CASES.map((one) => one.name), ...APART].join(", ")}`,
  );
}

function workersOf(text: string): Workers {
  if (text === "auto") return text;
  const workers = count("--workers", text);
  if (workers > WORKERS_MAX) throw new UsageError(`--workers must be from 1 to ${WORKERS_MAX}, or auto`);
  return workers;
}

function counts(option: string, text: string): number[] {
  return text.split(",").map((each) => count(option, each));
}

/** All of them if none is chosen. */
function chosen<T extends string>(option: string, text: string | undefined, all: readonly T[]): readonly T[] {
  if (text === undefined) return all;
  const found = all.find((each) => each === text);
  if (found === undefined) throw new UsageError(`${option} is ${all.join(" or ")}, not ${text}`);
  return [found];
}

function count(option: string, text: string): number {
  const value = positive(option, text);
  if (!Number.isInteger(value)) throw new UsageError(`${option} must be a whole number, not ${text}`);
  return value;
}

function positive(option: string, text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 100_000))
    throw new UsageError(`${option} must be a number above 0, not ${text}`);
  return value;
}
