/**
 * One server of a shard, as the pool sees it whose connections lead there to read: fit as long as it is a standby.
 *
 * What happens to the primary is nothing to it: not the breaker, and no suspicion but of this server.
 */
import type { Environment } from "../../base/environment.ts";
import { Fault } from "../../base/fault.ts";
import type { Endpoint, HealthConfig } from "../../config/config.ts";
import type { HealthListener, PoolHealth } from "./poolHealth.ts";
import type { ShardHealth } from "./shardHealth.ts";
import { ageMaxMs, whyUnfit } from "./standbyFitness.ts";

export class StandbyHost implements PoolHealth {
  readonly host: number;
  readonly shard: ShardHealth;
  readonly #clock: Environment["clock"];
  suspectedAtMs = Number.NEGATIVE_INFINITY;

  /** `host`: which of the servers of `shard`. */
  constructor(shard: ShardHealth, host: number, clock: Environment["clock"]) {
    this.shard = shard;
    this.host = host;
    this.#clock = clock;
  }

  get endpoint(): Endpoint {
    return this.shard.endpoints[this.host]!;
  }

  /** Why it may not be read from within `lagMaxMs`, for people; null if it may. */
  whyUnfit(lagMaxMs: number): string | null {
    const bounds = { lagMaxMs, ageMaxMs: ageMaxMs(this.config) };
    return whyUnfit(this.shard.standbyAt(this.host), bounds, this.#clock.monotonicMs());
  }

  // --- PoolHealth ---

  get config(): HealthConfig {
    return this.shard.config;
  }

  get isCalm(): boolean {
    return this.shard.healthOf(this.host).state === "up";
  }

  get refusal(): Fault | null {
    if (this.shard.healthOf(this.host).state !== "down") return null;
    const { host, port } = this.endpoint;
    return new Fault("pool.no_standby", { detail: `${host}:${port} is down.` });
  }

  isCurrent(host: number): boolean {
    return host === this.host && this.shard.standbyAt(host).isStandby;
  }

  noteLost(host: number, reason: string): void {
    this.suspectedAtMs = this.#clock.monotonicMs();
    this.shard.noteLost(host, reason);
  }

  watch({ onRerouted, onSuspected, onGivenUp }: HealthListener): () => void {
    return this.shard.watch({
      ...(onRerouted && { onRerouted }),
      ...(onGivenUp && { onGivenUp }),
      onSuspected: () => {
        if (this.isCalm) return;
        this.suspectedAtMs = this.#clock.monotonicMs();
        onSuspected?.();
      },
    });
  }
}
