// Pure.
/**
 * What becomes of a prepared branch whose decision is on a shard: a total table over the facts.
 *
 * A decision that stands is applied by whoever comes by, but not under the hands of an owner that lives and is at it.
 * Where none stands an abort is decided, and that is first-writer-wins: a mistake about who is alive aborts a
 * transaction that need not be, and breaks nothing.
 */

/** Whose transaction it is. */
export type AnchoredOwner =
  /** This process's, under its present epoch. */
  | "self"
  /** Of an owner whose lease is not over on the anchor's shard. */
  | "alive"
  | "dead";

/** Whether it has been prepared for longer than who owns it can be expected to take. */
export type Age = "young" | "old";

/** What is written on the anchor's shard. */
export type Standing = "commit" | "abort" | "absent";

export type AnchoredAction =
  | "commitPrepared"
  | "rollbackPrepared"
  /** Decide to abort, and do what stands then. */
  | "decide"
  /** Its owner sees to it. */
  | "leave"
  /** Too early to say. */
  | "wait";

const SETTLE: Readonly<Record<Standing, AnchoredAction>> = {
  commit: "commitPrepared",
  abort: "rollbackPrepared",
  absent: "decide",
};

/** For what does not run in this process, and is prepared in both readings. */
export const ANCHORED_TABLE: Readonly<
  Record<AnchoredOwner, Readonly<Record<Age, Readonly<Record<Standing, AnchoredAction>>>>>
> = {
  self: { young: SETTLE, old: SETTLE },
  alive: {
    young: { commit: "leave", abort: "leave", absent: "leave" },
    old: { commit: "commitPrepared", abort: "rollbackPrepared", absent: "leave" },
  },
  dead: {
    // A decision stands: it is applied. None stands: a lease may not have been written yet.
    young: { commit: "commitPrepared", abort: "rollbackPrepared", absent: "wait" },
    old: SETTLE,
  },
};
