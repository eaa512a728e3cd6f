// Pure.
/**
 * The one table of options. From it come the validator, the defaults, what is redacted, and docs/configuration.md.
 *
 * A path is the option's place in the YAML file; `[]` stands for each entry of a list. The unit is that of a plain
 * number; durations and sizes may name their own (`250ms`, `5s`, `10min`, `64MB`).
 */

import { AUTH_OPTIONS } from "./authOptions.ts";
import {
  CLASS_OPTIONS,
  CLIENT_LIMIT_OPTIONS,
  DATABASE_OPTIONS,
  TIMEOUT_OPTIONS,
  USER_OPTIONS,
} from "./clientOptions.ts";
import { DECISION_OPTIONS } from "./decisionOptions.ts";
import { HEALTH_OPTIONS, HOSTS_OPTION } from "./healthOptions.ts";
import { METRICS_OPTIONS } from "./metricsOptions.ts";
import { BYTES, HOUR, MEGABYTE, MINUTE, MS, type OptionSpec, SECOND } from "./optionSpec.ts";
import { POOL_OPTIONS } from "./poolOptions.ts";
import { RESTART_OPTIONS } from "./restartOptions.ts";
import { SHUTDOWN_OPTIONS } from "./shutdownOptions.ts";
import { STANDBY_OPTIONS } from "./standbyOptions.ts";
import { CLIENT_TLS_OPTIONS, SHARD_TLS_OPTIONS, UNIX_OPTIONS } from "./tlsOptions.ts";
import { WORKER_OPTIONS } from "./workerOptions.ts";

export type { OptionSpec, OptionType } from "./optionSpec.ts";

