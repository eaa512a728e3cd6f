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
  "commit.unpreparable": spec(
    "0A000",
    "ERROR",
    "statement",
    "client",
    "with this statement the transaction could not be committed on several shards",
  ),
  "commit.no_slots": spec(
    "53200",
    "ERROR",
    "statement",
    "operator",
    "the transaction was rolled back: a shard can keep no more prepared transactions",
    "Repeat the transaction. If it happens often, set max_prepared_transactions higher on that shard and restart it.",
  ),
  "commit.log_failed": spec("58030", "ERROR", "process", "operator", "the decision log could not be written"),
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
  "shard.no_slots": spec(
    "55000",
    "FATAL",
    "process",
    "operator",
    "a shard cannot prepare transactions",
    "Set max_prepared_transactions to pool.max or more on that shard and restart it; pgxa check names the shards.",
  ),
  "log.damaged": spec("XX001", "FATAL", "process", "operator", "the decision log is damaged"),
} as const satisfies Record<string, FaultSpec>;
