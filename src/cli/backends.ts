/**
 * The databases that clients may name, each with its pools and all that hangs on them.
 *
 * Those of the configuration are there from the start. With an entry `*` any other comes to be when the first client
 * names it; when there are many of those, the ones without clients and connections go.
 */
import { detach } from "../base/detach.ts";
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
import { NotificationHub } from "../pool/notificationHub.ts";
import { Pool } from "../pool/pool.ts";
import { type LeasePool, ShardPools, type StandbyPool } from "../pool/shardPools.ts";
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

type DatabasePlace = Extract<Place, { kind: "database" }>;

/** What backends need of the world, and in the order of the shards how these are. */
export interface BackendParts extends ProxyParts {
  readonly health: readonly ShardHealth[];
  readonly standbys: StandbysConfig;
}
/** What sessions of all databases share. */
export type SharedParts = Omit<SessionParts, "mode" | "traffic" | "pools" | "hubs">;

/** A pool for each server of `shard` that may be a standby; none if these are not read from. */
function standbyPools(
  shard: ShardConfig,
  config: PoolConfig,
  hub: NotificationHub,
  health: ShardHealth,
  { environment, log, standbys }: BackendParts,
): readonly StandbyPool[] {
  if (standbys.reads === "off" || !health.hasSeveral) return [];
  const pool = { ...config, min: 0, max: standbys.poolMax ?? config.max };
  return health.endpoints.map((_, i) => {
    const host = new StandbyHost(health, i, environment.clock);
    const settleNotifications = () => hub.settle();
    const own = { shard, health, standby: host, identify: true, settleNotifications };
    return { host, pool: new Pool({ ...own, pool, environment, log }) };
  });
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
  readonly #parts = new Map<string, SessionParts>();

  constructor(shards: readonly ShardConfig[], config: PoolConfig, world: BackendParts) {
    const { environment, log, health } = world;
    const identify = shards.length > 1;
    // With several shards the queues are those of admission.ts, which lets in as many as there is room for.
    const pool = identify ? { ...config, max: config.max + config.reserve, reserve: 0 } : config;
    this.hubs = shards.map((shard, i) => new NotificationHub(shard, environment, log, health[i]!));
    this.pools = shards.map((shard, i) => {
      const settleNotifications = () => this.hubs[i]!.settle();
      const own = { shard, health: health[i]!, identify, settleNotifications };
      return new Pool({ ...own, pool, environment, log });
    });
    this.standbys = this.pools.map(({ shard }, i) =>
      standbyPools(shard, pool, this.hubs[i]!, health[i]!, world),
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

  async close(): Promise<void> {
    await Promise.all(this.all.map((pool) => pool.close()));
    await Promise.all(this.hubs.map((hub) => hub.close()));
  }
}

export class Backends {
  readonly #config: Config;
  readonly #world: BackendParts;
  readonly #listed = new Map<string, Backend>();
  readonly #others = new Map<string, Backend>();

  constructor(config: Config, world: BackendParts) {
    this.#config = config;
    this.#world = world;
    for (const on of config.databases) {
      const { name, database } = on;
      if (name === config.database) this.#listed.set(name, this.#create(database, on));
      else if (name !== "*") this.#listed.set(name, this.#create(database ?? name, on));
    }
  }

  /** All there are now, by the name that clients use. */
  *[Symbol.iterator](): IterableIterator<readonly [name: string, backend: Backend]> {
    yield* this.#listed;
    yield* this.#others;
  }

  /** The one that `database` of the configuration names. */
  get main(): Backend {
    return this.#listed.get(this.#config.database)!;
  }

  at({ name, on }: DatabasePlace): Backend {
    const known = this.#listed.get(name) ?? this.#others.get(name);
    if (known !== undefined) return known;
    this.#sweep();
    const backend = this.#create(name, on);
    this.#others.set(name, backend);
    return backend;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#listed.values(), ...this.#others.values()].map((one) => one.close()));
  }

  /** `database`: what it is called on the shards; undefined: as each shard's entry says. */
  #create(database: string | undefined, on: DatabaseConfig): Backend {
    const shards = this.#config.shards.map((shard) =>
      database === undefined ? shard : { ...shard, database },
    );
    return new Backend(shards, poolOf(this.#config, on), this.#world);
  }

  #sweep(): void {
    if (this.#others.size < UNUSED_MAX) return;
    for (const [name, backend] of this.#others) {
      if (!backend.isUnused) continue;
      this.#others.delete(name);
      detach(backend.close(), "it has nothing to close but timers");
    }
  }
}
