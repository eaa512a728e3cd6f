// Pure.
/**
 * What is thought of one server of a shard.
 *
 *     starting -> up <-> suspect -> down -> up
 *
 * `starting`: not asked yet. `up`: it answered last. `suspect`: something went wrong since, and it is being asked.
 * `down`: it failed so many times in a row that nobody should wait for it. The names are the metric labels and the
 * `SHOW` column.
 *
 * The monitor's questions and real connections count alike: whoever hears of a server says so.
 */
export type HostState = "starting" | "up" | "suspect" | "down";

export type HostEvent =
  /** It answered a question, or let a connection in. */
  | "answered"
  /** A connection to it ended unasked. */
  | "lost"
  /** It did not answer, or could not be reached; the last time that is not yet too often. */
  | "failed"
  /** The same once too often. */
  | "failedOften";

type Cell = HostState | "ignored";

export const HOST_TABLE: Readonly<Record<HostState, Readonly<Record<HostEvent, Cell>>>> = {
  starting: { answered: "up", lost: "suspect", failed: "suspect", failedOften: "down" },
  up: { answered: "ignored", lost: "suspect", failed: "suspect", failedOften: "down" },
  suspect: { answered: "up", lost: "ignored", failed: "ignored", failedOften: "down" },
  down: { answered: "up", lost: "ignored", failed: "ignored", failedOften: "ignored" },
};

/** Why it is thought to be in that state. */
export type HostReason =
  | { readonly kind: "unasked" }
  | { readonly kind: "answered" }
  /** No answer in time: it hangs, or packets are dropped on the way. */
  | { readonly kind: "silent"; readonly timeoutMs: number }
  /** It could not be reached, or said that it takes no connections now. */
  | { readonly kind: "refused"; readonly says: string }
  /** A connection ended; `says` is what it said last, or the system did. */
  | { readonly kind: "lost"; readonly says: string };

export type HostNews =
  | { readonly kind: "answered" }
  | { readonly kind: "lost"; readonly reason: HostReason }
  | { readonly kind: "failed"; readonly reason: HostReason };

export interface HostHealth {
  readonly state: HostState;
  /** Since when, in monotonic ms. */
  readonly sinceMs: number;
  /** In a row. */
  readonly failures: number;
  readonly reason: HostReason;
}

export const hostUnasked = (nowMs: number): HostHealth => ({
  state: "starting",
  sinceMs: nowMs,
  failures: 0,
  reason: { kind: "unasked" },
});

/** What is thought after `news`; `failuresMax` failures in a row are too many. */
export function hostStep(host: HostHealth, news: HostNews, failuresMax: number, nowMs: number): HostHealth {
  const failures = news.kind === "answered" ? 0 : host.failures + (news.kind === "failed" ? 1 : 0);
  const event = news.kind === "failed" && failures >= failuresMax ? "failedOften" : news.kind;
  const cell = HOST_TABLE[host.state][event];
  const reason = news.kind === "answered" ? news : news.reason;
  if (cell === "ignored") {
    // What was seen first says more than what follows from it, but silence is the graver news.
    const isNew = news.kind === "failed" && (host.state !== "down" || reason.kind !== host.reason.kind);
    return { ...host, failures, reason: isNew ? reason : host.reason };
  }
  return { state: cell, sinceMs: nowMs, failures, reason };
}

/** For people: `no answer within 2000 ms`. */
export function reasonText(reason: HostReason): string {
  switch (reason.kind) {
    case "unasked":
      return "not asked yet";
    case "answered":
      return "it answers";
    case "silent":
      return `no answer within ${reason.timeoutMs} ms`;
    case "refused":
    case "lost":
      return reason.says;
  }
}

/** Whether nobody should wait for its answers. */
export const hasGone = ({ state, reason }: HostHealth): boolean =>
  state === "down" || (state === "suspect" && reason.kind === "silent");
