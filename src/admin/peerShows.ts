/**
 * PgBouncer's SHOW commands, with its columns in its order and of its types, so that what reads PgBouncer reads pgxa.
 *
 * Where pgxa has nothing of the kind, a column has what PgBouncer shows for "none". Durations are in microseconds.
 * https://www.pgbouncer.org/usage.html
 */
import { addTotals, noTotals, type Totals } from "../observe/traffic.ts";
import { type Cell, columns, type Row, row } from "./consoleTable.ts";
import { socketColumns, sockets } from "./peerSockets.ts";
import type { Show } from "./show.ts";
import type { Averages } from "./statistics.ts";
import type { ClientView, DatabaseView, PoolView, ServerView, Shown } from "./views.ts";

const us = (ms: number): number => ms * 1_000;

/** The last part of a total's name, the column of SHOW STATS_TOTALS, and the number. */
const NUMBERS: readonly (readonly [stats: string, average: string, column: string, name: keyof Totals])[] = [
  ["server_assignment_count", "server_assignment_count", "server_assignment_count", "assignments"],
  ["xact_count", "xact_count", "xact_count", "transactions"],
  ["query_count", "query_count", "query_count", "queries"],
  ["received", "recv", "bytes_received", "receivedBytes"],
  ["sent", "sent", "bytes_sent", "sentBytes"],
  ["xact_time", "xact_time", "xact_time", "transactionMs"],
  ["query_time", "query_time", "query_time", "queryMs"],
  ["wait_time", "wait_time", "wait_time", "waitMs"],
  ["client_parse_count", "client_parse_count", "client_parse_count", "clientParses"],
  ["server_parse_count", "server_parse_count", "server_parse_count", "serverParses"],
  ["bind_count", "bind_count", "bind_count", "binds"],
  ["client_login_count", "client_login_count", "client_login_count", "logins"],
];

const isTime = (name: keyof Totals): boolean => name.endsWith("Ms");
const totalsOf = (totals: Totals): readonly number[] =>
  NUMBERS.map(([, , , name]) => (isTime(name) ? us(totals[name]) : totals[name]));

/** Of transactions and queries how long one took, of all else how much a second. */
const averagesOf = ({ perSecond, transactionMs, queryMs }: Averages): readonly number[] =>
  NUMBERS.map(([, , , name]) => {
    if (name === "transactionMs") return us(transactionMs);
    if (name === "queryMs") return us(queryMs);
    return isTime(name) ? us(perSecond[name]) : perSecond[name];
  });

const perDatabase = (sources: Shown, cells: (name: string, totals: Totals) => readonly Cell[]): Row[] =>
  [...sources.traffic.databases].map(({ name, totals }) => row(name, ...cells(name, totals)));

function showTotals({ traffic, statistics }: Shown): readonly Row[] {
  const sum = noTotals();
  const average = noTotals();
  for (const { name, totals } of traffic.databases) {
    addTotals(sum, totals);
    addTotals(average, statistics.of(name).perSecond);
  }
  const averages = averagesOf({
    perSecond: average,
    transactionMs: average.transactions === 0 ? 0 : average.transactionMs / average.transactions,
    queryMs: average.queries === 0 ? 0 : average.queryMs / average.queries,
  });
  return [
    ...NUMBERS.map(([name], i) => row(`total_${inTotals(name)}`, totalsOf(sum)[i]!)),
    ...NUMBERS.map(([name], i) => row(`avg_${inTotals(name)}`, averages[i]!)),
  ];
}

/** SHOW TOTALS has names of its own for some. */
const inTotals = (name: string): string => IN_TOTALS[name] ?? name;

const IN_TOTALS: Readonly<Record<string, string>> = {
  received: "client_bytes",
  sent: "server_bytes",
  client_parse_count: "ps_client_parse_count",
  server_parse_count: "ps_server_parse_count",
  bind_count: "ps_bind_count",
};

interface PoolRow {
  readonly database: DatabaseView;
  readonly user: string;
  readonly clients: ClientView[];
  readonly servers: ServerView[];
}

/** Of each database's clients by user; connections that nobody holds are those of the role they logged in as. */
function poolRows(sources: Shown): readonly PoolRow[] {
  const found = new Map<string, PoolRow>();
  const databases = new Map(sources.databases().map((database) => [database.name, database]));
  const at = (name: string, user: string): PoolRow | undefined => {
    const database = databases.get(name);
    if (database === undefined) return undefined;
    const key = JSON.stringify([name, user]);
    const known = found.get(key) ?? { database, user, clients: [], servers: [] };
    found.set(key, known);
    return known;
  };
  for (const client of sources.clients()) at(client.database, client.user)?.clients.push(client);
  for (const server of sources.servers()) at(server.database, server.user)?.servers.push(server);
  for (const { name, pools } of databases.values()) {
    for (const pool of pools) if (pool.servers.login > 0) at(name, pool.user);
  }
  return [...found.values()];
}

export interface PoolFigures {
  readonly database: string;
  readonly user: string;
  readonly active: number;
  readonly waiting: number;
  readonly serversActive: number;
  readonly serversIdle: number;
  readonly serversLogin: number;
  readonly maxWaitMs: number;
  readonly mode: string;
}

