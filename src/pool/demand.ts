// Pure.
/** How many connections of a pool there is use for. */
import type { Seats } from "./seats.ts";
import type { ServerConnection } from "./serverConnection.ts";

/**
 * How many are in use or were since `sinceMs`; and while there are no more than `max`, how many others would be.
 */
export function demandOn(
  members: Iterable<Pick<ServerConnection, "state" | "idleSinceMs">>,
  { taken, queued }: Pick<Seats, "taken" | "queued">,
  max: number,
  sinceMs: number,
): number {
  if (taken >= max) return taken + queued;
  let warm = 0;
  for (const { state, idleSinceMs } of members) if (state !== "idle" || idleSinceMs > sinceMs) warm += 1;
  return Math.max(taken, warm);
}
