/** The part of the catalogue about statements that go to no shard, or not to one alone. */
import type { FaultSpec } from "./fault.ts";
import { spec } from "./faultSpec.ts";

export const ROUTE_FAULTS = {
  "route.unsupported": spec(
    "0A000",
    "ERROR",
    "statement",
    "client",
    "this statement cannot be routed to one shard",
  ),
  "route.no_key": spec(
    "0A000",
    "ERROR",
    "statement",
    "client",
    "the shard key of the statement is not known",
  ),
  "route.many_shards": spec("0A000", "ERROR", "statement", "client", "the statement touches several shards"),
  "route.key_update": spec(
    "0A000",
    "ERROR",
    "statement",
    "client",
    "the shard key of a row cannot be changed",
  ),
  "route.bad_key": spec("22P02", "ERROR", "statement", "client", "invalid value for the shard key"),
  "route.null_key": spec("23502", "ERROR", "statement", "client", "the shard key must not be null"),
  "route.unknown_shard": spec("22023", "ERROR", "statement", "client", "no such shard"),
  "route.unknown_table": spec(
    "0A000",
    "ERROR",
    "statement",
    "client",
    "the table is not in the routing configuration",
  ),
  "route.syntax_error": spec("42601", "ERROR", "statement", "client", "syntax error"),
  "route.unknown_setting": spec(
    "42704",
    "ERROR",
    "statement",
    "client",
    "unrecognized configuration parameter",
  ),
} as const satisfies Readonly<Record<string, FaultSpec>>;
