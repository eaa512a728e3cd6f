/** What a pool is made of. */
import type { Environment } from "../base/environment.ts";
import type { PoolConfig, ShardConfig } from "../config/config.ts";
import type { Log } from "../observe/log.ts";
import type { ShardHealth } from "./health/shardHealth.ts";
import type { StandbyHost } from "./health/standbyHost.ts";
import type { SharedBounds } from "./sharedBounds.ts";

export interface PoolOptions {
  readonly shard: ShardConfig;
  readonly health: ShardHealth;
  /** The server to which connections lead; undefined: the primary, whichever that is. */
  readonly standby?: StandbyHost;
  readonly pool: PoolConfig;
  readonly environment: Environment;
  readonly log: Log;
  readonly identify: boolean;
  /** Where bounds of classes and users hold for several workers together. */
  readonly bounds?: SharedBounds | undefined;
  /** Resolves when every notification made so far has been passed on. */
  settleNotifications(): Promise<void>;
}
