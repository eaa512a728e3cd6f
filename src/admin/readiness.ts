// Pure.
/**
 * Whether clients should be sent here: while pgxa lets them in, is not on its way out, and some shard can serve them.
 *
 * One shard that is down is no reason to send nobody: the others serve theirs.
 */
import type { Probes, Readiness, ShardReadiness } from "./metricsEndpoint.ts";
import type { Shown } from "./views.ts";

export const probesOf = (sources: ReadinessSources, isStarted: () => boolean): Probes => ({
  isStarted,
  readiness: () => readinessOf(sources, isStarted()),
});

export type ReadinessSources = Pick<Shown, "shards" | "isDraining">;

export function readinessOf(sources: ReadinessSources, isStarted: boolean): Readiness {
  const shards = sources.shards().map(({ name, health }): ShardReadiness => {
    return { name, state: health?.state ?? "unknown", reason: health?.reason ?? null };
  });
  const draining = sources.isDraining;
  const ready = isStarted && !draining && shards.some(({ state }) => state !== "down");
  return { ready, draining, shards };
}
