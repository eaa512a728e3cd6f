/** PgBouncer's SHOW commands: the columns and types of its version 1.25, taken from what it sends. */

const OIDS: Readonly<Record<string, number>> = { s: 25, i: 23, q: 20, N: 1700 };
const STATS =
  "server_assignment_count xact_count query_count received sent xact_time query_time wait_time client_parse_count " +
  "server_parse_count bind_count client_login_count";
const TOTALS = STATS.replace("received sent", "bytes_received bytes_sent");
const SOCKET =
  "type user database replication state addr port local_addr local_port connect_time request_time wait wait_us " +
  "close_needed ptr link remote_pid tls application_name prepared_statements id";
const SOCKET_TYPES = "ssssssisissiiississii";
const BUFFERS = "recv_pos pkt_pos pkt_remain send_pos send_remain pkt_avail send_avail";

const prefixed = (prefix: string, names: string): string =>
  names
    .split(" ")
    .map((name) => prefix + name)
    .join(" ");

/** The names, and a letter for each type: text, int4, int8, numeric. */
const SHOWS: Readonly<Record<string, readonly [names: string, types: string]>> = {
  STATS: [
    `database ${prefixed("total_", STATS)} ${prefixed("avg_", STATS.replace("received", "recv"))}`,
    `s${"N".repeat(24)}`,
  ],
  STATS_TOTALS: [`database ${TOTALS}`, `s${"N".repeat(12)}`],
  STATS_AVERAGES: [
    `database ${TOTALS.replace(/client_parse.*/, (last) => prefixed("avg_", last))}`,
    `s${"N".repeat(12)}`,
  ],
  TOTALS: ["name value", "sN"],
  SERVERS: [SOCKET, SOCKET_TYPES],
  CLIENTS: [SOCKET, SOCKET_TYPES],
  SOCKETS: [`${SOCKET} ${BUFFERS}`, `${SOCKET_TYPES}iiiiiii`],
  ACTIVE_SOCKETS: [`${SOCKET} ${BUFFERS}`, `${SOCKET_TYPES}iiiiiii`],
  POOLS: [
    "database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active sv_active_cancel " +
      "sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait maxwait_us pool_mode load_balance_hosts",
    "ssiiiiiiiiiiiiiss",
  ],
  PEER_POOLS: ["peer_id cl_active_cancel_req cl_waiting_cancel_req sv_active_cancel sv_login", "iiiii"],
  LISTS: ["list items", "si"],
  USERS: [
    "name pool_size reserve_pool_size pool_mode max_user_connections current_connections " +
      "max_user_client_connections current_client_connections",
    "ssssiiii",
  ],
  DATABASES: [
    "name host port database force_user pool_size min_pool_size reserve_pool_size server_lifetime pool_mode " +
      "load_balance_hosts max_connections current_connections max_client_connections current_client_connections " +
      "paused disabled",
    "ssissiiiissiiiiii",
  ],
  PEERS: ["peer_id host port pool_size", "isii"],
  FDS: [
    "fd task user database addr port cancel link client_encoding std_strings datestyle timezone password " +
      "scram_client_key scram_server_key",
    "issssiqisssssss",
  ],
  CONFIG: ["key value default changeable", "ssss"],
  MEM: ["name size used free memtotal", "sqqqq"],
  DNS_HOSTS: ["hostname ttl addrs", "sqs"],
  DNS_ZONES: ["zonename serial count", "sqi"],
  VERSION: ["version", "s"],
  STATE: ["key value", "ss"],
};

/** By command: names and type oids. */
export const peerColumns = (): Readonly<Record<string, readonly (readonly [string, number])[]>> =>
  Object.fromEntries(
    Object.entries(SHOWS).map(([command, [names, types]]) => [
      `SHOW ${command}`,
      names.split(" ").map((name, i) => [name, OIDS[types[i]!]!] as const),
    ]),
  );
