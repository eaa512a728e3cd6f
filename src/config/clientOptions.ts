// Pure.
/** The options of `timeouts`, of `classes`, and what a database or a user may have of its own of those and of `limits`. */
import { HOUR, MS, type OptionSpec } from "./optionSpec.ts";

const TIMEOUT_MAX = 30 * 24 * HOUR;
const COUNT_MAX = 1_000_000;

type TimeoutText = readonly [name: string, says: string];

const TIMEOUTS: readonly TimeoutText[] = [
  ["client_idle", "How long a client may be idle outside a transaction; then its session ends with 57P05"],
  [
    "idle_in_transaction",
    "How long a client may be idle within a transaction; then that is rolled back, and its session ends with 25P03",
  ],
  [
    "transaction",
    "How long a transaction may take, one of a single statement too; then it is rolled back, and the session of its client ends with 25P04",
  ],
  [
    "statement",
    "How long what a client has sent may run on the shards; then it is cancelled with 57014, and the session goes on. Waiting for a server connection does not count",
  ],
];

const timeoutOption = ([name, says]: TimeoutText): OptionSpec => ({
  path: `timeouts.${name}`,
  type: "duration",
  unit: MS,
  default: 0,
  min: 0,
  max: TIMEOUT_MAX,
  isLive: true,
  says: `${says}. 0 is for ever.`,
});

export const TIMEOUT_OPTIONS: readonly OptionSpec[] = TIMEOUTS.map(timeoutOption);

/** What an entry of `list` may have of its own; `whose`: as in "its clients". */
const ownOptions = (list: "databases" | "users", whose: string): readonly OptionSpec[] => [
  {
    path: `${list}[].clients_max`,
    type: "integer",
    isOptional: true,
    min: 0,
    max: COUNT_MAX,
    isLive: true,
    says: `The limits.${list === "users" ? "user" : "database"}_clients_max of ${whose}; 0 is no limit.`,
  },
  ...TIMEOUTS.map(
    ([name]): OptionSpec => ({
      path: `${list}[].${name}_timeout`,
      type: "duration",
      unit: MS,
      isOptional: true,
      min: 0,
      max: TIMEOUT_MAX,
      isLive: true,
      says: `The timeouts.${name} of ${whose}${list === "users" ? ", whatever their database has" : ""}; 0 is for ever.`,
    }),
  ),
];

export const DATABASE_OPTIONS: readonly OptionSpec[] = [
  {
    path: "databases[].pool_max",
    type: "integer",
    isOptional: true,
    min: 1,
    max: 10_000,
    isLive: true,
    says: "The pool.max of its pools.",
  },
  ...ownOptions("databases", "its clients"),
];

export const USER_OPTIONS: readonly OptionSpec[] = [
  {
    path: "users[].pool_max",
    type: "integer",
    isOptional: true,
    min: 1,
    max: 10_000,
    isLive: true,
    says: "How many connections of a pool this user's clients may hold at once; all if not given. With several shards: how many of its clients may hold any.",
  },
  ...ownOptions("users", "this user's clients"),
];

const limitOption = (name: string, says: string): OptionSpec => ({
  path: `limits.${name}`,
  type: "integer",
  default: 0,
  min: 0,
  max: COUNT_MAX,
  isLive: true,
  says: `${says}; 0 is no limit of its own.`,
});

export const CLIENT_LIMIT_OPTIONS: readonly OptionSpec[] = [
  limitOption("user_clients_max", "How many clients of one user may be connected"),
  limitOption("database_clients_max", "How many clients of one database may be connected"),
  limitOption("address_clients_max", "How many clients from one address may be connected"),
];

const matchOption = (name: string, what: string): OptionSpec => ({
  path: `classes[].${name}`,
  type: "text",
  isOptional: true,
  isLive: true,
  says: `The ${what} of its clients: names with commas between them, of which * at the end stands for anything. A client is of the first class of which everything given is true of it.`,
});

export const CLASS_OPTIONS: readonly OptionSpec[] = [
  {
    path: "classes[].name",
    type: "name",
    isLive: true,
    says: "The name of a class of clients in the queues for server connections.",
  },
  matchOption("user", "users"),
  matchOption("database", "databases"),
  matchOption("application_name", "application names, as of their start-up,"),
  {
    path: "classes[].weight",
    type: "integer",
    default: 1,
    min: 1,
    max: 1_000,
    isLive: true,
    says: "Its share of the server connections that come free while clients of several classes wait, beside the others' weights. Clients of no class are one of weight 1.",
  },
  {
    path: "classes[].connections_max",
    type: "integer",
    isOptional: true,
    min: 1,
    max: 10_000,
    isLive: true,
    says: "How many connections of a pool its clients may hold at once; all if not given. With several shards: how many of its clients may hold any.",
  },
];
