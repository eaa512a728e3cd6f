// Pure.
/**
 * The metrics of pgbouncer_exporter under its names, for dashboards and alerts that were made for it; by option.
 *
 * https://github.com/prometheus-community/pgbouncer_exporter
 */
import type { Totals } from "../observe/traffic.ts";
import { type Instrument, type Labels, limitNames, type Sample } from "./instrument.ts";
import { hostsOf, listSizes, type PoolFigures, poolFigures, sum } from "./peerShows.ts";
import type { DatabaseView, Shown } from "./views.ts";

const plain = (name: string, help: string, read: (sources: Shown) => number): Instrument => ({
  name: `pgbouncer_${name}`,
  help,
  labels: [],
  read: { type: "gauge", samples: (sources) => [[{}, read(sources)]] },
});

const ofDatabase = (
  name: string,
  help: string,
  read: (database: DatabaseView, sources: Shown) => number,
): Instrument => ({
  name: `pgbouncer_databases_${name}`,
  help,
  labels: ["name", "host", "port", "database", "force_user", "pool_mode"],
  read: {
    type: "gauge",
    samples: (sources) => {
      const limited = limitNames();
      return sources.databases().map((one): Sample => [databaseLabels(one, limited), read(one, sources)]);
    },
  },
});

function databaseLabels(one: DatabaseView, limited: (name: string) => string): Labels {
  const [first] = one.pools;
  const name = limited(one.name);
  return {
    name,
    host: hostsOf(one.pools),
    port: String(first?.port ?? 0),
    database: name === one.name ? (first?.database ?? name) : name,
    force_user: first?.user ?? "",
    pool_mode: one.ownMode ?? "",
  };
}

const ofTraffic = (name: string, help: string, of: keyof Totals): Instrument => ({
  name: `pgbouncer_stats_totals_${name}`,
  help,
  labels: ["database"],
  read: {
    type: "counter",
    samples: (sources) =>
      [...sources.traffic.databases].map((one) => [
        { database: one.name },
        of.endsWith("Ms") ? one.totals[of] / 1_000 : one.totals[of],
      ]),
  },
});

const ofPool = (name: string, help: string, read: (pool: PoolFigures) => number): Instrument => ({
  name: `pgbouncer_pools_${name}`,
  help,
  labels: ["database", "user"],
  read: {
    type: "gauge",
    samples: (sources) => {
      const [databases, users] = [limitNames(), limitNames()];
      return poolFigures(sources).map((one): Sample => {
        return [{ database: databases(one.database), user: users(one.user) }, read(one)];
      });
    },
  },
});

const LISTED: Readonly<Record<string, string>> = {
  databases: "databases",
  users: "users",
  pools: "pools",
  free_clients: "free_clients",
  used_clients: "used_clients",
  login_clients: "login_clients",
  free_servers: "free_servers",
  used_servers: "used_servers",
  dns_names: "cached_dns_names",
  dns_zones: "cached_dns_zones",
  dns_queries: "in_flight_dns_queries",
};

const open = ({ pools }: DatabaseView): number =>
  sum(pools.map(({ servers }) => servers.active + servers.idle + servers.login));
const none = (): number => 0;

export const PEER_INSTRUMENTS: readonly Instrument[] = [
  plain("up", "1: pgxa answers", () => 1),
  {
    name: "pgbouncer_version_info",
    help: "1, with what SHOW VERSION says",
    labels: ["version"],
    read: { type: "gauge", samples: ({ version }) => [[{ version }, 1]] },
  },
  ...Object.entries(LISTED).map(([list, name]) =>
    plain(name, `${list} of SHOW LISTS`, (sources) => {
      return listSizes(sources).find(([one]) => one === list)?.[1] ?? 0;
    }),
  ),
  plain("config_max_client_connections", "limits.clients_max", (sources) => sources.limits().clientsMax),
  plain("config_max_user_connections", "0: there is no such limit", none),
  plain("client_connections", "Clients", (sources) => sources.clients().length),
  ofDatabase("pool_size", "Most server connections", ({ pools }) => sum(pools.map(({ max }) => max))),
  ofDatabase("reserve_pool", "Most server connections beyond that", none),
  ofDatabase("max_connections", "Most server connections in all", ({ pools }) =>
    sum(pools.map(({ max }) => max)),
  ),
  ofDatabase("current_connections", "Server connections", open),
  ofDatabase("paused", "1 while it is paused", ({ name }, { operations }) =>
    operations?.isPaused(name) ? 1 : 0,
  ),
  ofDatabase("disabled", "1 while no new clients are let in", ({ name }, { operations }) =>
    operations?.isDisabled(name) ? 1 : 0,
  ),
  ofTraffic("queries_pooled_total", "Queries", "queries"),
  ofTraffic("queries_total", "Queries", "queries"),
  ofTraffic("queries_duration_seconds_total", "How long they took", "queryMs"),
  ofTraffic("received_bytes_total", "Bytes from clients", "receivedBytes"),
  ofTraffic("sent_bytes_total", "Bytes to clients", "sentBytes"),
  ofTraffic("client_wait_seconds_total", "How long clients waited for a server connection", "waitMs"),
  ofTraffic("sql_transactions_pooled_total", "Transactions", "transactions"),
  ofTraffic("server_in_transaction_seconds_total", "How long they took", "transactionMs"),
  ofTraffic("client_parses_total", "Parse messages from clients", "clientParses"),
  ofTraffic("server_parses_total", "Parse messages to shards", "serverParses"),
  ofTraffic("binds_total", "Bind messages from clients", "binds"),
  ofTraffic("server_assignments_total", "How often a client was given a server connection", "assignments"),
  ofPool("client_active_connections", "Clients that do not wait", ({ active }) => active),
  ofPool("client_waiting_connections", "Clients that wait for a server connection", ({ waiting }) => waiting),
  ofPool("client_active_cancel_connections", "0", none),
  ofPool("client_waiting_cancel_connections", "0", none),
  ofPool(
    "server_active_connections",
    "Server connections with a client",
    ({ serversActive }) => serversActive,
  ),
  ofPool("server_active_cancel_connections", "0", none),
  ofPool("server_being_canceled_connections", "0", none),
  ofPool("server_idle_connections", "Server connections without one", ({ serversIdle }) => serversIdle),
  ofPool("server_used_connections", "0", none),
  ofPool("server_testing_connections", "0", none),
  ofPool(
    "server_login_connections",
    "Server connections that are being opened",
    ({ serversLogin }) => serversLogin,
  ),
  ofPool(
    "client_maxwait_seconds",
    "How long the client has waited that has waited longest",
    ({ maxWaitMs }) => maxWaitMs / 1_000,
  ),
];
