// Pure.
/** The last step of loading: from values that have all been checked to the configuration the program sees. */
import { shardId } from "../base/brands.ts";
import type {
  AuthConfig,
  AuthQueryConfig,
  ClassConfig,
  ClientTlsConfig,
  Config,
  DatabaseConfig,
  DeadlockConfig,
  HealthConfig,
  KeyType,
  LimitsConfig,
  ListenConfig,
  OwnLimits,
  PoolConfig,
  PoolMode,
  ShardConfig,
  ShardTlsConfig,
  StandbysConfig,
  TableConfig,
  TimeoutsConfig,
  TransactionConfig,
  UserConfig,
} from "./config.ts";
import { readHosts } from "./hosts.ts";
import type { RawConfig, Section } from "./reader.ts";

/** `raw` must be without problems. */
export function buildConfig(raw: RawConfig): Config {
  const section = (name: string): Values => new Values(raw.sections.get(name));
  const list = (name: string): readonly Values[] =>
    (raw.lists.get(name) ?? []).map((entry) => new Values(entry));
  const top = new Values(raw.root);
  const database = top.text("database");
  const listed = list("databases").map(buildDatabase);
  const isListed = listed.some(({ name }) => name === database);
  return {
    listen: buildListen(section("listen")),
    workers: top.text("workers") === "auto" ? "auto" : top.number("workers"),
    clientTls: buildClientTls(section("client_tls")),
    database,
    databases: isListed ? listed : [unlisted(database), ...listed],
    fleet: top.text("fleet"),
    coordinator: top.text("coordinator"),
    shards: list("shards").map((values) => buildShard(values, database)),
    tables: list("tables").map(buildTable),
    users: list("users").map(buildUser),
    auth: buildAuth(section("auth")),
    console: {
      adminUsers: section("console").list("admin_users"),
      statsUsers: section("console").list("stats_users"),
    },
    pool: buildPool(section("pool")),
    health: buildHealth(section("health")),
    standbys: buildStandbys(section("standbys")),
    classes: list("classes").map(buildClass),
    timeouts: buildTimeouts(section("timeouts")),
    transaction: buildTransaction(section("transaction")),
    deadlock: buildDeadlock(section("deadlock")),
    metrics: {
      host: section("metrics").text("host"),
      port: section("metrics").number("port"),
      pgbouncerNames: section("metrics").boolean("pgbouncer_names"),
    },
    limits: buildLimits(section("limits")),
    shutdown: {
      delayMs: section("shutdown").number("delay"),
      timeoutMs: section("shutdown").number("timeout"),
    },
    restart: {
      startTimeoutMs: section("restart").number("start_timeout"),
      timeoutMs: section("restart").number("timeout"),
    },
    pidFile: top.optionalText("pid_file"),
    log: { level: section("log").text("level") as Config["log"]["level"] },
  };
}

const buildAuth = (values: Values): AuthConfig => ({
  method: values.text("method") as AuthConfig["method"],
  trustLoopback: values.boolean("trust_loopback"),
  allowClearText: values.boolean("allow_clear_text"),
  hbaFile: values.optionalText("hba_file"),
  identFile: values.optionalText("ident_file"),
  usersFile: values.optionalText("users_file"),
  query: buildAuthQuery(values),
  passThrough: values.boolean("pass_through"),
  failuresMax: values.number("failures_max"),
  failuresWindowMs: values.number("failures_window"),
  failuresExemptLocal: values.boolean("failures_exempt_local"),
});

function buildAuthQuery(values: Values): AuthQueryConfig | null {
  const user = values.optionalText("query_user");
  if (user === undefined) return null;
  const shard = values.optionalText("query_shard");
  return {
    text: values.text("query"),
    user,
    password: values.optionalText("query_password"),
    shard: shard === undefined ? undefined : shardId(shard),
    database: values.optionalText("query_database"),
    cacheMs: values.number("query_cache"),
    timeoutMs: values.number("query_timeout"),
    connectionsMax: values.number("query_connections"),
  };
}
const buildListen = (values: Values): ListenConfig => ({
  host: values.text("host"),
  port: values.number("port"),
  unixDirectory: values.optionalText("unix_directory"),
  unixMode: Number.parseInt(values.text("unix_mode"), 8),
});

