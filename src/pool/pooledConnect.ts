/** Opens connections for a pool, and says in the log why one could not be opened. */
import { Fault } from "../base/fault.ts";
import { connectToPrimary, connectToStandby } from "./health/shardConnector.ts";
import type { FailedConnect } from "./lender.ts";
import type { PoolOptions } from "./poolOptions.ts";
import type { ServerConnection } from "./serverConnection.ts";

/** One that has logged in, with the server of the shard that it leads to; never rejects with a Fault. */
export async function connectPooled(
  { shard, health, standby, environment, pool, identify, log }: PoolOptions,
  onClosed: (closed: ServerConnection, reason: string) => void,
): Promise<{ readonly connection: ServerConnection; readonly host: number } | FailedConnect> {
  try {
    const { connectTimeoutMs } = pool;
    const parts = { shard, health, environment, connectTimeoutMs, identify, onClosed };
    const opened = await (standby === undefined
      ? connectToPrimary(parts)
      : connectToStandby(parts, standby.host));
    log.debug("server.connected", { shard: shard.id, pid: opened.connection.pid });
    return opened;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    if (error.id !== "pool.shard_down" && error.id !== "pool.no_standby")
      log.warn("server.lost", { shard: shard.id, reason: error.detail ?? error.message });
    return { fault: error, atMs: environment.clock.monotonicMs() };
  }
}
