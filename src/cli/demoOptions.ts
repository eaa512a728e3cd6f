/**
 * The options of `pgxa demo`, and what is said to somebody who got them wrong.
 */
import { parseArgs } from "node:util";
import { SHARDS_MAX } from "./embeddedShards.ts";

export interface DemoOptions {
  readonly port: number;
  /** Null: as many as the data directory has, or 3. */
  readonly shards: number | null;
  /** Null: wherever the demo keeps its data by default. */
  readonly data: string | null;
  readonly isFresh: boolean;
}

/** A mistake on the command line: exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

export const DEMO_HELP = `Usage: npm start -- [options]        (or: pgxa demo [options])

Starts Postgres shards of its own with a bank on them, and pgxa in front.

  --port P      where pgxa listens on 127.0.0.1          (default 6432)
  --shards N    how many shards, 1 to ${SHARDS_MAX}                 (default 3, or as before)
  --data DIR    where the data is kept between runs      (default .pgxa)
  --fresh       throw the data of earlier runs away and begin anew
  --config FILE run pgxa on your own shards instead, as FILE says
  --help        this text`;

/** Null if help was asked for. Throws a `UsageError`. */
export function parseDemoOptions(argv: readonly string[]): DemoOptions | null {
  const values = parsed(argv);
  if (values.help) return null;
  return {
    port: whole("--port", values.port ?? "6432", 1, 65_535),
    shards: values.shards === undefined ? null : whole("--shards", values.shards, 1, SHARDS_MAX),
    data: values.data ?? null,
    isFresh: values.fresh ?? false,
  };
}

function parsed(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        port: { type: "string" },
        shards: { type: "string" },
        data: { type: "string" },
        fresh: { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    }).values;
  } catch (error) {
    if (error instanceof TypeError)
      throw new UsageError(`${error.message}\n\n${DEMO_HELP}`, { cause: error });
    throw error;
  }
}

function whole(option: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw new UsageError(`${option} takes a whole number from ${min} to ${max}, not "${text}"`);
}
