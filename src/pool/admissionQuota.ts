/**
 * Keeps the admission to the shards, and the pools behind it, within what this worker may have of `pool.max`.
 *
 * There is one number for all shards, for who is let in claims a connection of each. When it becomes less, the limit of the
 * admission steps down as clients leave, never below those who are in: they find their connections, as they have been
 * promised. Connections beyond the limit are closed, and only then other workers have them.
 */
import type { PoolConfig } from "../config/config.ts";
import type { Admission } from "./admission.ts";
import type { Pool } from "./pool.ts";
import { heldBy, withGrant } from "./poolQuota.ts";
import type { PoolWatch, Quota, QuotaHolder, Quotas } from "./quota.ts";

export interface Admitting {
  readonly admission: Admission;
  /** One for each shard, made with `withoutGrant(config)`. */
  pools(): readonly Pool[];
}

export class AdmissionQuota implements QuotaHolder, PoolWatch {
  readonly #quotas: Quotas;
  readonly #parts: Admitting;
  readonly #quota: Quota;
  /** For all workers together. */
  #config: PoolConfig;
  #granted = 0;
  /** How many are let in now. */
  #limit = 0;
  /** Whether that, or what is open, is more than was granted. */
  #isOver = false;

  constructor(quotas: Quotas, key: string, config: PoolConfig, parts: Admitting) {
    this.#quotas = quotas;
    this.#parts = parts;
    this.#config = config;
    const { max, min } = config;
    this.#quota = quotas.open({ key, max, least: quotas.split(min), holder: this });
    parts.admission.watch = this;
    this.#apply();
  }

  reconfigure(config: PoolConfig): void {
    this.#config = config;
    this.#apply();
    this.#quota.resize(config.max, this.#quotas.split(config.min));
  }

  close(): void {
    this.#quota.close();
  }

  // --- QuotaHolder ---

  get held(): number {
    return Math.max(this.#limitNow, ...this.#parts.pools().map((pool) => heldBy(pool, this.#reserve)));
  }

  get used(): number {
    return Math.max(this.#parts.admission.demand, ...this.#parts.pools().map(({ demand }) => demand));
  }

  onLimit(): void {
    this.#granted = this.#quota.limit;
    this.#apply();
  }

  // --- PoolWatch, of the pools and of the admission ---

  get max(): number {
    return this.#config.max;
  }

  onQueued(): void {
    this.#quota.want(this.used);
  }

  onFewer(): void {
    if (!this.#isOver) return;
    if (this.#limitNow < this.#limit) this.#apply();
    this.#isOver = this.held > this.#granted;
    this.#quota.settle();
  }

  // --- inside ---

  get #reserve(): number {
    return this.#quotas.split(this.#config.reserve);
  }

  /** What was granted, or those who are in, if they are more; but for a risk, which lets in more than the limit. */
  get #limitNow(): number {
    const claimed = this.#parts.admission.claimed - this.#reserve;
    return Math.max(this.#granted, Math.min(this.#limit, claimed));
  }

  #apply(): void {
    const limits = withGrant(this.#config, this.#quotas, this.#limitNow);
    const { max, reserve } = limits;
    this.#limit = max;
    for (const pool of this.#parts.pools()) {
      pool.watch = this;
      pool.reconfigure({ ...limits, max: max + reserve, reserve: 0 });
    }
    this.#isOver = this.held > this.#granted;
    this.#parts.admission.reconfigure(limits);
  }
}
