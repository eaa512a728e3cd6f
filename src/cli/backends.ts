/**
 * The databases that clients may name, each with its pools and all that hangs on them.
 *
 * Those of the configuration are there from the start. With an entry `*` any other comes to be when the first client
 * names it; when there are many of those, the ones without clients and connections go.
 */
import { detach } from "../base/detach.ts";
import { Fault } from "../base/fault.ts";
import type {
  Config,
  DatabaseConfig,
  PoolConfig,
  PoolMode,
  ShardConfig,
  StandbysConfig,
} from "../config/config.ts";
import type { UserTraffic } from "../observe/traffic.ts";
import type { ShardHealth } from "../pool/health/shardHealth.ts";
import { StandbyHost } from "../pool/health/standbyHost.ts";
import { NOBODY } from "../pool/nobody.ts";
import { NotificationHub } from "../pool/notificationHub.ts";
import { Pool } from "../pool/pool.ts";
import type { PoolOptions } from "../pool/poolOptions.ts";
import { PoolQuota, withoutGrant } from "../pool/poolQuota.ts";
import type { Quotas } from "../pool/quota.ts";
import { type LeasePool, ShardPools, type StandbyPool } from "../pool/shardPools.ts";
import { SharedBounds } from "../pool/sharedBounds.ts";
import type { Credentials, Proof } from "../proxy/auth/credentials.ts";
import type { Place } from "../proxy/gate.ts";
import { Greetings } from "../proxy/greetings.ts";
import type { Session, SessionParts } from "../proxy/session.ts";
import type { ProxyParts } from "./compose.ts";

/** How many databases that no configuration names are kept although nobody uses them. */
const UNUSED_MAX = 100;

/** The limits of the pools of `database`. */
export function poolOf({ pool }: Pick<Config, "pool">, database: DatabaseConfig | undefined): PoolConfig {
  const max = database?.poolMax ?? pool.max;
  return { ...pool, max, min: Math.min(pool.min, max) };
}

/** The same for users that log in to the shard themselves. */
const OWN_MAX = 1_000;

interface OwnBackend {
  readonly name: string;
  readonly credentials: Credentials;
  readonly backend: Backend;
}

type Login = Pick<ShardConfig, "user" | "password" | "scramKeys">;

/** How pgxa logs in to the shard as the user of `credentials`; throws a Fault if it has nothing to do so. */
function loginOf({ user, proof }: Credentials): Login {
  if (proof.kind === "none") throw new Fault("login.nothing_to_pass");
  if (proof.kind === "password") return { user, password: proof.password, scramKeys: undefined };
  return { user, password: undefined, scramKeys: proof.keys };
}

function isSameProof(one: Proof, other: Proof): boolean {
  if (one.kind === "password" && other.kind === "password") return one.password === other.password;
  if (one.kind !== "scram" || other.kind !== "scram") return one.kind === other.kind;
  return Buffer.compare(one.keys.clientKey, other.keys.clientKey) === 0;
}

type DatabasePlace = Extract<Place, { kind: "database" }>;

/** What backends need of the world, and in the order of the shards how these are. */
export interface BackendParts extends ProxyParts {
  readonly health: readonly ShardHealth[];
  readonly standbys: StandbysConfig;
  /** What the workers share; null: this process is alone. */
  readonly quotas: Quotas | null;
}
/** What sessions of all databases share. */
export type SharedParts = Omit<SessionParts, "mode" | "traffic" | "pools" | "hubs">;

/** With several shards the queues are those of admission.ts, which lets in as many as there is room for. */
const ownLimits = (pool: PoolConfig, isSharded: boolean): PoolConfig =>
  isSharded ? { ...pool, max: pool.max + pool.reserve, reserve: 0 } : pool;
/** A pool for each server of `shard` that may be a standby; none if these are not read from. */
function standbyPools(
  shard: ShardConfig,
  config: PoolConfig,
  hub: NotificationHub,
  health: ShardHealth,
  { environment, log, standbys, quotas }: BackendParts,
  key: string,
): readonly StandbyPool[] {
  if (standbys.reads === "off" || !health.hasSeveral) return [];
  const pool = { ...config, min: 0, max: standbys.poolMax ?? config.max };
  return health.endpoints.map((_, i) => {
    const host = new StandbyHost(health, i, environment.clock);
    const settleNotifications = () => hub.settle();
    const own = { shard, health, standby: host, identify: true, settleNotifications };
    return { host, pool: createPool({ ...own, pool, environment, log }, quotas, `${key} standby ${i}`) };
  });
}

