// Pure.
/**
 * The command line of `npm run bench`, read strictly: what is not understood is an error with advice.
 */
import { parseArgs } from "node:util";
import { CASES, type Case } from "./cases.ts";

export interface Options {
  /** The cases to run, in order. */
  readonly cases: readonly Case[];
  /** Measured rounds for each contender. */
  readonly rounds: number;
  /** Length of a round. */
  readonly seconds: number;
  /** pgbench's scale factor: 100,000 accounts each. */
  readonly scale: number;
  /** Where the results go; undefined is `bench/results`. */
  readonly output: string | undefined;
  /** Whether missing programs may be installed. */
  readonly mayInstall: boolean;
}

export const USAGE = `npm run bench -- [CASE…] [--rounds N] [--seconds S] [--clients N] [--scale N]
                          [--output DIR] [--no-install]

Runs Postgres directly, PgBouncer and pgxa in turn, and prints throughput, latency and processor time.

Cases (all of them if none is named):
${CASES.map((one) => `  ${one.name.padEnd(16)} ${one.about}, ${one.clients} client${one.clients === 1 ? "" : "s"}`).join("\n")}

  --rounds N     measured rounds for each contender (default 5)
  --seconds S    length of a round (default 3)
  --clients N    clients, instead of the case's own number
  --scale N      pgbench's scale factor (default 10)
  --output DIR   where latest.md and latest.json go (default bench/results)
  --no-install   leave out what is missing, instead of installing it`;

export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Throws UsageError. `help` is a wish to see the usage. */
export function parseOptions(argv: readonly string[]): Options | "help" {
  const { values, positionals } = parsed(argv);
  if (values.help === true) return "help";
  const clients = values.clients === undefined ? undefined : count("--clients", values.clients);
  const cases = positionals.length === 0 ? CASES : positionals.map(caseNamed);
  return {
    cases: clients === undefined ? cases : cases.map((one) => ({ ...one, clients })),
    rounds: count("--rounds", values.rounds ?? "5"),
    seconds: positive("--seconds", values.seconds ?? "3"),
    scale: count("--scale", values.scale ?? "10"),
    output: values.output,
    mayInstall: values["no-install"] !== true,
  };
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
        "no-install": { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

function caseNamed(name: string): Case {
  const found = CASES.find((one) => one.name === name);
  if (found) return found;
  throw new UsageError(`there is no case ${name}; there are ${CASES.map((one) => one.name).join(", ")}`);
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
