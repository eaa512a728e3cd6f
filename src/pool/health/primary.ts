// Pure.
/**
 * Which of a shard's servers is its primary, and which must never be used.
 *
 * Each promotion begins a timeline with a higher number. So of two servers that both take writes the one with the
 * higher timeline was promoted, and the other is what it was promoted over: it came back and does not know. What is
 * written there is lost to the shard, so it is never used. A server with another system identifier was never a part of
 * the shard at all.
 * https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-TIMELINES
 */
import type { HostState } from "./hostState.ts";

/** What a server says of itself. */
export interface ServerFacts {
  readonly role: "primary" | "standby";
  /** Null: pgxa's role may not ask. */
  readonly systemIdentifier: string | null;
  readonly timeline: number | null;
}

/** What is known of the shard: that of its primaries so far; null before the first. */
export interface KnownShard {
  readonly systemIdentifier: string | null;
  readonly timeline: number | null;
}

/** `stranger` and `superseded` are never used. */
export type Fitness = "primary" | "standby" | "stranger" | "superseded";

export function fitnessOf(facts: ServerFacts, known: KnownShard): Fitness {
  const { systemIdentifier, timeline } = facts;
  const isOther = known.systemIdentifier !== null && systemIdentifier !== null;
  if (isOther && systemIdentifier !== known.systemIdentifier) return "stranger";
  if (facts.role === "standby") return "standby";
  return timeline !== null && known.timeline !== null && timeline < known.timeline ? "superseded" : "primary";
}

/** What is known of the shard once `facts` are those of its primary. */
export const knownAfter = (known: KnownShard, facts: ServerFacts): KnownShard => ({
  systemIdentifier: known.systemIdentifier ?? facts.systemIdentifier,
  timeline: facts.timeline === null ? known.timeline : Math.max(facts.timeline, known.timeline ?? 0),
});

export interface Candidate {
  readonly state: HostState;
  /** Null: it has not said. */
  readonly facts: ServerFacts | null;
}

/**
 * The index of the primary: of those that answer and take writes the one with the highest timeline, and `current` among
 * equals; `current` if there is none.
 */
export function choosePrimary(hosts: readonly Candidate[], current: number, known: KnownShard): number {
  let best = current;
  let bestTimeline = -1;
  for (const [i, { state, facts }] of hosts.entries()) {
    if (state === "down" || facts === null || fitnessOf(facts, known) !== "primary") continue;
    const timeline = facts.timeline ?? 0;
    if (timeline < bestTimeline || (timeline === bestTimeline && i !== current)) continue;
    best = i;
    bestTimeline = timeline;
  }
  return best;
}

/**
 * In which order servers are tried for a connection: the primary first, then those not known to be down. Whoever was
 * never a part of the shard is not tried.
 */
export function connectOrder(
  hosts: readonly Candidate[],
  current: number,
  known: KnownShard,
): readonly number[] {
  const isStranger = ({ facts }: Candidate): boolean =>
    facts !== null && fitnessOf(facts, known) === "stranger";
  const rank = (i: number): number => (hosts[i]!.state === "down" ? 2 : i === current ? 0 : 1);
  return hosts.flatMap((host, i) => (isStranger(host) ? [] : [i])).sort((a, b) => rank(a) - rank(b));
}
