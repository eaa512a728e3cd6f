// Pure.
/** Why a client that queued for a server connection gets none. */
import { Fault } from "../base/fault.ts";
import type { PoolConfig, ShardConfig } from "../config/config.ts";

export type QueueFaultId = "pool.queue_full" | "pool.checkout_timeout" | "session.canceled";

interface Queue {
  readonly shard: Pick<ShardConfig, "id">;
  readonly pool: Pick<PoolConfig, "queueMax" | "checkoutTimeoutMs" | "max">;
}

/** `max`: how many connections there may be, if that is not what this process may have of them. */
export function queueFault(id: QueueFaultId, { shard, pool }: Queue, max = pool.max): Fault {
  if (id === "session.canceled") return new Fault(id);
  const { queueMax, checkoutTimeoutMs } = pool;
  const about = `Shard "${shard.id}", ${max} server connections`;
  const why =
    id === "pool.queue_full" ? `${queueMax} clients are queued already` : `waited ${checkoutTimeoutMs} ms`;
  return new Fault(id, { detail: `${about}, ${why}.` });
}