/** A pool with a quota of its own, if several workers share its limits. */
function createPool(options: Omit<PoolOptions, "bounds">, quotas: Quotas | null, key: string): Pool {
  if (quotas === null) return new Pool(options);
  const bounds = new SharedBounds(quotas, key);
  const pool = new Pool({ ...options, pool: withoutGrant(options.pool, quotas), bounds });
  new PoolQuota(quotas, key, options.pool, pool, bounds);
  return pool;
}

/** What one database's sessions are made of. */
export class Backend {
  readonly pools: readonly Pool[];
  readonly hubs: readonly NotificationHub[];
  /** In the same order: what lead to the shards' other servers, if these may be read from. */
  readonly standbys: readonly (readonly StandbyPool[])[];
  readonly greetings: Greetings;
  clients = 0;
  readonly #lending: readonly LeasePool[];
  /** Whether limits are granted to a worker: by a quota of each pool, or with several shards one of the admission. */
  readonly #isGranted: boolean;
  readonly #parts = new Map<string, SessionParts>();

  /** `key`: which of all it is, the same in every worker. */
  constructor(shards: readonly ShardConfig[], config: PoolConfig, world: BackendParts, key: string) {
    const { environment, log, health, quotas } = world;
    const identify = shards.length > 1;
    const pool = ownLimits(config, identify);
    this.hubs = shards.map((shard, i) => new NotificationHub(shard, environment, log, health[i]!));
    this.pools = shards.map((shard, i) => {
      const settleNotifications = () => this.hubs[i]!.settle();
      const own = { shard, health: health[i]!, identify, settleNotifications };
      const all = { ...own, pool, environment, log };
      if (!identify || quotas === null) return createPool(all, quotas, key);
      return new Pool({ ...all, pool: withoutGrant(pool, quotas) });
    });
    this.#isGranted = quotas !== null;
    this.standbys = this.pools.map(({ shard }, i) =>
      standbyPools(shard, pool, this.hubs[i]!, health[i]!, world, `${key} ${shard.id}`),
    );
    this.#lending = this.pools.map((primary, i) => {
      const standbys = this.standbys[i]!;
      return standbys.length === 0 ? primary : new ShardPools(primary, standbys, world.standbys, identify);
    });
    this.greetings = new Greetings(this.pools);
  }

  /** Those of standbys, too. */
  get all(): readonly Pool[] {
    return [...this.pools, ...this.standbys.flat().map(({ pool }) => pool)];
  }

  get isUnused(): boolean {
    return this.clients === 0 && this.all.every((pool) => pool.isEmpty);
  }

  /** The parts of a session in `mode` that is counted in `traffic`; it counts as a client from now on. */
  enter(mode: PoolMode, traffic: UserTraffic, shared: SharedParts): SessionParts {
    this.clients += 1;
    const key = `${mode} ${traffic.user}`;
    let parts = this.#parts.get(key);
    if (parts === undefined) {
      const onEnd = (session: Session): void => {
        this.clients -= 1;
        shared.onEnd(session);
      };
      parts = { ...shared, mode, traffic, pools: this.#lending, hubs: this.hubs, onEnd };
      this.#parts.set(key, parts);
    }
    return parts;
  }

  /** Other limits from now on, and for clients that come from now on everything anew. */
  reconfigure(config: PoolConfig): void {
    this.#parts.clear();
    for (const pool of this.pools)
      if (pool.watch instanceof PoolQuota) pool.watch.reconfigure(config);
      else if (!this.#isGranted) pool.reconfigure(ownLimits(config, this.pools.length > 1));
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map((pool) => pool.close()));
    for (const { watch } of this.all) if (watch instanceof PoolQuota) watch.close();
    await Promise.all(this.hubs.map((hub) => hub.close()));
  }
}

export class Backends {
  #config: Config;
  readonly #world: BackendParts;
  /** Is told of every one that comes to be. */
  onCreated: (name: string, backend: Backend) => void = () => {};
  readonly #listed = new Map<string, Backend>();
  readonly #others = new Map<string, Backend>();
  /** With `auth.pass_through`: those of each user. */
  readonly #own = new Map<string, OwnBackend>();
  /** Those that no new client gets to. */
  readonly #retired = new Set<Backend>();

