/**
 * The pools of one shard, as those see it who borrow: one that leads to the primary, and for what may be read on
 * standbys one to each of the other servers.
 *
 * Who wants a standby gets one that is fit now (health/standbyFitness.ts), the least loaded of them; where there is
 * none, the primary, or a refusal. A connection goes back to where it came from.
 */
import { detach } from "../base/detach.ts";
import { Fault } from "../base/fault.ts";
import type { StandbysConfig } from "../config/config.ts";
import type { Borrower } from "./checkout.ts";
import type { StandbyHost } from "./health/standbyHost.ts";
import type { Pool } from "./pool.ts";
import type { LeaseHolder, ServerConnection } from "./serverConnection.ts";
import type { Asker } from "./share.ts";

/** What a client's session needs of the pools of a shard. */
export type LeasePool = Pick<
  Pool,
  "shard" | "refusal" | "tryCheckout" | "checkout" | "request" | "checkIn" | "discard" | "notifierOf"
>;

export interface StandbyPool {
  readonly pool: Pool;
  readonly host: StandbyHost;
}

/** A standby that did not take a connection: another may. */
const IS_UNREACHABLE: ReadonlySet<string> = new Set([
  "pool.connect_failed",
  "pool.login_failed",
  "pool.no_standby",
  "pool.connection_lost",
]);

export class ShardPools implements LeasePool {
  readonly primary: Pool;
  readonly standbys: readonly StandbyPool[];
  readonly #config: StandbysConfig;
  /** Whether nobody waits for a connection to a standby, because somebody may wait for what the client holds. */
  readonly #passesOver: boolean;
  #turn = 0;

  constructor(primary: Pool, standbys: readonly StandbyPool[], config: StandbysConfig, passesOver: boolean) {
    this.primary = primary;
    this.standbys = standbys;
    this.#config = config;
    this.#passesOver = passesOver;
  }

  get shard() {
    return this.primary.shard;
  }

  /** Why the primary cannot be had. */
  get refusal(): Fault | null {
    return this.primary.refusal;
  }

  tryCheckout(holder: LeaseHolder, settings: string, asker?: Asker): ServerConnection | null {
    if (!asker?.wantsStandby) return this.primary.tryCheckout(holder, settings, asker);
    const standby = this.#best(NONE);
    if (standby !== null) return standby.pool.tryCheckout(holder, settings, asker);
    return this.#config.fallback === "primary" ? this.primary.tryCheckout(holder, settings, asker) : null;
  }

  async checkout(holder: LeaseHolder, settings: string, asker?: Asker): Promise<ServerConnection> {
    if (!asker?.wantsStandby) return this.primary.checkout(holder, settings, asker);
    const tried = new Set<StandbyPool>();
    for (;;) {
      const standby = this.#best(tried);
      if (standby === null) break;
      tried.add(standby);
      try {
        return await standby.pool.checkout(holder, settings, asker);
      } catch (error) {
        if (!(error instanceof Fault && IS_UNREACHABLE.has(error.id))) throw error;
      }
    }
    if (this.#config.fallback === "refuse") throw this.#refusal(tried);
    return this.primary.checkout(holder, settings, asker);
  }

  request(holder: LeaseHolder, settings: string, asker: Asker, borrower: Borrower): object {
    if (!asker.wantsStandby) return this.primary.request(holder, settings, asker, borrower);
    const checkout = this.checkout(holder, settings, asker);
    const told = checkout.then(
      (lease) => borrower.onLease(lease, checkout),
      (error: unknown) => borrower.onRefused(error, checkout),
    );
    detach(told, "the borrower is told of a refusal");
    return checkout;
  }

  checkIn(connection: ServerConnection): void {
    this.#of(connection).checkIn(connection);
  }

  discard(connection: ServerConnection): void {
    this.#of(connection).discard(connection);
  }

  notifierOf(pid: number): number | null {
    return this.primary.notifierOf(pid);
  }

  // --- inside ---

  /** The least loaded that is fit, each in turn among equals. */
  #best(tried: ReadonlySet<StandbyPool>): StandbyPool | null {
    const { length } = this.standbys;
    this.#turn = (this.#turn + 1) % length;
    let best: StandbyPool | null = null;
    let bestLoad = Number.POSITIVE_INFINITY;
    for (let i = 0; i < length; i += 1) {
      const standby = this.standbys[(this.#turn + i) % length]!;
      const load = standby.pool.seats.taken + standby.pool.seats.queued;
      if (load >= bestLoad || tried.has(standby) || this.#whyUnfit(standby) !== null) continue;
      best = standby;
      bestLoad = load;
    }
    return best;
  }

  #whyUnfit({ pool, host }: StandbyPool): string | null {
    if (this.#passesOver && pool.isFull) {
      pool.watch?.onQueued(1);
      return "has no connection left";
    }
    return host.whyUnfit(this.#config.lagMaxMs);
  }

  #of(connection: ServerConnection): Pool {
    if (!connection.isStandby) return this.primary;
    return this.standbys.find(({ pool }) => pool.has(connection))?.pool ?? this.primary;
  }

  #refusal(tried: ReadonlySet<StandbyPool>): Fault {
    const says = this.standbys.map((standby) => {
      const { host, port } = standby.host.endpoint;
      const why = this.#whyUnfit(standby) ?? (tried.has(standby) ? "could not be connected to" : "is busy");
      return `${host}:${port} ${why}`;
    });
    return new Fault("pool.no_standby", {
      message: `no standby of shard "${this.shard.id}" may be read from now`,
      detail: `${says.join(", ")}.`,
    });
  }
}

const NONE: ReadonlySet<StandbyPool> = new Set();
