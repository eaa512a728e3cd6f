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
 * Interrupted in `preparing` or `aborting`: nothing was logged, absence means abort. In `deciding`: the log knows, or
 * it does not, and recovery believes it either way, since nobody has been told. In `committing`: the decision stands
 * and recovery finishes it.
 */
import { invariant, unreachable } from "../base/invariant.ts";

/** A participant, by its place among the participants. */
export type ParticipantIndex = number;

export type Vote = "yes" | "no" | "unknown";

/** What has become of a participant. */
type Standing = "asked" | "prepared" | "refused" | "unheard" | "settled";

export type Phase =
  | "preparing"
  | "aborting"
  | "deciding"
  | "committing"
  | "committed"
  | "aborted"
  | "undecided";

export interface CoordinatorState {
  readonly phase: Phase;
  readonly standings: readonly Standing[];
  /** Whose vote was the first that was not a yes; -1 while there is none. */
  readonly refusedBy: ParticipantIndex;
}

export type CoordinatorEvent =
  | { readonly kind: "voted"; readonly participant: ParticipantIndex; readonly vote: Vote }
  /** The decision to commit is durable. */
  | { readonly kind: "decided" }
  /** Whether the decision is durable is not known. */
  | { readonly kind: "logFailed" }
  /** Phase 2 (or the rollback) is confirmed by the shard, or has been handed to the resolver. */
  | { readonly kind: "settled"; readonly participant: ParticipantIndex };

export type CoordinatorEffect =
  | { readonly kind: "prepare"; readonly participant: ParticipantIndex }
  | { readonly kind: "decide" }
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

/** Begins with `participants` (2 or more) that wrote. */
export function start(participants: number): Step {
  invariant(participants >= 2, "one writer needs no second phase");
  const standings: readonly Standing[] = Array.from({ length: participants }, () => "asked");
  return {
    state: { phase: "preparing", standings, refusedBy: -1 },
    effects: standings.map((_, participant) => ({ kind: "prepare", participant })),
  };
}

/** The next state and what to do, in order. Throws on an event that cannot happen there. */
export function step(state: CoordinatorState, event: CoordinatorEvent): Step {
  const standings = standingsAfter(state, event);
  const occurrence = occurrenceOf(event, standings);
  const cell = COORDINATOR_TABLE[state.phase][occurrence];
  invariant(cell !== "illegal", `coordinator: ${occurrence} while ${state.phase}`);
  const isRefusal = occurrence === "no" || occurrence === "unknown";
  const refusedBy =
    isRefusal && state.refusedBy < 0 && event.kind === "voted" ? event.participant : state.refusedBy;
  const next: CoordinatorState = { phase: cell, standings, refusedBy };
  const effects = effectsOf(state, next, event);
  return afterRefusals({ state: next, effects });
}

function standingsAfter({ standings }: CoordinatorState, event: CoordinatorEvent): readonly Standing[] {
  if (event.kind === "decided" || event.kind === "logFailed") return standings;
  const { participant } = event;
  const before = standings[participant];
  if (event.kind === "settled") {
    invariant(
      before === "prepared" || before === "unheard",
      "what is settled has voted and is not settled yet",
    );
    return standings.with(participant, "settled");
  }
  invariant(before === "asked", "a participant votes once");
  const byVote: Readonly<Record<Vote, Standing>> = { yes: "prepared", no: "refused", unknown: "unheard" };
  return standings.with(participant, byVote[event.vote]);
}

function occurrenceOf(event: CoordinatorEvent, standings: readonly Standing[]): Occurrence {
  switch (event.kind) {
    case "decided":
    case "logFailed":
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
    case "committing":
      return before.phase === "deciding" ? everyPrepared(after, "commitPrepared") : [];
    case "aborting":
      return before.phase === "preparing"
        ? everyPrepared(after, "rollbackPrepared")
        : ownRollback(after, event);
    case "committed":
    case "undecided":
      return [{ kind: "tell", outcome: after.phase }];
    case "aborted":
      return [{ kind: "tell", outcome: "aborted", refusedBy: after.refusedBy }];
  }
}

/** Every participant that stands prepared; on the way to an abort also those not heard of. */
function everyPrepared(
  state: CoordinatorState,
  kind: "commitPrepared" | "rollbackPrepared",
): readonly CoordinatorEffect[] {
  return state.standings.flatMap((standing, participant): readonly CoordinatorEffect[] => {
    if (standing === "prepared") return [{ kind, participant }];
    return standing === "unheard" ? [{ kind: "fence", participant }] : [];
  });
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
    settled: "illegal",
    lastSettled: "illegal",
  };
}
