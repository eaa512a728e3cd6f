// Pure.
/**
 * What may be done when an operator says how a transaction in doubt is to end: a total table over the facts.
 *
 * An operator may say what nobody can know any more, and nothing else. What is decided stands, whoever wants it otherwise;
 * what somebody works on is left to them; what pgxa knows by itself is not a matter of opinion.
 */
import type { Outcome } from "../decisionLog.ts";

/** Who has the transaction in hand. */
export type Occupation =
  /** This process commits it now. */
  | "running"
  /** Somebody else who lives, or may live, for all that can be seen. */
  | "alive"
  | "nobody";

/** What is known of its decision. */
export type Knowledge =
  | "commit"
  | "abort"
  /** Where the decision would be it can be seen that there is none. */
  | "absent"
  /** The own log failed while it was written: the next start reads what became of it. */
  | "failed"
  | "unknowable";

export type Ruling =
  /** It is what stands, or follows from it: no guess. */
  | "apply"
  /** A guess that nobody can check now: recorded as one. */
  | "heuristic"
  | "refuseRunning"
  | "refuseAlive"
  | "refuseDecided"
  | "refuseAbsent"
  | "refuseFailed";

type Cells = Readonly<Record<Knowledge, Readonly<Record<Outcome, Ruling>>>>;

const all = (ruling: Ruling): Cells => {
  const both = { commit: ruling, abort: ruling } as const;
  return { commit: both, abort: both, absent: both, failed: both, unknowable: both };
};

export const RULING_TABLE: Readonly<Record<Occupation, Cells>> = {
  running: all("refuseRunning"),
  alive: all("refuseAlive"),
  nobody: {
    commit: { commit: "apply", abort: "refuseDecided" },
    abort: { commit: "refuseDecided", abort: "apply" },
    absent: { commit: "refuseAbsent", abort: "apply" },
    failed: { commit: "refuseFailed", abort: "refuseFailed" },
    unknowable: { commit: "heuristic", abort: "heuristic" },
  },
};

/** What a decision that became known later says of a heuristic outcome. */
export type Verdict =
  /** Nothing is known yet. */
  | "unproven"
  | "confirmed"
  /** The transaction ended otherwise somewhere: X/Open's heuristic mixed. */
  | "contradicted"
  /** It may have, and nothing is left that could tell: X/Open's heuristic hazard. */
  | "hazard";

/**
 * By what stands where the decision belongs. A commit that all have applied is forgotten there, so that none to be found
 * does not disprove a commit.
 */
export const VERDICT_TABLE: Readonly<
  Record<Outcome, Readonly<Record<Exclude<Knowledge, "failed">, Verdict>>>
> = {
  commit: { commit: "confirmed", abort: "contradicted", absent: "hazard", unknowable: "unproven" },
  abort: { commit: "contradicted", abort: "confirmed", absent: "confirmed", unknowable: "unproven" },
};
