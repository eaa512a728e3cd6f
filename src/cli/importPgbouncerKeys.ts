// Pure.
/**
 * Every key of PgBouncer's configuration, and what it is in pgxa. docs/from-pgbouncer.md is this table (a test compares).
 *
 * https://www.pgbouncer.org/config.html
 */

export type KeySection = "pgbouncer" | "databases" | "users" | "peers";

/** How a value is carried over. */
export type ValueKind =
  /** As it stands. */
  | "text"
  | "count"
  /** In PgBouncer seconds, with fractions. */
  | "seconds"
  | "bytes"
  | "mode"
  /** A file of its own; relative to PgBouncer's directory. */
  | "file"
  /** The import has code of its own for it (importPgbouncer.ts). */
  | "special";

export interface KeyMapping {
  readonly section: KeySection;
  readonly key: string;
  /** Null: there is no such option. */
  readonly path: string | null;
  readonly kind: ValueKind;
  /** With a path: what is different, if anything is. Without one: why not, or what to do instead. */
  readonly says: string;
  /** Whether nothing has to be done about a key without counterpart. */
  readonly isNeedless: boolean;
}

type Row = readonly [key: string, path: string, kind: ValueKind, says?: string];
type Without = readonly [key: string, says: string];

const mapped = (section: KeySection, rows: readonly Row[]): readonly KeyMapping[] =>
  rows.map(([key, path, kind, says = ""]) => ({ section, key, path, kind, says, isNeedless: false }));

const without = (section: KeySection, isNeedless: boolean, rows: readonly Without[]): readonly KeyMapping[] =>
  rows.map(([key, says]) => ({ section, key, path: null, kind: "text", says, isNeedless }));

const ONE_POOL =
  "pgxa's pool is that of a database, for all its users together; PgBouncer has one for each user.";
const TLS_CLIENTS = "Set up TLS towards clients by hand: docs/configuration.md has the options.";
const TLS_SHARDS = "Set up TLS towards the shard by hand: docs/configuration.md has the options.";
const STATEMENT =
  "PgBouncer ends the session; pgxa cancels the statement with 57014, and the session goes on.";
const SYSTEM = "That is left to the operating system's defaults.";
const PROCESS =
  "pgxa stays in the foreground and logs to standard error: let systemd or the container do it.";
const DNS = "Names are looked up by the system whenever pgxa connects.";

