// Pure.
/** The options of the decision log. */
import { MINUTE, MS, type OptionSpec, SECOND } from "./optionSpec.ts";

export const DECISION_OPTIONS: readonly OptionSpec[] = [
  {
    path: "transaction.log",
    type: "choice",
    isOptional: true,
    choices: ["file", "shard"],
    says: "Where commits over several shards are decided: in files of `log_directory`, or on the shards themselves (`pgxa shards init` makes the tables). Without it: file if `log_directory` is given, shard if not.",
  },
  {
    path: "transaction.log_directory",
    type: "text",
    isOptional: true,
    says: "Where the log of files lives. It must be on a durable disk, and recovery needs it. With `log: shard` it is read for what was decided in it before.",
  },
  {
    path: "transaction.sync",
    type: "choice",
    choices: ["fsync", "fdatasync", "none"],
    default: "fdatasync",
    says: "With `log: file`: how a decision is made durable before anybody acts on it. `none` leaves that to the operating system: when the machine stops, decided commits are lost, and shards disagree.",
  },
  {
    path: "transaction.lease",
    type: "duration",
    unit: MS,
    default: SECOND,
    min: 100,
    max: MINUTE,
    says: "With `log: shard`: how long this process may be silent before the others of its fleet settle what it left. It is renewed three times as often.",
  },
];
