/** What `npm run sim` is told. */
import { parseArgs } from "node:util";

export const HELP = `npm run sim -- [--seed S] [--runs N] [--transactions T] [--world W]

Simulates commits over a simulated network, with simulated disks and shards around the real code of src/txn, and stops at
the first thing that is wrong.

  --seed S          where chance begins; 1 if it is not given. The same seed plays the same, step by step
  --runs N          how many runs, each with a seed of its own from S on; 1 if it is not given
  --transactions T  how many transactions a run has; 100000 if it is not given
  --world W         only that world of the run, with every step in words: a failure says which one
  --help            this text
`;

export interface SimOptions {
  readonly seed: number;
  readonly runs: number;
  readonly transactions: number;
  /** Null: all. */
  readonly world: number | null;
}

/** Throws an error that names the option. */
export function parseOptions(argv: readonly string[]): SimOptions | "help" {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      seed: { type: "string", default: "1" },
      runs: { type: "string", default: "1" },
      transactions: { type: "string", default: "100000" },
      world: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return "help";
  const count = (name: "seed" | "runs" | "transactions" | "world", text: string, least: number): number => {
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < least)
      throw new Error(`--${name} must be a whole number from ${least} on, not "${text}"`);
    return value;
  };
  return {
    seed: count("seed", values.seed, 0),
    runs: count("runs", values.runs, 1),
    transactions: count("transactions", values.transactions, 1),
    world: values.world === undefined ? null : count("world", values.world, 0),
  };
}
