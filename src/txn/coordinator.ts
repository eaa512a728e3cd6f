// Pure.
/**
 * The commit coordinator: what is to be done next, given what has been heard.
 *
 * Two-phase commit with presumed abort over two or more participants that wrote:
 *
 *     preparing --all yes--> deciding --decided--> committing --all settled--> committed
 *         |                      |
 *     no, or unknown         log failed
 *         v                      v
 *      aborting --all settled--> aborted          undecided
 *
 * `step` performs nothing. It returns the effects in the order in which they must be performed, and never gives
 * `commitPrepared` before it has been told `decided`: durable before visible. A vote that was not heard is `unknown`;
 * it aborts like a no, but its branch may yet turn out to be prepared, so it is fenced and left to the resolver, never
 * taken for rolled back.
 *
 * A log that says for sure that it has no decision and will have none (`refused`) aborts.
 *
 * With an *anchor*, a participant on whose shard the decision is written, the others are prepared and the anchor is
 * not: its own COMMIT carries the decision.
 *
 *     deciding --decided--> committing          the anchor's COMMIT is confirmed
 *     deciding --refused--> aborting            the anchor's shard would not
 *     deciding --unheard--> asking              its answer was lost: nobody may guess
 *     asking --decided, refused, logFailed--> committing, aborting, undecided
 *
 * Interrupted in `preparing` or `aborting`: nothing was logged, absence means abort. In `deciding` and `asking`: the log
 * knows, or it does not, and recovery believes it either way, since nobody has been told. In `committing`: the decision
 * stands and recovery finishes it.
 */
import { invariant, legal, unreachable } from "../base/invariant.ts";

/** A participant, by its place among the participants. */
export type ParticipantIndex = number;

export type Vote = "yes" | "no" | "unknown";

/** What has become of a participant. `open`: the anchor, which is asked for no vote, in its own transaction. */
type Standing = "asked" | "prepared" | "refused" | "unheard" | "settled" | "open";

export type Phase =
  | "preparing"
  | "aborting"
  | "deciding"
  | "asking"
  | "committing"
  | "committed"
  | "aborted"
  | "undecided";

export interface CoordinatorState {
  readonly phase: Phase;
  readonly standings: readonly Standing[];
  /** Whose vote was the first that was not a yes; -1 while there is none, or if it was the log. */
  readonly refusedBy: ParticipantIndex;
  /** Whose COMMIT carries the decision; -1 if the log is elsewhere. */
  readonly anchor: ParticipantIndex;
}

export type CoordinatorEvent =
  | { readonly kind: "voted"; readonly participant: ParticipantIndex; readonly vote: Vote }
  /** The decision to commit is durable. */
  | { readonly kind: "decided" }
  /** Whether the decision is durable is not known. */
  | { readonly kind: "logFailed" }
  /** The anchor's transaction is rolled back for sure; without an anchor, the log has no decision and will have none. */
  | { readonly kind: "refused" }
  /** The anchor did not answer. */
  | { readonly kind: "unheard" }
  /** Phase 2 (or the rollback) is confirmed by the shard, or has been handed to the resolver. */
  | { readonly kind: "settled"; readonly participant: ParticipantIndex };

export type CoordinatorEffect =
  | { readonly kind: "prepare"; readonly participant: ParticipantIndex }
  /** With an anchor: by its COMMIT. */
  | { readonly kind: "decide" }
  /** What was decided, since the anchor did not answer? If nothing was, nothing may be any more. */
  | { readonly kind: "ask" }
  /** The anchor's transaction, which was never prepared. */
  | { readonly kind: "rollback"; readonly participant: ParticipantIndex }
  | { readonly kind: "commitPrepared"; readonly participant: ParticipantIndex }
  | { readonly kind: "rollbackPrepared"; readonly participant: ParticipantIndex }
  /** Make sure that the backend can prepare nothing any more; the resolver looks after what it may have prepared. */
  | { readonly kind: "fence"; readonly participant: ParticipantIndex }
  | { readonly kind: "tell"; readonly outcome: "committed" | "undecided" }
  | { readonly kind: "tell"; readonly outcome: "aborted"; readonly refusedBy: ParticipantIndex };

