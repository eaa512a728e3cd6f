/** The part of the catalogue about commits over several shards and the logs of their decisions. */
import type { FaultSpec } from "./fault.ts";
import { spec } from "./faultSpec.ts";

export const COMMIT_FAULTS = {
  "commit.vote_unknown": spec(
    "40000",
    "ERROR",
    "statement",
    "server",
    "the transaction was rolled back: a shard did not answer its PREPARE",
  ),
  "commit.branch_lost": spec(
    "40000",
    "ERROR",
    "statement",
    "server",
    "the transaction was rolled back: the connection to a shard was lost",
  ),
  "commit.taken_over": spec(
    "40000",
    "ERROR",
    "statement",
    "proxy",
    "the transaction was rolled back: another pgxa took this one for dead and settled it",
    "Repeat the transaction. If it happens often, set transaction.lease higher.",
  ),
  "commit.made_read_only": spec(
    "25006",
    "ERROR",
    "statement",
    "client",
    "the transaction was rolled back: it was made read-only after it had written, and its decision could not be written",
    "Leave out SET TRANSACTION READ ONLY where the transaction has written, or set transaction.log to file.",
  ),
  "commit.log_failed": spec("58030", "ERROR", "process", "operator", "the decision log could not be written"),
  "commit.log_full": spec(
    "53100",
    "ERROR",
    "process",
    "operator",
    "the transaction was rolled back: the disk of the decision log is full",
  ),
  "commit.log_stopped": spec(
    "58030",
    "ERROR",
    "process",
    "operator",
    "the transaction was rolled back: the decision log has failed",
  ),
  "commit.unknown": spec(
    "08007",
    "ERROR",
    "statement",
    "server",
    "the outcome of the transaction is unknown",
    "Ask the data itself whether the transaction was applied before you repeat it.",
  ),
  "log.owned": spec("F0001", "FATAL", "process", "operator", "the decision log belongs to another process"),
  "log.no_schema": spec(
    "55000",
    "FATAL",
    "process",
    "operator",
    "a shard is not prepared for the decision log on shards",
    "Run pgxa shards init --config FILE, or set transaction.log to file.",
  ),
  "log.damaged": spec("XX001", "FATAL", "process", "operator", "the decision log is damaged"),
} as const satisfies Record<string, FaultSpec>;
