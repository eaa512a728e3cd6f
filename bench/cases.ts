// Pure.
/**
 * What is measured: the table of cases.
 *
 * A `pgbench` case runs pgbench's own script through one shard; `connect` does with a new connection for each
 * transaction, `routed` through three shards and through one; `transfer` moves money between two shards;
 * `conserve` is no race but a count: thousand transfers at once, nothing lost; `deadlock` closes circles of waits and
 * measures until they are broken; `fairness` measures how long the clients of two unlike tenants wait; `idle` measures
 * the memory of clients that do nothing, and `stream` how fast much goes by, and in how much memory.
 */

/** What pgbench does in a round. */
export interface PgbenchLoad {
  /** One of pgbench's own scripts, or a file with one. */
  readonly script: "select-only" | "tpcb-like" | { readonly file: string };
  readonly protocol: "simple" | "extended" | "prepared";
  readonly clients: number;
  /** Which part of the transactions goes to the log; writing it costs the load generator time. */
  readonly samplingRate: number;
}

export interface PgbenchCase extends PgbenchLoad {
  readonly kind: "pgbench";
  readonly name: string;
  readonly about: string;
}

/** How clients prove who they are; `tls`: not at all, but over TLS. */
export type Login = "trust" | "scram" | "tls";

export interface ConnectCase extends PgbenchLoad {
  readonly kind: "connect";
  readonly name: string;
  readonly about: string;
  readonly login: Login;
}

export interface RoutedCase extends PgbenchLoad {
  readonly kind: "routed";
  readonly name: string;
  readonly about: string;
}

export interface IdleCase {
  readonly kind: "idle";
  readonly name: string;
  readonly about: string;
  readonly clients: number;
}

/** What goes by: the rows of a query, or of COPY TO, or of COPY FROM. */
export type Flow = "result" | "copy-out" | "copy-in";

export interface StreamCase {
  readonly kind: "stream";
  readonly name: string;
  readonly about: string;
  readonly flow: Flow;
  readonly clients: number;
}

export interface TransferCase {
  readonly kind: "transfer" | "conserve";
  readonly name: string;
  readonly about: string;
  readonly clients: number;
}

export interface DeadlockCase {
  readonly kind: "deadlock";
  readonly name: string;
  readonly about: string;
  readonly clients: number;
}

export interface FairnessCase {
  readonly kind: "fairness";
  readonly name: string;
  readonly about: string;
  /** Of the greedy tenant. */
  readonly clients: number;
}

export type Case =
  | PgbenchCase
  | ConnectCase
  | RoutedCase
  | TransferCase
  | DeadlockCase
  | FairnessCase
  | IdleCase
  | StreamCase;

type Protocol = PgbenchLoad["protocol"];

const selects = (clients: number, protocol: Protocol): PgbenchLoad => ({
  script: "select-only",
  protocol,
  clients,
  samplingRate: 0.2,
});

const selectOnly = (name: string, clients: number, protocol: Protocol): PgbenchCase => ({
  kind: "pgbench",
  name,
  about: `select-only through one shard, ${protocol} protocol`,
  ...selects(clients, protocol),
});

const tpcb = (name: string, clients: number, protocol: Protocol): PgbenchCase => ({
  kind: "pgbench",
  name,
  about: `TPC-B-like transaction of seven statements through one shard, ${protocol} protocol`,
  script: "tpcb-like",
  protocol,
  clients,
  samplingRate: 1,
});

const connect = (login: Login, about: string): ConnectCase => ({
  kind: "connect",
  name: `connect-${login}`,
  about: `a new connection for each select, ${about}`,
  ...selects(16, "simple"),
  samplingRate: 1,
  login,
});

const routed = (name: string, protocol: Protocol): RoutedCase => ({
  kind: "routed",
  name,
  about: `select-only routed over three shards, against one shard, ${protocol} protocol`,
  ...selects(16, protocol),
});

const stream = (flow: Flow, about: string): StreamCase => ({
  kind: "stream",
  name: `stream-${flow}`,
  about: `${about}: rate and the proxy's memory`,
  flow,
  clients: 1,
});

/** The cases of a run that names none, in its order. */
export const CASES: readonly Case[] = [
  selectOnly("select", 16, "simple"),
  selectOnly("select-1", 1, "simple"),
  selectOnly("select-64", 64, "simple"),
  selectOnly("select-extended", 16, "extended"),
  selectOnly("select-prepared", 16, "prepared"),
  tpcb("tpcb", 16, "simple"),
  { kind: "transfer", name: "transfer", about: "transfer between accounts of two shards", clients: 8 },
  { kind: "conserve", name: "conserve", about: "transfers at once while totals are read", clients: 1000 },
  { kind: "deadlock", name: "deadlock", about: "circles of 2 to 8 transactions over two shards", clients: 8 },
  {
    kind: "fairness",
    name: "fairness",
    about: "a greedy tenant and a modest one with 5 clients share a pool of 10",
    clients: 500,
  },
];

/** The cases that run only if they are named, or with --all, after those above. */
export const MORE_CASES: readonly Case[] = [
  selectOnly("select-500", 500, "simple"),
  ...[1, 64, 500].map((clients) => selectOnly(`select-prepared-${clients}`, clients, "prepared")),
  ...[1, 64, 500].map((clients) => selectOnly(`select-extended-${clients}`, clients, "extended")),
  ...[1, 64, 500].map((clients) => tpcb(`tpcb-${clients}`, clients, "simple")),
  // With more clients than server connections there is none: pgbench prepares each statement when it comes to it, and awaits the
  // answer with all of its clients, those too that hold the connections. No pooler of transactions can give it one.
  tpcb("tpcb-prepared", 16, "prepared"),
  tpcb("tpcb-prepared-1", 1, "prepared"),
  connect("trust", "nobody proves anything"),
  connect("scram", "SCRAM-SHA-256"),
  connect("tls", "TLS, nobody proves anything"),
  routed("routed", "simple"),
  routed("routed-extended", "extended"),
  routed("routed-prepared", "prepared"),
  { kind: "idle", name: "idle", about: "memory of a proxy for each client that does nothing", clients: 5000 },
  stream("result", "a large result"),
  stream("copy-out", "a large COPY TO STDOUT"),
  stream("copy-in", "a large COPY FROM STDIN"),
];

export const ALL_CASES: readonly Case[] = [...CASES, ...MORE_CASES];

/** Server connections to each shard that a proxy may hold, the same for every proxy. */
export const POOL_SIZE = 20;

/** How many contenders a case has at most; for the estimate of the remaining time. */
export const CONTENDERS = 4;