/** What SHOW POOLS says, as numbers. */
export const poolFigures = (sources: Shown): readonly PoolFigures[] =>
  poolRows(sources).map(({ database, user, clients, servers }) => ({
    database: database.name,
    user,
    active: clients.filter(({ state }) => state !== "waiting").length,
    waiting: clients.filter(({ state }) => state === "waiting").length,
    serversActive: servers.filter(({ state }) => state === "active").length,
    serversIdle: servers.filter(({ state }) => state === "idle").length,
    serversLogin: loggingIn(database, user),
    maxWaitMs: Math.max(0, ...clients.map(({ waitMs }) => waitMs)),
    mode: database.mode,
  }));

const loggingIn = ({ pools }: DatabaseView, user: string): number =>
  pools.reduce((sum, pool) => sum + (pool.user === user ? pool.servers.login : 0), 0);

const showPools = (sources: Shown): readonly Row[] =>
  poolFigures(sources).map((one) =>
    row(
      one.database,
      one.user,
      one.active,
      one.waiting,
      ...[0, 0],
      one.serversActive,
      ...[0, 0],
      one.serversIdle,
      ...[0, 0],
      one.serversLogin,
      Math.floor(one.maxWaitMs / 1_000),
      Math.floor(us(one.maxWaitMs % 1_000)),
      one.mode,
      null,
    ),
  );

export const sum = (numbers: readonly number[]): number =>
  numbers.reduce((total, number) => total + number, 0);

/** Of the primaries. */
export const hostsOf = (pools: readonly PoolView[]): string =>
  pools.flatMap(({ host, role }) => (role === undefined ? [host] : [])).join(",");

const showDatabases = (sources: Shown): readonly Row[] =>
  sources.databases().map(({ name, ownMode, mode, isConsole, clients, pools }) => {
    const [first] = pools;
    return row(
      name,
      isConsole ? null : hostsOf(pools),
      first?.port ?? 0,
      first?.database ?? name,
      first?.user ?? null,
      sum(pools.map(({ max }) => max)),
      sum(pools.map(({ min }) => min)),
      0,
      sources.limits().serverLifetimeMs / 1_000,
      isConsole ? mode : ownMode,
      null,
      sum(pools.map(({ max }) => max)),
      sum(pools.map(({ servers }) => servers.active + servers.idle + servers.login)),
      0,
      clients,
      sources.operations?.isPaused(name) ? 1 : 0,
      sources.operations?.isDisabled(name) ? 1 : 0,
    );
  });

/** The lists and their lengths. */
export function listSizes(sources: Shown): readonly (readonly [name: string, items: number])[] {
  const clients = sources.clients().length;
  const servers = sources.databases().flatMap(({ pools }) => pools);
  const used = sum(servers.map((pool) => pool.servers.active + pool.servers.idle + pool.servers.login));
  return [
    ["databases", sources.databases().length],
    ["users", sources.users().length],
    ["peers", 0],
    ["pools", poolRows(sources).length],
    ["peer_pools", 0],
    ["free_clients", Math.max(0, sources.limits().clientsMax - clients)],
    ["used_clients", clients],
    ["login_clients", sources.handshakes()],
    ["free_servers", Math.max(0, sum(servers.map((pool) => pool.max)) - used)],
    ["used_servers", used],
    ["dns_names", 0],
    ["dns_zones", 0],
    ["dns_queries", 0],
    ["dns_pending", 0],
  ];
}

const showUsers = (sources: Shown): readonly Row[] => {
  const [clients, servers] = [sources.clients(), sources.servers()];
  return sources.users().map(({ name, mode }) => {
    const connections = servers.filter(({ user, client }) => client !== null && user === name).length;
    return row(name, "", "", mode, 0, connections, 0, clients.filter(({ user }) => user === name).length);
  });
};

function showMemory(sources: Shown): readonly Row[] {
  const { rss, heapTotal, heapUsed, external, arrayBuffers } = sources.memory();
  const line = (name: string, total: number, used = total): Row => row(name, 1, used, total - used, total);
  return [
    line("rss", rss),
    line("heap", heapTotal, heapUsed),
    line("external", external),
    line("array_buffers", arrayBuffers),
  ];
}

function showState({ operations }: Shown): readonly Row[] {
  const state = operations?.state ?? "active";
  return ["active", "paused", "suspended"].map((name) => row(name, state === name ? "yes" : "no"));
}

/** What PgBouncer calls options that its readers look for. */
const PEER_OPTIONS: Readonly<Record<string, string>> = { max_client_conn: "limits.clients_max" };

function showConfig(sources: Shown): readonly Row[] {
  const options = sources.options();
  const shown = options.map((one) => row(one.key, one.value, one.default, one.isLive ? "yes" : "no"));
  const named = Object.entries(PEER_OPTIONS).flatMap(([name, key]) =>
    options
      .filter((one) => one.key === key)
      .map((one) => row(name, one.value, one.default, one.isLive ? "yes" : "no")),
  );
  return [...shown, ...named, row("max_user_connections", "0", "0", "no")];
}

