// Pure.
/** The command line of `npm run chaos`, read strictly: what is not understood is an error with advice. */
import { parseArgs } from "node:util";
import type { Fault } from "./fault.ts";

export type LogKind = "file" | "shard";

export interface Options {
  readonly logs: readonly LogKind[];
  /** For each log. */
  readonly minutes: number | undefined;
  readonly transfers: number | undefined;
  /** Undefined: one by chance. */
  readonly seed: number | undefined;
  readonly faults: readonly Fault[];
  readonly clients: number;
}

export class UsageError extends Error {
  override readonly name = "UsageError";
}

const MINUTES = 5;
const CLIENTS = 12;

export const usage = (
  faults: readonly Fault[],
): string => `npm run chaos -- [--minutes M] [--transfers N] [--log file|shard] [--seed S]
                         [--only FAULT,FAULT…] [--clients N]

Transfers money between three shards through two pgxa processes while everything around them breaks, and holds what
the shards have against what clients were told: after each fault, and all of it at the end. Prints a table of faults
and outcomes. Ends with 1 at the first inconsistency, and at anything that is not resolved within a minute.

  --minutes M      ends after so many minutes with each log (default ${MINUTES}, unless --transfers is given)
  --transfers N    ends after so many transfers with each log
  --log file|shard only with this decision log (default: both, one after the other)
  --seed S         which faults come, in which order, to whom and for how long (default: by chance; it is printed)
  --only F,F…      only these faults
  --clients N      clients at once (default ${CLIENTS})
  --help           this

Faults:
${faults.map(({ name, about }) => `  ${name.padEnd(16)} ${about}`).join("\n")}`;

/** Throws UsageError. `help` is a wish to see the usage. */
export function parseOptions(argv: readonly string[], faults: readonly Fault[]): Options | "help" {
  const values = parsed(argv);
  if (values.help === true) return "help";
  const transfers = values.transfers === undefined ? undefined : whole("--transfers", values.transfers, 1);
  const minutes = values.minutes === undefined ? undefined : positive("--minutes", values.minutes);
  return {
    logs: values.log === undefined ? ["file", "shard"] : [logNamed(values.log)],
    minutes: minutes ?? (transfers === undefined ? MINUTES : undefined),
    transfers,
    seed: values.seed === undefined ? undefined : whole("--seed", values.seed, 0),
    faults:
      values.only === undefined ? faults : values.only.split(",").map((name) => faultNamed(name, faults)),
    clients: values.clients === undefined ? CLIENTS : whole("--clients", values.clients, 1),
  };
}

function parsed(argv: readonly string[]) {
  const text = { type: "string" } as const;
  try {
    return parseArgs({
      args: [...argv],
      options: {
        minutes: text,
        transfers: text,
        seed: text,
        log: text,
        only: text,
        clients: text,
        help: { type: "boolean", short: "h" },
      },
    }).values;
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

function logNamed(name: string): LogKind {
  if (name === "file" || name === "shard") return name;
  throw new UsageError(`--log is file or shard, not ${name}`);
}

function faultNamed(name: string, faults: readonly Fault[]): Fault {
  const found = faults.find((fault) => fault.name === name.trim());
  if (found !== undefined) return found;
  throw new UsageError(
    `there is no fault ${name}; there are ${faults.map((fault) => fault.name).join(", ")}`,
  );
}

function positive(option: string, text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && value > 0 && value <= 100_000) return value;
  throw new UsageError(`${option} must be a number above 0, not ${text}`);
}

function whole(option: string, text: string, least: number): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isInteger(value) && value >= least && value < 2 ** 32) return value;
  throw new UsageError(`${option} must be a whole number of ${least} or more, not ${text}`);
}
