// Pure.
/** The last step of loading: from values that have all been checked to the configuration the program sees. */
import { shardId } from "../base/brands.ts";
import type {
  Config,
  DatabaseConfig,
  DeadlockConfig,
  KeyType,
  LimitsConfig,
  PoolConfig,
  PoolMode,
  ShardConfig,
  TableConfig,
  TransactionConfig,
  UserConfig,
} from "./config.ts";
import type { RawConfig, Section } from "./reader.ts";

/** `raw` must be without problems. */
export function buildConfig(raw: RawConfig): Config {
  const section = (name: string): Values => new Values(raw.sections.get(name));
  const list = (name: string): readonly Values[] =>
    (raw.lists.get(name) ?? []).map((entry) => new Values(entry));
  const top = new Values(raw.root);
  const [listen, auth] = [section("listen"), section("auth")];
  const database = top.text("database");
  const listed = list("databases").map(buildDatabase);
  const isListed = listed.some(({ name }) => name === database);
  return {
    listen: { host: listen.text("host"), port: listen.number("port") },
    database,
    databases: isListed ? listed : [{ name: database, database: undefined, mode: undefined }, ...listed],
    fleet: top.text("fleet"),
    coordinator: top.text("coordinator"),
    shards: list("shards").map((values) => buildShard(values, database)),
    tables: list("tables").map(buildTable),
    users: list("users").map(buildUser),
    auth: {
      method: auth.text("method") as Config["auth"]["method"],
      trustLoopback: auth.boolean("trust_loopback"),
    },
    pool: buildPool(section("pool")),
    transaction: buildTransaction(section("transaction")),
    deadlock: buildDeadlock(section("deadlock")),
    metrics: { host: section("metrics").text("host"), port: section("metrics").number("port") },
    limits: buildLimits(section("limits")),
    shutdown: {
      delayMs: section("shutdown").number("delay"),
      timeoutMs: section("shutdown").number("timeout"),
    },
    log: { level: section("log").text("level") as Config["log"]["level"] },
  };
}

const buildPool = (values: Values): PoolConfig => ({
  min: values.number("min"),
  max: values.number("max"),
  checkoutTimeoutMs: values.number("checkout_timeout"),
  idleTimeoutMs: values.number("idle_timeout"),
  lifetimeMs: values.number("lifetime"),
  connectTimeoutMs: values.number("connect_timeout"),
  queueMax: values.number("queue_max"),
  mode: values.text("mode") as PoolConfig["mode"],
  pins: values.text("pins") as PoolConfig["pins"],
  reset: values.text("reset") as PoolConfig["reset"],
  prepareUnnamed: values.boolean("prepare_unnamed"),
});

const buildTransaction = (values: Values): TransactionConfig => ({
  log: (values.optionalText("log") ??
    (values.optionalText("log_directory") === undefined ? "shard" : "file")) as TransactionConfig["log"],
  logDirectory: values.optionalText("log_directory") ?? "",
  leaseMs: values.number("lease"),
  prepareTimeoutMs: values.number("prepare_timeout"),
  commitTimeoutMs: values.number("commit_timeout"),
  commitAck: values.text("commit_ack") as TransactionConfig["commitAck"],
  resolveIntervalMs: values.number("resolve_interval"),
});

const buildDeadlock = (values: Values): DeadlockConfig => ({
  probeAfterMs: values.number("probe_after"),
  victim: values.text("victim") as DeadlockConfig["victim"],
  lockTimeoutMs: values.number("lock_timeout"),
});

const buildLimits = (values: Values): LimitsConfig => ({
  clientsMax: values.number("clients_max"),
  startupTimeoutMs: values.number("startup_timeout"),
  startupBytesMax: values.number("startup_bytes_max"),
  messageBytesMax: values.number("message_bytes_max"),
  messageHeldMax: values.number("message_held_max"),
  statementsMax: values.number("statements_max"),
});

const buildShard = (values: Values, database: string): ShardConfig => ({
  id: shardId(values.text("name")),
  host: values.text("host"),
  port: values.number("port"),
  database: values.optionalText("database") ?? database,
  user: values.text("user"),
  password: values.optionalText("password"),
});

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

const buildDatabase = (values: Values): DatabaseConfig => ({
  name: values.text("name"),
  database: values.optionalText("database"),
  mode: values.optionalText("mode") as PoolMode | undefined,
});

const buildUser = (values: Values): UserConfig => ({
  name: values.text("name"),
  password: values.optionalText("password"),
  mode: values.optionalText("mode") as PoolMode | undefined,
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

  number(name: string): number {
    return Number(this.#section.get(name));
  }

  boolean(name: string): boolean {
    return this.#section.get(name) === true;
  }
}