const buildClientTls = (values: Values): ClientTlsConfig => ({
  mode: values.text("mode") as ClientTlsConfig["mode"],
  keyFile: values.optionalText("key_file"),
  certFile: values.optionalText("cert_file"),
  caFile: values.optionalText("ca_file"),
  minVersion: values.text("min_version") as ClientTlsConfig["minVersion"],
  ciphers: values.optionalText("ciphers"),
});

const buildPool = (values: Values): PoolConfig => ({
  min: values.number("min"),
  max: values.number("max"),
  reserve: values.number("reserve"),
  reserveTimeoutMs: values.number("reserve_timeout"),
  noticeAfterMs: values.number("notice_after"),
  checkoutTimeoutMs: values.number("checkout_timeout"),
  idleTimeoutMs: values.number("idle_timeout"),
  lifetimeMs: values.number("lifetime"),
  connectTimeoutMs: values.number("connect_timeout"),
  checkAfterMs: values.number("check_after"),
  queueMax: values.number("queue_max"),
  mode: values.text("mode") as PoolConfig["mode"],
  pins: values.text("pins") as PoolConfig["pins"],
  reset: values.text("reset") as PoolConfig["reset"],
  prepareUnnamed: values.boolean("prepare_unnamed"),
});

const buildHealth = (values: Values): HealthConfig => ({
  intervalMs: values.number("interval"),
  timeoutMs: values.number("timeout"),
  failures: values.number("failures"),
  backoffMinMs: values.number("backoff_min"),
  backoffMaxMs: values.number("backoff_max"),
  giveUpMs: values.number("give_up"),
});

const buildTransaction = (values: Values): TransactionConfig => ({
  log: (values.optionalText("log") ??
    (values.optionalText("log_directory") === undefined ? "shard" : "file")) as TransactionConfig["log"],
  logDirectory: values.optionalText("log_directory") ?? "",
  sync: values.text("sync") as TransactionConfig["sync"],
  leaseMs: values.number("lease"),
  prepareTimeoutMs: values.number("prepare_timeout"),
  commitTimeoutMs: values.number("commit_timeout"),
  commitAck: values.text("commit_ack") as TransactionConfig["commitAck"],
  onUnpreparable: values.text("on_unpreparable") as TransactionConfig["onUnpreparable"],
  resolveIntervalMs: values.number("resolve_interval"),
});

const buildDeadlock = (values: Values): DeadlockConfig => ({
  probeAfterMs: values.number("probe_after"),
  victim: values.text("victim") as DeadlockConfig["victim"],
  lockTimeoutMs: values.number("lock_timeout"),
});

const buildStandbys = (values: Values): StandbysConfig => ({
  reads: values.text("reads") as StandbysConfig["reads"],
  lagMaxMs: values.number("lag_max"),
  fallback: values.text("fallback") as StandbysConfig["fallback"],
  poolMax: values.optionalNumber("pool_max"),
});

const buildLimits = (values: Values): LimitsConfig => ({
  clientsMax: values.number("clients_max"),
  userClientsMax: values.number("user_clients_max"),
  databaseClientsMax: values.number("database_clients_max"),
  addressClientsMax: values.number("address_clients_max"),
  startupTimeoutMs: values.number("startup_timeout"),
  startupBytesMax: values.number("startup_bytes_max"),
  messageBytesMax: values.number("message_bytes_max"),
  messageHeldMax: values.number("message_held_max"),
  statementsMax: values.number("statements_max"),
  handshakesMax: values.number("handshakes_max"),
  handshakesPerAddressMax: values.number("handshakes_per_address_max"),
});

