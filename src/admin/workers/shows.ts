// Pure.
/**
 * For every SHOW how one table is made of all workers' facts, and which facts it takes.
 *
 * - `rows`: the rows of all workers, each once.
 * - `sums`: a row for each key, with numbers added up, or worked out from what was added up.
 * - `same`: the same in every worker, so the one that is asked answers alone.
 */
import type { FactName } from "./facts.ts";

export interface Across {
  readonly how: "rows" | "sums" | "same";
  readonly facts: readonly FactName[];
}

const SAME: Across = { how: "same", facts: [] };
const rows = (...facts: readonly FactName[]): Across => ({ how: "rows", facts });
const sums = (...facts: readonly FactName[]): Across => ({ how: "sums", facts });

/** Of `SHOWS`, all; a test compares. */
export const ACROSS: Readonly<Record<string, Across>> = {
  STATS: sums("traffic", "averages"),
  STATS_TOTALS: sums("traffic"),
  STATS_AVERAGES: sums("traffic", "averages"),
  TOTALS: sums("traffic", "averages"),
  SERVERS: rows("servers"),
  CLIENTS: rows("clients"),
  POOLS: sums("databases", "clients", "servers"),
  PEER_POOLS: SAME,
  LISTS: sums("databases", "users", "clients", "servers", "limits", "handshakes"),
  USERS: sums("users", "clients", "servers"),
  DATABASES: sums("databases", "limits", "operations"),
  PEERS: SAME,
  FDS: rows("clients", "servers"),
  SOCKETS: rows("clients", "servers"),
  ACTIVE_SOCKETS: rows("clients", "servers"),
  CONFIG: SAME,
  MEM: sums("memory"),
  DNS_HOSTS: SAME,
  DNS_ZONES: SAME,
  VERSION: SAME,
  STATE: sums("operations"),
  TRANSACTIONS: rows("transactions"),
  BRANCHES: rows("transactions"),
  IN_DOUBT: rows("inDoubtNow", "servers"),
  HEURISTICS: rows("heuristics"),
  DECISIONS: rows("decisions"),
  SHARDS: sums("databases", "shards"),
  ROUTES: sums("routes", "planCache"),
  PINS: rows("pins"),
  WAITS: rows("waits"),
  DEADLOCKS: rows("deadlocks"),
  HELP: SAME,
};
