/**
 * The databases that clients may name, each with its pools and all that hangs on them.
 *
 * Those of the configuration are there from the start. With an entry `*` any other comes to be when the first client
 * names it; when there are many of those, the ones without clients and connections go.
 */
import { detach } from "../base/detach.ts";
import type { Config, PoolMode, ShardConfig } from "../config/config.ts";
import { NOBODY } from "../pool/nobody.ts";
import { NotificationHub } from "../pool/notificationHub.ts";
import { Pool } from "../pool/pool.ts";
import type { Place } from "../proxy/gate.ts";
import { Greetings } from "../proxy/greetings.ts";
import type { Session, SessionParts } from "../proxy/session.ts";
import type { ProxyParts } from "./compose.ts";

/** How many databases that no configuration names are kept although nobody uses them. */
const UNUSED_MAX = 100;

type DatabasePlace = Extract<Place, { kind: "database" }>;

/** What one database's sessions are made of. */
export class Backend {
  readonly pools: readonly Pool[];
  readonly hubs: readonly NotificationHub[];
  readonly greetings: Greetings;
  clients = 0;
  readonly #parts = new Map<PoolMode, SessionParts>();

  constructor(shards: readonly ShardConfig[], config: Config, { environment, log }: ProxyParts) {
    this.hubs = shards.map((shard) => new NotificationHub(shard, environment, log));
    this.pools = shards.map((shard, i) => {
      const settleNotifications = () => this.hubs[i]!.settle();
      const identify = shards.length > 1;
      return new Pool({ shard, pool: config.pool, environment, log, identify, settleNotifications });
    });
    this.greetings = new Greetings(this.pools[0]!);
  }

  get isUnused(): boolean {
    return this.clients === 0 && this.pools.every((pool) => pool.isEmpty);
  }

  /** The parts of a session in `mode`, which counts as a client from now on. */
  enter(mode: PoolMode, shared: Omit<SessionParts, "mode" | "pools" | "hubs">): SessionParts {
    this.clients += 1;
    let parts = this.#parts.get(mode);
    if (parts === undefined) {
      const onEnd = (session: Session): void => {
        this.clients -= 1;
        shared.onEnd(session);
      };
      parts = { ...shared, mode, pools: this.pools, hubs: this.hubs, onEnd };
      this.#parts.set(mode, parts);
    }
    return parts;
  }

  async close(): Promise<void> {
    await Promise.all(this.pools.map((pool) => pool.close()));
    await Promise.all(this.hubs.map((hub) => hub.close()));
  }
}

export class Backends {
  readonly #config: Config;
  readonly #world: ProxyParts;
  readonly #listed = new Map<string, Backend>();
  readonly #others = new Map<string, Backend>();

  constructor(config: Config, world: ProxyParts) {
    this.#config = config;
    this.#world = world;
    for (const { name, database } of config.databases) {
      if (name === config.database) this.#listed.set(name, this.#create(database));
      else if (name !== "*") this.#listed.set(name, this.#create(database ?? name));
    }
  }

  /** Resolves when every shard has let pgxa in; rejects with a Fault. */
  async reachAll(): Promise<void> {
    await Promise.all(this.main.pools.map(async (pool) => pool.checkIn(await pool.checkout(NOBODY, ""))));
  }

  /** The one that `database` of the configuration names. */
  get main(): Backend {
    return this.#listed.get(this.#config.database)!;
  }

  at({ name }: DatabasePlace): Backend {
    const known = this.#listed.get(name) ?? this.#others.get(name);
    if (known !== undefined) return known;
    this.#sweep();
    const backend = this.#create(name);
    this.#others.set(name, backend);
    return backend;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#listed.values(), ...this.#others.values()].map((one) => one.close()));
  }

  /** `database`: what it is called on the shards; undefined: as each shard's entry says. */
  #create(database: string | undefined): Backend {
    const shards = this.#config.shards.map((shard) =>
      database === undefined ? shard : { ...shard, database },
    );
    return new Backend(shards, this.#config, this.#world);
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