export const PGBOUNCER_KEYS: readonly KeyMapping[] = [
  ...mapped("pgbouncer", [
    ["listen_addr", "listen.host", "special", "One address, or all of them; PgBouncer takes a list."],
    ["listen_port", "listen.port", "count"],
    ["pool_mode", "pool.mode", "mode"],
    ["max_client_conn", "limits.clients_max", "count"],
    ["default_pool_size", "pool.max", "count", ONE_POOL],
    ["min_pool_size", "pool.min", "count"],
    ["reserve_pool_size", "pool.reserve", "count"],
    ["reserve_pool_timeout", "pool.reserve_timeout", "seconds"],
    ["max_db_client_connections", "limits.database_clients_max", "count"],
    ["max_user_client_connections", "limits.user_clients_max", "count"],
    [
      "auth_type",
      "auth.method",
      "special",
      "trust and scram-sha-256 as they are; others may need auth.hba_file.",
    ],
    ["auth_file", "auth.users_file", "file"],
    ["auth_hba_file", "auth.hba_file", "file"],
    ["auth_ident_file", "auth.ident_file", "file"],
    ["auth_query", "auth.query", "text"],
    ["auth_user", "auth.query_user", "text"],
    ["admin_users", "console.admin_users", "text"],
    ["stats_users", "console.stats_users", "text"],
    ["server_reset_query_always", "pool.reset", "special", "1 is always."],
    ["server_lifetime", "pool.lifetime", "seconds"],
    ["server_idle_timeout", "pool.idle_timeout", "seconds"],
    ["server_connect_timeout", "pool.connect_timeout", "seconds"],
    ["client_login_timeout", "limits.startup_timeout", "seconds"],
    ["query_wait_notify", "pool.notice_after", "seconds"],
    [
      "query_wait_timeout",
      "pool.checkout_timeout",
      "seconds",
      "PgBouncer ends the session; pgxa's statement gets 53300.",
    ],
    ["query_timeout", "timeouts.statement", "seconds", STATEMENT],
    ["client_idle_timeout", "timeouts.client_idle", "seconds"],
    ["idle_transaction_timeout", "timeouts.idle_in_transaction", "seconds"],
    ["transaction_timeout", "timeouts.transaction", "seconds"],
    ["max_packet_size", "limits.message_bytes_max", "bytes"],
    ["unix_socket_dir", "listen.unix_directory", "text"],
    ["unix_socket_mode", "listen.unix_mode", "text"],
    ["pidfile", "pid_file", "file"],
    ["server_check_delay", "pool.check_after", "seconds"],
    ["client_tls_sslmode", "client_tls.mode", "text"],
    ["client_tls_key_file", "client_tls.key_file", "file"],
    ["client_tls_cert_file", "client_tls.cert_file", "file"],
    ["client_tls_ca_file", "client_tls.ca_file", "file"],
    ["server_tls_sslmode", "shards[].tls", "text"],
    ["server_tls_ca_file", "shards[].tls_ca_file", "file"],
    ["server_tls_key_file", "shards[].tls_key_file", "file"],
    ["server_tls_cert_file", "shards[].tls_cert_file", "file"],
  ]),
  ...without("pgbouncer", false, [
    ["unix_socket_group", "The socket belongs to the group of the process."],
    ["max_db_connections", "pool.max, or databases[].pool_max, bounds them for all users together."],
    ["max_user_connections", "Give each user a users[].pool_max, which holds for each database."],
    [
      "peer_id",
      "pgxa does not pass cancel requests on to others: let each client's requests come to one pgxa.",
    ],
    ["disable_pqexec", "Simple queries cannot be refused."],
    ["application_name_add_host", "Application names stay as clients give them."],
    [
      "scram_iterations",
      "Secrets of clear-text passwords are made with 4096 iterations; give SCRAM secrets instead.",
    ],
    ["auth_dbname", "The query runs in the shard's own database."],
    ["auth_ldap_options", "There is no login by LDAP."],
    ["syslog", PROCESS],
    ["syslog_ident", PROCESS],
    ["syslog_facility", PROCESS],
    ["log_pooler_errors", "log.level decides what is logged."],
    ["log_connections", "log.level: debug logs them."],
    ["log_disconnections", "log.level: debug logs them."],
    ["verbose", "log.level: debug says more."],
    ["login_notify_message", "Clients are told nothing of that kind."],
    ["server_fast_close", "Server connections close when they come back."],
    [
      "server_login_retry",
      "A client is told at once that the shard is down; health.backoff_max bounds the pause between trials.",
    ],
    ["cancel_wait_timeout", "A cancel request is passed on at once, or removes the client from the queue."],
    ["suspend_timeout", "There is no SUSPEND; PAUSE, or an online restart by SIGUSR2, does what it is for."],
    [
      "so_reuseport",
      "Set workers for several processes on one port; SIGUSR2 hands it to new ones without dropping clients.",
    ],
    ["client_tls_protocols", TLS_CLIENTS],
    ["client_tls_ciphers", TLS_CLIENTS],
    ["client_tls13_ciphers", TLS_CLIENTS],
    ["client_tls_ecdhcurve", TLS_CLIENTS],
    ["client_tls_dheparams", TLS_CLIENTS],
    ["server_tls_protocols", TLS_SHARDS],
    ["server_tls_ciphers", TLS_SHARDS],
    ["server_tls13_ciphers", TLS_SHARDS],
  ]),
  ...without("pgbouncer", true, [
    ["logfile", PROCESS],
    ["user", PROCESS],
    ["conffile", "The file is named on the command line."],
    ["service_name", PROCESS],
    ["job_name", PROCESS],
    ["server_round_robin", "The connection used last is used first."],
    ["track_extra_parameters", "All settings travel with their client."],
    ["ignore_startup_parameters", "All settings of the startup packet hold, as in Postgres."],
    [
      "max_prepared_statements",
      "Prepared statements always travel with their client; limits.statements_max bounds them.",
    ],
    ["log_stats", "/metrics has them."],
    ["stats_period", "/metrics has counters, and whoever reads them makes averages."],
    [
      "server_reset_query",
      "What a client's statements are seen to change is changed back; pool.reset: always undoes all.",
    ],
    ["server_check_query", "A server connection that is gone is noticed when it goes."],
    ["autodb_idle_timeout", "Databases that nobody uses go when there are many of them."],
    ["pool_idle_timeout", "Databases that nobody uses go when there are many of them."],
    ["dns_max_ttl", DNS],
    ["dns_nxdomain_ttl", DNS],
    ["dns_zone_check_period", DNS],
    ["resolv_conf", DNS],
    ["pkt_buf", "Buffers have the sizes they need."],
    ["listen_backlog", SYSTEM],
    ["sbuf_loopcnt", "Nobody is read from for long at a time."],
    ["tcp_defer_accept", SYSTEM],
    ["tcp_socket_buffer", SYSTEM],
    ["tcp_keepalive", SYSTEM],
    ["tcp_keepcnt", SYSTEM],
    ["tcp_keepidle", SYSTEM],
    ["tcp_keepintvl", SYSTEM],
    ["tcp_user_timeout", SYSTEM],
  ]),
  ...mapped("databases", [
    ["dbname", "databases[].database", "text"],
    ["host", "shards[].host", "special", "All databases of one pgxa are on one server."],
    ["port", "shards[].port", "special", "All databases of one pgxa are on one server."],
    [
      "user",
      "shards[].user",
      "special",
      "pgxa logs in as one role for all clients; without user= PgBouncer takes the client's.",
    ],
    ["password", "shards[].password", "special"],
    ["pool_size", "databases[].pool_max", "count", ONE_POOL],
    ["pool_mode", "databases[].mode", "mode"],
    ["max_db_client_connections", "databases[].clients_max", "count"],
  ]),
  ...without("databases", false, [
    ["auth_user", "auth.query_user is for all databases."],
    ["auth_query", "auth.query is for all databases."],
    ["auth_dbname", "The query runs in the shard's own database."],
    ["min_pool_size", "pool.min is for all databases."],
    ["reserve_pool_size", "pool.reserve is for all databases."],
    ["reserve_pool", "pool.reserve is for all databases."],
    ["connect_query", "Give the role its settings with ALTER ROLE … SET."],
    ["query_wait_timeout", "pool.checkout_timeout is for all databases."],
    ["load_balance_hosts", "A shard has one host."],
    ["max_db_connections", "databases[].pool_max bounds them for all users together."],
    ["server_lifetime", "pool.lifetime is for all databases."],
    ["client_encoding", "Give the role its settings with ALTER ROLE … SET, or let clients ask for it."],
    ["datestyle", "Give the role its settings with ALTER ROLE … SET, or let clients ask for it."],
    ["timezone", "Give the role its settings with ALTER ROLE … SET, or let clients ask for it."],
  ]),
  ...mapped("users", [
    ["pool_size", "users[].pool_max", "count", "How much of each pool the user's clients may hold."],
    ["pool_mode", "users[].mode", "mode"],
    [
      "max_user_connections",
      "users[].pool_max",
      "count",
      "It holds for each database, and not for all together.",
    ],
    ["max_user_client_connections", "users[].clients_max", "count"],
    ["query_timeout", "users[].statement_timeout", "seconds", STATEMENT],
    ["idle_transaction_timeout", "users[].idle_in_transaction_timeout", "seconds"],
    ["transaction_timeout", "users[].transaction_timeout", "seconds"],
    ["client_idle_timeout", "users[].client_idle_timeout", "seconds"],
  ]),
  ...without("users", false, [
    ["reserve_pool_size", "pool.reserve is for all users."],
    ["query_wait_timeout", "pool.checkout_timeout is for all users."],
  ]),
  ...without("peers", false, [
    ["host", "pgxa does not pass cancel requests on to others."],
    ["port", "pgxa does not pass cancel requests on to others."],
    ["pool_size", "pgxa does not pass cancel requests on to others."],
  ]),
];

/** Undefined: PgBouncer has no such key. */
export const pgbouncerKey = (section: KeySection, key: string): KeyMapping | undefined =>
  PGBOUNCER_KEYS.find((one) => one.section === section && one.key === key);
