// Pure.
/**
 * Whether a server may be read from as a standby now.
 *
 * It has to say that it is one, to answer, to have been asked lately, and to have been close enough behind then. One
 * whose timeline is older than the shard's may follow a primary over which another was promoted: it may have what the
 * shard never will, so it waits until it has made a restart point on the new timeline, by which it is known.
 */
import { type HostHealth, reasonText } from "./hostState.ts";
import type { MeasuredLag } from "./replicationLag.ts";

/** What is known of one server. */
export interface StandbyFacts {
  readonly health: HostHealth;
  /** Whether it says that it is a standby, and of this shard. */
  readonly isStandby: boolean;
  /** Null: pgxa's role may not ask. */
  readonly timeline: number | null;
  /** That of the shard's primaries so far. */
  readonly shardTimeline: number | null;
  /** Null: it did not say when it was last asked. */
  readonly lag: MeasuredLag | null;
}

export interface StandbyBounds {
  readonly lagMaxMs: number;
  /** Older measurements do not count. */
  readonly ageMaxMs: number;
}

/** How many intervals of the monitor a measurement counts. */
const INTERVALS_MAX = 3;

/** Uneven intervals, and the time that an answer may take. */
export const ageMaxMs = (health: { readonly intervalMs: number; readonly timeoutMs: number }): number =>
  INTERVALS_MAX * health.intervalMs + health.timeoutMs;

/** Why the server may not be read from at `nowMs`, for people; null if it may. */
export function whyUnfit(facts: StandbyFacts, bounds: StandbyBounds, nowMs: number): string | null {
  const { health, isStandby, timeline, shardTimeline, lag } = facts;
  if (health.state !== "up") return `is ${health.state} (${reasonText(health.reason)})`;
  if (!isStandby) return "is no standby";
  if (timeline !== null && shardTimeline !== null && timeline < shardTimeline)
    return `was last known on timeline ${timeline}, and the shard is on ${shardTimeline}`;
  if (lag?.ms == null || nowMs - lag.atMs > bounds.ageMaxMs) return "is not known to be close behind";
  return lag.ms <= bounds.lagMaxMs ? null : `is ${Math.round(lag.ms)} ms behind`;
}
