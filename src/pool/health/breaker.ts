// Pure.
/**
 * The circuit breaker of a shard: whether a connection to it is tried at all.
 *
 *     closed -> open -> halfOpen -> closed
 *                 ^________/
 *
 * `closed`: as if there were none. `open`: whoever needs a connection is told at once, for waiting would only take
 * time. `halfOpen`: the pause is over, and a few are let through to see; the rest are still told. The pauses grow with
 * each trial that fails (backoff.ts).
 */
import { invariant, legal } from "../../base/invariant.ts";

export type BreakerState = "closed" | "open" | "halfOpen";

export type BreakerEvent =
  /** A connection was made. */
  | "succeeded"
  /** None could be made; not too often yet. */
  | "failed"
  /** The same once too often. */
  | "failedOften"
  /** The monitor found that the shard has no primary that answers. */
  | "judgedDown"
  /** The monitor found the primary, and it answers. */
  | "judgedUp"
  /** The pause is over. */
  | "rested";

type Cell = BreakerState | "ignored" | "illegal";

export const BREAKER_TABLE: Readonly<Record<BreakerState, Readonly<Record<BreakerEvent, Cell>>>> = {
  closed: {
    succeeded: "ignored",
    failed: "ignored",
    failedOften: "open",
    judgedDown: "open",
    judgedUp: "ignored",
    rested: "illegal",
  },
  open: {
    succeeded: "closed",
    failed: "ignored",
    failedOften: "ignored",
    judgedDown: "ignored",
    judgedUp: "closed",
    rested: "halfOpen",
  },
  halfOpen: {
    succeeded: "closed",
    failed: "open",
    failedOften: "open",
    judgedDown: "open",
    judgedUp: "closed",
    rested: "illegal",
  },
};

/** How many connections are tried at once while it is half open. */
export const TRIALS_MAX = 2;

export type Breaker =
  | { readonly state: "closed"; readonly failures: number }
  /** `pauses`: how many there were in a row with this one; `until` is in monotonic ms. */
  | { readonly state: "open"; readonly pauses: number; readonly untilMs: number }
  | { readonly state: "halfOpen"; readonly pauses: number; readonly trialsLeft: number };

export const CLOSED: Breaker = { state: "closed", failures: 0 };

export interface BreakerWorld {
  readonly failuresMax: number;
  readonly nowMs: number;
  /** How long the pause is that would be the `pauses`th in a row, in ms. */
  pauseMs(pauses: number): number;
}

/** What was heard; how often is counted here. */
export type BreakerNews = Exclude<BreakerEvent, "failedOften">;

export function breakerStep(breaker: Breaker, news: BreakerNews, world: BreakerWorld): Breaker {
  const failures = breaker.state === "closed" ? breaker.failures + 1 : 0;
  const event = news === "failed" && failures >= world.failuresMax ? "failedOften" : news;
  const cell = legal(BREAKER_TABLE[breaker.state][event], "circuit breaker", event, breaker.state);
  if (cell === "ignored") {
    if (breaker.state !== "closed") return breaker;
    return event === "failed" ? { state: "closed", failures } : CLOSED;
  }
  const pauses = breaker.state === "closed" ? 0 : breaker.pauses;
  switch (cell) {
    case "closed":
      return CLOSED;
    case "open":
      return { state: "open", pauses: pauses + 1, untilMs: world.nowMs + world.pauseMs(pauses + 1) };
    case "halfOpen":
      return { state: "halfOpen", pauses, trialsLeft: TRIALS_MAX };
  }
}

/** Whether a connection would be tried now. */
export function admits(breaker: Breaker, nowMs: number): boolean {
  if (breaker.state === "open") return nowMs >= breaker.untilMs;
  return breaker.state === "closed" || breaker.trialsLeft > 0;
}

/** The breaker after a connection is let through; only when it `admits` one. */
export function letThrough(breaker: Breaker, world: BreakerWorld): Breaker {
  invariant(admits(breaker, world.nowMs), "a breaker that does not admit lets nothing through");
  if (breaker.state === "closed") return breaker;
  const half = breaker.state === "open" ? breakerStep(breaker, "rested", world) : breaker;
  invariant(half.state === "halfOpen", "whoever has rested is half open");
  return { ...half, trialsLeft: half.trialsLeft - 1 };
}
