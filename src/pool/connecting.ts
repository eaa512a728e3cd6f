/** What is said and asked when a connection to a shard is opened. */
import { Fault } from "../base/fault.ts";
import type { ShardConfig } from "../config/config.ts";

/** The backend's start, which with its process id names it for ever. */
export const BACKEND_START =
  "SELECT pg_catalog.to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00') " +
  "FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()";

export function connectFailed(shard: ShardConfig, reason: string): Fault {
  return new Fault("pool.connect_failed", {
    message: `could not connect to shard "${shard.id}"`,
    detail: `${shard.host}:${shard.port}: ${reason}.`,
    hint: "Check that the shard is running and accepts connections; pgxa check --config FILE tells more.",
  });
}
