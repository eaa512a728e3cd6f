// Pure.
/**
 * What is measured: the table of cases.
 *
 * A `pgbench` case runs pgbench's own script through one shard; `transfer` moves money between two shards;
 * `conserve` is no race but a count: thousand transfers at once, nothing lost; `deadlock` closes circles of waits and
 * measures until they are broken; `fairness` measures how long the clients of two unlike tenants wait.
 */

export interface PgbenchCase {
  readonly kind: "pgbench";
  readonly name: string;
  readonly about: string;
  /** pgbench's builtin script. */
  readonly script: "select-only" | "tpcb-like";
  readonly protocol: "simple" | "extended" | "prepared";
  readonly clients: number;
  /** Which part of the transactions goes to the log; writing it costs the load generator time. */
  readonly samplingRate: number;
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

export type Case = PgbenchCase | TransferCase | DeadlockCase | FairnessCase;

const selectOnly = (name: string, clients: number, protocol: PgbenchCase["protocol"]): PgbenchCase => ({
  kind: "pgbench",
  name,
  about: `select-only through one shard, ${protocol} protocol`,
  script: "select-only",
  protocol,
  clients,
  samplingRate: 0.2,
});

/** Every case, in the order of a full run. */
export const CASES: readonly Case[] = [
  selectOnly("select", 16, "simple"),
  selectOnly("select-1", 1, "simple"),
  selectOnly("select-64", 64, "simple"),
  selectOnly("select-extended", 16, "extended"),
  selectOnly("select-prepared", 16, "prepared"),
  {
    kind: "pgbench",
    name: "tpcb",
    about: "pgbench's TPC-B-like transaction of seven statements through one shard",
    script: "tpcb-like",
    protocol: "simple",
    clients: 16,
    samplingRate: 1,
  },
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

/** Server connections to each shard that a proxy may hold, the same for every proxy. */
export const POOL_SIZE = 20;

/** How many contenders a case has at most; for the estimate of the remaining time. */
export const CONTENDERS = 4;
