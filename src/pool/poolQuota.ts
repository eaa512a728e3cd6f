/**
 * Keeps a pool within what this worker may have of its connections.
 *
 * When that becomes less, idle connections beyond it are closed at once and lent ones when they come back; until then the
 * pool holds more, and the other workers wait for it. `min` and `reserve` are divided once and for all.
 */
import type { PoolConfig } from "../config/config.ts";
import type { Pool } from "./pool.ts";
import type { PoolWatch, Quota, QuotaHolder, Quotas } from "./quota.ts";
import type { SharedBounds } from "./sharedBounds.ts";

/** What a pool has before anything is granted. */
export const withoutGrant = (pool: PoolConfig, quotas: Quotas): PoolConfig => ({
  ...pool,
  min: 0,
  max: 0,
  reserve: quotas.split(pool.reserve),
});

/** The part of `pool` with a grant of `max`. */
export const withGrant = (pool: PoolConfig, quotas: Quotas, max: number): PoolConfig => ({
  ...pool,
  max,
  min: Math.min(quotas.split(pool.min), max),
  reserve: quotas.split(pool.reserve),
});

/** How many connections of its share of `max` a pool has, or has promised to somebody. */
export const heldBy = (pool: Pool, reserve: number): number =>
  Math.max(0, Math.max(pool.size, pool.seats.taken) - reserve);

export class PoolQuota implements QuotaHolder, PoolWatch {
  readonly #quotas: Quotas;
  readonly #pool: Pool;
  readonly #quota: Quota;
  readonly #bounds: SharedBounds;
  /** For all workers together. */
  #config: PoolConfig;

  /** `pool` was made with `withoutGrant(config)`. */
  constructor(quotas: Quotas, key: string, config: PoolConfig, pool: Pool, bounds: SharedBounds) {
    this.#bounds = bounds;
    this.#quotas = quotas;
    this.#pool = pool;
    this.#config = config;
    pool.watch = this;
    const { max, min } = config;
    this.#quota = quotas.open({ key, max, least: quotas.split(min), holder: this });
  }

  reconfigure(config: PoolConfig): void {
    this.#config = config;
    this.#apply();
    this.#quota.resize(config.max, this.#quotas.split(config.min));
  }

  close(): void {
    this.#quota.close();
    this.#bounds.close();
  }

  // --- QuotaHolder ---

  get held(): number {
    return heldBy(this.#pool, this.#quotas.split(this.#config.reserve));
  }

  get used(): number {
    return this.#pool.demand;
  }

  onLimit(): void {
    this.#apply();
  }

  // --- PoolWatch ---

  onQueued(others = 0): void {
    this.#quota.want(this.#pool.demand + others);
  }

  onFewer(): void {
    this.#quota.settle();
  }

  #apply(): void {
    this.#pool.reconfigure(withGrant(this.#config, this.#quotas, this.#quota.limit));
  }
}
