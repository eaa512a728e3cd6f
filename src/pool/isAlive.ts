/** Whether a connection that nobody has used for a while is still there. */
import type { Clock } from "../base/environment.ts";
import type { PoolConfig } from "../config/config.ts";
import type { PoolHealth } from "./health/poolHealth.ts";
import type { ServerConnection } from "./serverConnection.ts";

/** Asks one that was idle for long, or may have died in silence. */
export async function isAlive(
  connection: ServerConnection,
  clock: Clock,
  { checkAfterMs }: Pick<PoolConfig, "checkAfterMs">,
  { suspectedAtMs, config }: PoolHealth,
): Promise<boolean> {
  const { idleSinceMs } = connection;
  const isOld = clock.monotonicMs() - idleSinceMs > checkAfterMs;
  if (!isOld && idleSinceMs > suspectedAtMs) return true;
  const reply = await connection.run("", config.timeoutMs);
  connection.idleSinceMs = clock.monotonicMs();
  return reply.kind === "complete";
}