/** An event as the table knows it: with what it means for the whole. */
export type Occurrence =
  | "yes"
  | "lastYes"
  | "no"
  | "unknown"
  | "decided"
  | "logFailed"
  | "refused"
  | "unheard"
  | "settled"
  | "lastSettled";

type Cell = Phase | "illegal";

/** Complete: every phase, every occurrence. */
export const COORDINATOR_TABLE: Readonly<Record<Phase, Readonly<Record<Occurrence, Cell>>>> = {
  preparing: {
    yes: "preparing",
    lastYes: "deciding",
    no: "aborting",
    unknown: "aborting",
    decided: "illegal",
    logFailed: "illegal",
    refused: "illegal",
    unheard: "illegal",
    settled: "illegal",
    lastSettled: "illegal",
  },
  aborting: {
    yes: "aborting",
    lastYes: "aborting",
    no: "aborting",
    unknown: "aborting",
    decided: "illegal",
    logFailed: "illegal",
    refused: "illegal",
    unheard: "illegal",
    settled: "aborting",
    lastSettled: "aborted",
  },
  deciding: {
    yes: "illegal",
    lastYes: "illegal",
    no: "illegal",
    unknown: "illegal",
    decided: "committing",
    logFailed: "undecided",
    refused: "aborting",
    unheard: "asking",
    settled: "illegal",
    lastSettled: "illegal",
  },
  asking: {
    yes: "illegal",
    lastYes: "illegal",
    no: "illegal",
    unknown: "illegal",
    decided: "committing",
    logFailed: "undecided",
    refused: "aborting",
    unheard: "illegal",
    settled: "illegal",
    lastSettled: "illegal",
  },
  committing: {
    yes: "illegal",
    lastYes: "illegal",
    no: "illegal",
    unknown: "illegal",
    decided: "illegal",
    logFailed: "illegal",
    refused: "illegal",
    unheard: "illegal",
    settled: "committing",
    lastSettled: "committed",
  },
  committed: ended(),
  aborted: ended(),
  undecided: ended(),
};

export interface Step {
  readonly state: CoordinatorState;
  readonly effects: readonly CoordinatorEffect[];
}

/** Begins with `participants` (2 or more) that wrote; one of them may be the anchor. */
export function start(participants: number, anchor: ParticipantIndex = -1): Step {
  invariant(participants >= 2, "one writer needs no second phase");
  invariant(anchor >= -1 && anchor < participants, "the anchor is a participant");
  const standings: Standing[] = [];
  const effects: CoordinatorEffect[] = [];
  for (let participant = 0; participant < participants; participant += 1) {
    const isAnchor = participant === anchor;
    standings.push(isAnchor ? "open" : "asked");
    if (!isAnchor) effects.push({ kind: "prepare", participant });
  }
  return { state: { phase: "preparing", standings, refusedBy: -1, anchor }, effects };
}

/** The next state and what to do, in order. Throws on an event that cannot happen there. */
export function step(state: CoordinatorState, event: CoordinatorEvent): Step {
  const standings = standingsAfter(state, event);
  const occurrence = occurrenceOf(event, standings);
  const cell = legal(COORDINATOR_TABLE[state.phase][occurrence], "coordinator", occurrence, state.phase);
  const refusedBy = state.refusedBy < 0 ? refuserOf(state, event) : state.refusedBy;
  const next: CoordinatorState = { phase: cell, standings, refusedBy, anchor: state.anchor };
  const effects = effectsOf(state, next, event);
  return afterRefusals({ state: next, effects });
}

/** Who says no with this event; -1 if it is none. */
function refuserOf({ anchor }: CoordinatorState, event: CoordinatorEvent): ParticipantIndex {
  if (event.kind === "refused") return anchor;
  return event.kind === "voted" && event.vote !== "yes" ? event.participant : -1;
}

function standingsAfter(state: CoordinatorState, event: CoordinatorEvent): readonly Standing[] {
  const { standings } = state;
  if (event.kind !== "voted" && event.kind !== "settled") return standingsOfDecision(state, event.kind);
  const { participant } = event;
  const before = standings[participant];
  if (event.kind === "settled") {
    const isOwed = before === "prepared" || before === "unheard" || before === "open";
    invariant(isOwed, "what is settled was to be settled, and is not yet");
    return standings.with(participant, "settled");
  }
  invariant(before === "asked", "a participant votes once");
  const byVote: Readonly<Record<Vote, Standing>> = { yes: "prepared", no: "refused", unknown: "unheard" };
  return standings.with(participant, byVote[event.vote]);
}

