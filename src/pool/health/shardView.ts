// Pure.
/** How the health of a shard looks to others: to whoever shows it, and to a client that is refused. */
import type { ShardId } from "../../base/brands.ts";
import { Fault } from "../../base/fault.ts";
import type { Endpoint } from "../../config/config.ts";
import type { HostSample } from "./hostProbe.ts";
import { type HostHealth, type HostState, reasonText } from "./hostState.ts";
import type { Fitness } from "./primary.ts";
import type { Lag } from "./replicationLag.ts";

/** One server, for whoever shows it. */
export interface HostView {
  readonly host: string;
  readonly port: number;
  readonly state: HostState;
  readonly reason: string;
  readonly sinceMs: number;
  readonly isPrimary: boolean;
  /** What it is of the shard; null: it has not said. */
  readonly fitness: Fitness | null;
  readonly sample: HostSample | null;
  /** Of a standby. */
  readonly lag: Lag | null;
}

export interface ShardDown {
  readonly id: ShardId;
  readonly endpoint: Endpoint;
  readonly health: HostHealth;
  /** Whether its servers answer, and none of them is its primary. */
  readonly isWithout: boolean;
  readonly forMs: number;
  /** A point in time, for people. */
  readonly since: string;
}

/** What a client is told at once that needs a connection to a shard that is down. */
export function shardDown({ id, endpoint, health, isWithout, forMs, since }: ShardDown): Fault {
  const state = isWithout ? "without a primary" : "down";
  return new Fault("pool.shard_down", {
    message: `shard "${id}" is ${state}`,
    detail: `${endpoint.host}:${endpoint.port}: ${reasonText(health.reason)}.`,
    hint:
      `It has been ${state} since ${since} (${Math.round(forMs / 1_000)} s), and pgxa tries it again by itself. ` +
      "Other shards are not affected.",
  });
}