export const OPTIONS: readonly OptionSpec[] = [
  {
    path: "listen.host",
    type: "text",
    default: "127.0.0.1",
    says: "The address to listen on; 0.0.0.0 or :: for all of the machine's.",
  },
  {
    path: "listen.port",
    type: "integer",
    default: 6432,
    min: 0,
    max: 65_535,
    says: "The port to listen on; 0 takes a free one.",
  },
  ...UNIX_OPTIONS,
  ...WORKER_OPTIONS,
  ...CLIENT_TLS_OPTIONS,
  { path: "database", type: "text", says: "The database that clients name; `databases` has others." },
  {
    path: "fleet",
    type: "name",
    default: "pgxa",
    says: "Whose prepared transactions are pgxa's: part of every gid. All pgxa processes in front of the same shards share it.",
  },
  {
    path: "coordinator",
    type: "name",
    default: "main",
    says: "This process's name within the fleet; it must keep it over restarts, and no other may have it.",
  },

  {
    path: "shards[].name",
    type: "name",
    says: "The shard's name in hints, errors and gids. The order of the shards decides where rows are: never change it.",
  },
  {
    path: "shards[].host",
    type: "text",
    isOptional: true,
    says: "The host of the shard's Postgres server; with a / in front, the directory of its Unix socket. Needed unless there are hosts.",
  },
  HOSTS_OPTION,
  { path: "shards[].port", type: "integer", default: 5432, min: 1, max: 65_535, says: "Its port." },
  {
    path: "shards[].database",
    type: "text",
    isOptional: true,
    says: "The database's name on this shard; the one that clients name if not given.",
  },
  { path: "shards[].user", type: "text", says: "The role pgxa logs in as." },
  {
    path: "shards[].password",
    type: "text",
    isOptional: true,
    isSecret: true,
    says: "Its password, for SCRAM-SHA-256, md5 or clear text, whichever the shard asks for.",
  },
  ...SHARD_TLS_OPTIONS,

  {
    path: "databases[].name",
    type: "text",
    isLive: true,
    says: "Another database that clients may name, in front of one shard; * stands for every one that is not listed.",
  },
  {
    path: "databases[].database",
    type: "text",
    isOptional: true,
    isLive: true,
    says: "Its name on the shard, if other.",
  },
  {
    path: "databases[].mode",
    type: "choice",
    isOptional: true,
    choices: ["session", "transaction", "statement"],
    isLive: true,
    says: "The pool.mode of its clients. An entry with the name of `database` gives that one a mode.",
  },
  ...DATABASE_OPTIONS,

  { path: "tables[].name", type: "text", says: "The table, with its schema if that is not public." },
  {
    path: "tables[].key",
    type: "text",
    isOptional: true,
    says: "The shard key's column: the table's rows are spread over all shards by PostgreSQL's own partition hash of it.",
  },
  {
    path: "tables[].key_type",
    type: "choice",
    isOptional: true,
    choices: ["int2", "int4", "int8", "text", "varchar", "uuid", "numeric", "date", "timestamptz"],
    says: "The type of that column.",
  },
  {
    path: "tables[].reference",
    type: "boolean",
    isOptional: true,
    says: "Every shard has a copy of the table; a write goes to all.",
  },
  { path: "tables[].shard", type: "text", isOptional: true, says: "The one shard that has the table." },

  { path: "users[].name", type: "text", isLive: true, says: "A user that may log in." },
  {
    path: "users[].password",
    type: "text",
    isOptional: true,
    isSecret: true,
    isLive: true,
    says: "The password, in clear text or as a SCRAM-SHA-256 or md5 secret of pg_authid. If not given, auth.users_file and auth.query are asked.",
  },
  {
    path: "users[].mode",
    type: "choice",
    isOptional: true,
    choices: ["session", "transaction", "statement"],
    isLive: true,
    says: "The pool.mode of this user's clients, whatever their database has.",
  },
  ...USER_OPTIONS,

  ...AUTH_OPTIONS,
  ...POOL_OPTIONS,
  ...HEALTH_OPTIONS,
  ...STANDBY_OPTIONS,
  ...CLASS_OPTIONS,
  ...TIMEOUT_OPTIONS,

  ...DECISION_OPTIONS,
  {
    path: "transaction.prepare_timeout",
    type: "duration",
    unit: MS,
    default: 30 * SECOND,
    min: 1,
    max: HOUR,
    says: "How long a shard may take over PREPARE TRANSACTION; after that the transaction is rolled back.",
  },
  {
    path: "transaction.commit_timeout",
    type: "duration",
    unit: MS,
    default: 10 * SECOND,
    min: 1,
    max: HOUR,
    says: "How long a shard may take over COMMIT and COMMIT PREPARED before its reply counts as lost.",
  },
  {
    path: "transaction.commit_ack",
    type: "choice",
    default: "applied",
    choices: ["applied", "decided"],
    says: "When the client is told: after every shard has applied the commit, or once it is decided.",
  },
  {
    path: "transaction.on_unpreparable",
    type: "choice",
    default: "refuse",
    choices: ["refuse", "warn"],
    isLive: true,
    says: "What becomes of a statement after which no commit over several shards is possible (temporary objects, cursors WITH HOLD, LISTEN, NOTIFY, exported snapshots): it is refused with 0A000, or the client is warned and its COMMIT fails.",
  },
  {
    path: "transaction.resolve_interval",
    type: "duration",
    unit: MS,
    default: 5 * SECOND,
    min: 100,
    max: MINUTE,
    says: "How often shards are searched for prepared transactions that somebody left.",
  },

  {
    path: "deadlock.probe_after",
    type: "duration",
    unit: MS,
    default: 50,
    min: 1,
    max: MINUTE,
    says: "How long a statement of a transaction that holds locks elsewhere may take before the shards are asked who waits for whom.",
  },
  {
    path: "deadlock.victim",
    type: "choice",
    default: "least_work",
    choices: ["least_work", "youngest", "priority"],
    says: "Which transaction of a deadlock is rolled back: the one with the fewest writes, the one that began last, or the one with the lowest pgxa.deadlock_priority.",
  },
  {
    path: "deadlock.lock_timeout",
    type: "duration",
    unit: MS,
    default: 30 * SECOND,
    min: 0,
    max: 24 * HOUR,
    says: "How long such a statement may take where the shard cannot be asked; 0 is for ever. A client sets its own by SET pgxa.lock_timeout.",
  },

  {
    path: "metrics.host",
    type: "text",
    default: "127.0.0.1",
    says: "The address on which Prometheus reads /metrics.",
  },
  {
    path: "metrics.port",
    type: "integer",
    default: 0,
    min: 0,
    max: 65_535,
    says: "The port on which Prometheus reads /metrics; 0 opens none.",
  },
  ...METRICS_OPTIONS,

  {
    path: "limits.clients_max",
    type: "integer",
    default: 10_000,
    min: 1,
    max: 1_000_000,
    isLive: true,
    says: "How many clients may be connected.",
  },
  ...CLIENT_LIMIT_OPTIONS,
  {
    path: "limits.startup_timeout",
    type: "duration",
    unit: MS,
    default: MINUTE,
    min: 1,
    max: HOUR,
    isLive: true,
    says: "How long a connection may take to become a client.",
  },
  {
    path: "limits.startup_bytes_max",
    type: "size",
    unit: BYTES,
    default: 10_000,
    min: 100,
    max: MEGABYTE,
    isLive: true,
    says: "The longest startup packet.",
  },
  {
    path: "limits.message_bytes_max",
    type: "size",
    unit: BYTES,
    default: 1_073_741_823,
    min: 1_024,
    max: 1_073_741_823,
    isLive: true,
    says: "The longest message a client may send; a longer one ends its session.",
  },
  {
    path: "limits.message_held_max",
    type: "size",
    unit: BYTES,
    default: 64 * MEGABYTE,
    min: 64 * 1_024,
    max: 1_073_741_823,
    isLive: true,
    says: "The longest message that is held as a whole, so that its text can be looked at. In front of one shard longer ones pass through in pieces; in front of several, where each has to be routed, they end the session.",
  },
  {
    path: "limits.statements_max",
    type: "integer",
    default: 10_000,
    min: 1,
    max: 1_000_000,
    isLive: true,
    says: "How many prepared statements a client may keep.",
  },

  ...SHUTDOWN_OPTIONS,
  ...RESTART_OPTIONS,

  {
    path: "log.level",
    type: "choice",
    default: "info",
    choices: ["debug", "info", "warn", "error", "silent"],
    isLive: true,
    says: "What is logged, as JSON lines on standard error.",
  },
];

/** The options that are lists of entries. */
export const LISTS: readonly string[] = ["shards", "databases", "tables", "users", "classes"];

/** The options that are sections. */
export const SECTIONS: readonly string[] = [
  ...new Set(OPTIONS.flatMap(({ path }) => /^([a-z_]+)\./.exec(path)?.[1] ?? [])),
];

/** The spec of `path`; undefined if there is no such option. */
export const optionAt = (path: string): OptionSpec | undefined =>
  OPTIONS.find((option) => option.path === path);

/** The names of the options directly under `prefix`, such as `pool.` or `shards[].`. */
export const namesUnder = (prefix: string): readonly string[] =>
  OPTIONS.filter(({ path }) => path.startsWith(prefix))
    .map(({ path }) => path.slice(prefix.length))
    .filter((name) => !/[.[]/.test(name));

export const topLevelNames = (): readonly string[] => [...namesUnder(""), ...SECTIONS, ...LISTS];
