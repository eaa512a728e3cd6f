// Pure.
/** What the contenders of the commit case are called in its results, and what each of them is. */

export const HANDWRITTEN = "hand-written";
export const C_PARALLEL = "c parallel";
export const CITUS = "c citus";

/** In the order of the tables. */
export const ABOUT: ReadonlyMap<string, string> = new Map([
  [
    HANDWRITTEN,
    "an application's own two-phase commit on Node's `pg`, both phases on all shards at once, decisions in a file, one flush for all that wait",
  ],
  ["pgxa shard", "pgxa with its decisions on the shards; the application has one connection and says COMMIT"],
  ["pgxa file", "pgxa with its decisions in files"],
  ["pgxa file alone", "the same without group commit: one flush for each decision"],
  ["c sequential", "a two-phase commit in C, one shard after the other, decisions in a file"],
  [C_PARALLEL, "the same with each phase on all shards at once"],
  ["c anchor", "the same, but the decision is a row in the last shard's own transaction"],
  ["c plain", "COMMIT on all shards at once in C; not atomic"],
  ["c pgxa shard", "a client in C through pgxa with its decisions on the shards"],
  ["c pgxa file", "a client in C through pgxa with its decisions in files"],
  [CITUS, "a client in C through a Citus coordinator, a worker for each shard"],
]);