function buildShard(values: Values, database: string): ShardConfig {
  const port = values.number("port");
  const hosts = readHosts(values.text("hosts"), port);
  const [first] = hosts ?? [];
  return {
    id: shardId(values.text("name")),
    host: first?.host ?? values.text("host"),
    port: first?.port ?? port,
    ...(first === undefined ? {} : { hosts: hosts! }),
    database: values.optionalText("database") ?? database,
    user: values.text("user"),
    password: values.optionalText("password"),
    tls: {
      mode: values.text("tls") as ShardTlsConfig["mode"],
      caFile: values.optionalText("tls_ca_file"),
      certFile: values.optionalText("tls_cert_file"),
      keyFile: values.optionalText("tls_key_file"),
      negotiation: values.text("tls_negotiation") as ShardTlsConfig["negotiation"],
    },
  };
}

function buildTable(values: Values): TableConfig {
  const { schema, name } = tableName(values.text("name"));
  const key = values.optionalText("key");
  if (key !== undefined)
    return { kind: "sharded", schema, name, key, keyType: values.text("key_type") as KeyType };
  const shard = values.optionalText("shard");
  return shard === undefined
    ? { kind: "reference", schema, name }
    : { kind: "single", schema, name, shard: shardId(shard) };
}

const unlisted = (name: string): DatabaseConfig => ({
  name,
  database: undefined,
  mode: undefined,
  clientsMax: undefined,
  poolMax: undefined,
  timeouts: {},
});

const buildTimeouts = (values: Values): TimeoutsConfig => ({
  clientIdleMs: values.number("client_idle"),
  idleInTransactionMs: values.number("idle_in_transaction"),
  transactionMs: values.number("transaction"),
  statementMs: values.number("statement"),
});

function buildOwn(values: Values): OwnLimits {
  const timeouts = {
    clientIdleMs: values.optionalNumber("client_idle_timeout"),
    idleInTransactionMs: values.optionalNumber("idle_in_transaction_timeout"),
    transactionMs: values.optionalNumber("transaction_timeout"),
    statementMs: values.optionalNumber("statement_timeout"),
  };
  const given = Object.entries(timeouts).filter(([, ms]) => ms !== undefined);
  return {
    clientsMax: values.optionalNumber("clients_max"),
    poolMax: values.optionalNumber("pool_max"),
    timeouts: Object.fromEntries(given),
  };
}

const buildClass = (values: Values): ClassConfig => ({
  name: values.text("name"),
  users: patterns(values.optionalText("user")),
  databases: patterns(values.optionalText("database")),
  applications: patterns(values.optionalText("application_name")),
  weight: values.number("weight"),
  connectionsMax: values.optionalNumber("connections_max"),
});

const patterns = (text: string | undefined): readonly string[] | null =>
  text === undefined ? null : text.split(",").map((name) => name.trim());

const buildDatabase = (values: Values): DatabaseConfig => ({
  name: values.text("name"),
  database: values.optionalText("database"),
  mode: values.optionalText("mode") as PoolMode | undefined,
  ...buildOwn(values),
});

const buildUser = (values: Values): UserConfig => ({
  name: values.text("name"),
  password: values.optionalText("password"),
  mode: values.optionalText("mode") as PoolMode | undefined,
  ...buildOwn(values),
});

/** `schema.name`, or a name in public. */
export function tableName(text: string): { readonly schema: string; readonly name: string } {
  const dot = text.indexOf(".");
  return dot < 0
    ? { schema: "public", name: text }
    : { schema: text.slice(0, dot), name: text.slice(dot + 1) };
}

/** A section that has been checked. */
class Values {
  readonly #section: Section;

  constructor(section: Section = new Map()) {
    this.#section = section;
  }

  text(name: string): string {
    return String(this.#section.get(name) ?? "");
  }

  optionalText(name: string): string | undefined {
    const value = this.#section.get(name);
    return value === undefined ? undefined : String(value);
  }

  /** The names in a text with commas in between. */
  list(name: string): readonly string[] {
    const names = this.text(name).split(",");
    return names.map((one) => one.trim()).filter((one) => one !== "");
  }

  number(name: string): number {
    return Number(this.#section.get(name));
  }

  optionalNumber(name: string): number | undefined {
    const value = this.#section.get(name);
    return value === undefined ? undefined : Number(value);
  }

  boolean(name: string): boolean {
    return this.#section.get(name) === true;
  }
}