/** The anchor's data is committed with the decision, or rolled back with its refusal. */
function standingsOfDecision(
  { standings, anchor, phase }: CoordinatorState,
  kind: "decided" | "logFailed" | "refused" | "unheard",
): readonly Standing[] {
  if (kind === "logFailed" || (kind !== "unheard" && anchor < 0)) return standings;
  invariant(anchor >= 0, "only an anchor is not heard");
  // An error may leave its session in a failed transaction. Where it did not answer, the session is gone.
  const isOver = kind === "decided" || (kind === "refused" && phase === "asking");
  return isOver ? standings.with(anchor, "settled") : standings;
}

function occurrenceOf(event: CoordinatorEvent, standings: readonly Standing[]): Occurrence {
  switch (event.kind) {
    case "decided":
    case "logFailed":
    case "refused":
    case "unheard":
      return event.kind;
    case "settled":
      return isAllSettled(standings) ? "lastSettled" : "settled";
    case "voted":
      if (event.vote !== "yes") return event.vote;
      return standings.every((standing) => standing !== "asked") ? "lastYes" : "yes";
    default:
      return unreachable(event);
  }
}

/** A refused branch was rolled back by its shard: there is nothing left to settle. */
const isAllSettled = (standings: readonly Standing[]): boolean =>
  standings.every((standing) => standing === "settled" || standing === "refused");

function effectsOf(
  before: CoordinatorState,
  after: CoordinatorState,
  event: CoordinatorEvent,
): readonly CoordinatorEffect[] {
  switch (after.phase) {
    case "preparing":
      return [];
    case "deciding":
      return [{ kind: "decide" }];
    case "asking":
      return [{ kind: "ask" }];
    case "committing":
      return before.phase === after.phase ? [] : everyPrepared(after, "commitPrepared");
    case "aborting":
      return before.phase === after.phase
        ? ownRollback(after, event)
        : everyPrepared(after, "rollbackPrepared");
    case "committed":
    case "undecided":
      return [{ kind: "tell", outcome: after.phase }];
    case "aborted":
      return [{ kind: "tell", outcome: "aborted", refusedBy: after.refusedBy }];
  }
}

/** Every participant that stands prepared; on the way to an abort also those not heard of, and the anchor. */
function everyPrepared(
  state: CoordinatorState,
  kind: "commitPrepared" | "rollbackPrepared",
): readonly CoordinatorEffect[] {
  const effects: CoordinatorEffect[] = [];
  for (let participant = 0; participant < state.standings.length; participant += 1) {
    const standing = state.standings[participant];
    if (standing === "prepared") effects.push({ kind, participant });
    else if (standing === "open") effects.push({ kind: "rollback", participant });
    else if (standing === "unheard") effects.push({ kind: "fence", participant });
  }
  return effects;
}

/** A vote that comes when the abort is already on its way. */
function ownRollback(state: CoordinatorState, event: CoordinatorEvent): readonly CoordinatorEffect[] {
  if (event.kind !== "voted") return [];
  const { participant } = event;
  const standing = state.standings[participant];
  if (standing === "prepared") return [{ kind: "rollbackPrepared", participant }];
  return standing === "unheard" ? [{ kind: "fence", participant }] : [];
}

/** An abort with nothing left to wait for ends at once: every shard refused. */
function afterRefusals({ state, effects }: Step): Step {
  if (state.phase !== "aborting" || !isAllSettled(state.standings)) return { state, effects };
  const aborted: CoordinatorState = { ...state, phase: "aborted" };
  return {
    state: aborted,
    effects: [...effects, { kind: "tell", outcome: "aborted", refusedBy: state.refusedBy }],
  };
}

function ended(): Readonly<Record<Occurrence, Cell>> {
  return {
    yes: "illegal",
    lastYes: "illegal",
    no: "illegal",
    unknown: "illegal",
    decided: "illegal",
    logFailed: "illegal",
    refused: "illegal",
    unheard: "illegal",
    settled: "illegal",
    lastSettled: "illegal",
  };
}