  constructor(config: Config, world: BackendParts) {
    this.#config = config;
    this.#world = world;
    this.#createListed();
  }

  /**
   * Takes a new configuration. A database that is not listed any more, or has become another one on the shard, goes
   * when its last client has gone.
   */
  reconfigure(config: Config): void {
    const before = this.#config.databases;
    this.#config = config;
    for (const [name, backend] of [...this.#listed]) {
      const on = config.databases.find((database) => database.name === name);
      const was = before.find((database) => database.name === name);
      if (on !== undefined && on.database === was?.database) continue;
      this.#listed.delete(name);
      this.#retired.add(backend);
    }
    this.#createListed();
    for (const [name, backend] of this) {
      const { databases } = config;
      const on = databases.find((one) => one.name === name) ?? databases.find((one) => one.name === "*");
      backend.reconfigure(poolOf(config, on));
    }
    this.#sweep();
  }

  #createListed(): void {
    for (const on of this.#config.databases) {
      const { name, database } = on;
      if (name === "*" || this.#listed.has(name)) continue;
      const onShards = name === this.#config.database ? database : (database ?? name);
      this.#listed.set(name, this.#create(name, onShards, on));
    }
  }

  /** All there are now, by the name that clients use. */
  *[Symbol.iterator](): IterableIterator<readonly [name: string, backend: Backend]> {
    yield* this.#listed;
    yield* this.#others;
    for (const { name, backend } of this.#own.values()) yield [name, backend];
  }

  /** Resolves when every shard has let pgxa in; rejects with a Fault. */
  async reachAll(): Promise<void> {
    await Promise.all(this.main.pools.map(async (pool) => pool.checkIn(await pool.checkout(NOBODY, ""))));
  }

  /** The one that `database` of the configuration names. */
  get main(): Backend {
    return this.#listed.get(this.#config.database)!;
  }

  /** What the client of `credentials` is served from at a place; throws a Fault if it cannot be. */
  at(place: DatabasePlace, credentials: Credentials): Backend {
    if (!this.#config.auth.passThrough) return this.#shared(place);
    const { name, on } = place;
    const key = `${name}\0${credentials.user}`;
    const known = this.#own.get(key);
    if (known !== undefined && isSameProof(known.credentials.proof, credentials.proof)) return known.backend;
    const login = loginOf(credentials);
    if (known !== undefined) this.#retired.add(known.backend); // the password is another now
    this.#sweep();
    const database = name === this.#config.database ? on.database : (on.database ?? name);
    const backend = this.#create(name, database, on, login);
    this.#own.set(key, { name, credentials, backend });
    return backend;
  }

  #shared({ name, on }: DatabasePlace): Backend {
    const known = this.#listed.get(name) ?? this.#others.get(name);
    if (known !== undefined) return known;
    this.#sweep();
    const backend = this.#create(name, name, on);
    this.#others.set(name, backend);
    return backend;
  }

  async close(): Promise<void> {
    const own = [...this.#own.values()].map(({ backend }) => backend);
    const all = [...this.#listed.values(), ...this.#others.values(), ...own, ...this.#retired];
    await Promise.all(all.map((one) => one.close()));
  }

  /** `database`: what it is called on the shards; undefined: as each shard's entry says. */
  #create(name: string, database: string | undefined, on: DatabaseConfig, login?: Login): Backend {
    const shards = this.#config.shards.map((shard) => ({
      ...shard,
      ...(database === undefined ? {} : { database }),
      ...login,
    }));
    const key = `pool ${JSON.stringify([name, login?.user ?? null])}`;
    const backend = new Backend(shards, poolOf(this.#config, on), this.#world, key);
    this.onCreated(name, backend);
    return backend;
  }

  #sweep(): void {
    for (const backend of this.#retired) {
      if (backend.clients > 0) continue;
      this.#retired.delete(backend);
      detach(backend.close(), "nobody uses it");
    }
    if (this.#own.size >= OWN_MAX) this.#sweepOwn();
    if (this.#others.size < UNUSED_MAX) return;
    for (const [name, backend] of this.#others) {
      if (!backend.isUnused) continue;
      this.#others.delete(name);
      detach(backend.close(), "it has nothing to close but timers");
    }
  }

  #sweepOwn(): void {
    for (const [key, { backend }] of this.#own) {
      if (!backend.isUnused) continue;
      this.#own.delete(key);
      detach(backend.close(), "it has nothing to close but timers");
    }
  }
}