const names = (prefix: string, at: 0 | 1 | 2): string =>
  NUMBERS.map((one, i) => `${prefix}${one[at]}${i === 0 ? ":numeric" : ""}`).join(" ");

/** In PgBouncer's own order of SHOW HELP. */
export const PEER_SHOWS: Readonly<Record<string, Show>> = {
  STATS: {
    says: "totals and averages by database",
    columns: columns(`database:text ${names("total_", 0)} ${names("avg_", 1)}`),
    rows: (sources) =>
      perDatabase(sources, (name, totals) => [
        ...totalsOf(totals),
        ...averagesOf(sources.statistics.of(name)),
      ]),
  },
  STATS_TOTALS: {
    says: "totals by database",
    columns: columns(`database:text ${names("", 2)}`),
    rows: (sources) => perDatabase(sources, (_, totals) => totalsOf(totals)),
  },
  STATS_AVERAGES: {
    says: "averages by database",
    // The last four are called so.
    columns: columns(
      `database:text ${names("", 2).replace(/\b(client|server|bind)_(?!assignment)/g, "avg_$&")}`,
    ),
    rows: (sources) => perDatabase(sources, (name) => averagesOf(sources.statistics.of(name))),
  },
  TOTALS: {
    says: "totals and averages of all databases",
    columns: columns("name:text value:numeric"),
    rows: showTotals,
  },
  SERVERS: {
    says: "the connections to shards",
    columns: socketColumns(false),
    rows: (sources) => sockets(sources, false, true, false),
  },
  CLIENTS: {
    says: "the clients",
    columns: socketColumns(false),
    rows: (sources) => sockets(sources, true, false, false),
  },
  POOLS: {
    says: "clients and server connections by database and user",
    columns: columns(
      "database:text user cl_active:int4 cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active " +
        "sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait maxwait_us pool_mode:text " +
        "load_balance_hosts",
    ),
    rows: showPools,
  },
  PEER_POOLS: {
    says: "nothing: pgxa has no peers",
    columns: columns("peer_id:int4 cl_active_cancel_req cl_waiting_cancel_req sv_active_cancel sv_login"),
    rows: () => [],
  },
  LISTS: {
    says: "how many there are of what",
    columns: columns("list:text items:int4"),
    rows: (sources) => listSizes(sources).map((one) => row(...one)),
  },
  USERS: {
    says: "the users",
    columns: columns(
      "name:text pool_size reserve_pool_size pool_mode max_user_connections:int4 current_connections " +
        "max_user_client_connections current_client_connections",
    ),
    rows: showUsers,
  },
  DATABASES: {
    says: "the databases that clients may name",
    columns: columns(
      "name:text host port:int4 database:text force_user pool_size:int4 min_pool_size reserve_pool_size " +
        "server_lifetime pool_mode:text load_balance_hosts max_connections:int4 current_connections " +
        "max_client_connections current_client_connections paused disabled",
    ),
    rows: showDatabases,
  },
  PEERS: {
    says: "nothing: pgxa has no peers",
    columns: columns("peer_id:int4 host:text port:int4 pool_size"),
    rows: () => [],
  },
  FDS: {
    says: "the sockets, without what would let one take them over",
    needsAdmin: true,
    columns: columns(
      "fd:int4 task:text user database addr port:int4 cancel:int8 link:int4 client_encoding:text std_strings " +
        "datestyle timezone password scram_client_key scram_server_key",
    ),
    rows: (sources) =>
      [...sources.clients(), ...sources.servers()].map(({ user, database, endpoint, ...one }) =>
        row(
          null,
          "shard" in one ? "server" : "client",
          user,
          database,
          endpoint.address,
          endpoint.port,
          ...Array.from({ length: 9 }, () => null),
        ),
      ),
  },
  SOCKETS: {
    says: "clients and server connections",
    columns: socketColumns(true),
    rows: (sources) => sockets(sources, true, true, true),
  },
  ACTIVE_SOCKETS: {
    says: "those on which something runs",
    columns: socketColumns(true),
    rows: (sources) => sockets(sources, true, true, true, true),
  },
  CONFIG: {
    says: "the options, and whether a reload applies a change",
    columns: columns("key:text value default changeable"),
    rows: showConfig,
  },
  MEM: {
    says: "the memory of its processes, in bytes",
    columns: columns("name:text size:int8 used free memtotal"),
    rows: showMemory,
  },
  DNS_HOSTS: {
    says: "nothing: names are resolved by the system",
    columns: columns("hostname:text ttl:int8 addrs:text"),
    rows: () => [],
  },
  DNS_ZONES: {
    says: "nothing: names are resolved by the system",
    columns: columns("zonename:text serial:int8 count:int4"),
    rows: () => [],
  },
  VERSION: {
    says: "the version",
    columns: columns("version:text"),
    rows: ({ version }) => [row(version)],
  },
  STATE: {
    says: "whether it is active, paused or suspended",
    columns: columns("key:text value"),
    rows: showState,
  },
};
