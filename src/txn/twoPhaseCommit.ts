/**
 * One two-phase commit: performs what the coordinator says, and tells it what came of it.
 *
 * A crash at any of the fault points means what coordinator.ts says of the phase it falls in.
 */
import type { Gid, Gtrid, Xid } from "../base/brands.ts";
import { Fault } from "../base/fault.ts";
import type { FaultPointListener } from "../base/faultPoint.ts";
import { invariant } from "../base/invariant.ts";
import type { Buckets } from "../observe/buckets.ts";
import type { CommitTimes } from "./commitTimes.ts";
import {
  type CoordinatorEffect,
  type CoordinatorEvent,
  type CoordinatorState,
  type ParticipantIndex,
  start,
  step,
} from "./coordinator.ts";
import { type DecisionLog, isRefusal, type Outcome, type Participant } from "./decisionLog.ts";
import type { BranchConnection } from "./participant.ts";
import { writeParticipants } from "./shardLog/decisionTable.ts";
import type { ShardLog } from "./shardLog/shardLog.ts";
import {
  anchorReply,
  COMMIT_DECISION,
  type CommitError,
  type CommitReply,
  type PrepareVote,
  prepareStatement,
  prepareVote,
  XID,
} from "./vote.ts";

export interface Member {
  readonly connection: BranchConnection;
  readonly gid: Gid;
  /** Which server the shard is now, as far as known. */
  readonly server: string | null;
}

/** Whose own COMMIT carries the decision. */
export interface Anchoring {
  readonly anchor: ParticipantIndex;
  readonly log: ShardLog;
}

export interface TwoPhaseOptions {
  readonly transaction: Gtrid;
  readonly members: readonly Member[];
  /** Null: `decisions` are elsewhere than on the members' shards. */
  readonly anchoring: Anchoring | null;
  readonly decisions: DecisionLog;
  readonly faultPoint: FaultPointListener;
  readonly prepareTimeoutMs: number;
  readonly commitTimeoutMs: number;
  readonly times: CommitTimes;
  /** The decision to commit is durable. */
  onDecided(): void;
  /** A backend may still be preparing, or its branch prepared: somebody must look after it. */
  onUnheard(connection: BranchConnection): void;
  /** A branch stays prepared: somebody must finish it. */
  onLeft(connection: BranchConnection): void;
  onApplied(connection: BranchConnection): void;
}

export type TwoPhaseOutcome =
  /** `left`: where it is decided but not confirmed. */
  | { readonly kind: "committed"; readonly left: readonly BranchConnection[] }
  | { readonly kind: "aborted"; readonly error: CommitError }
  | { readonly kind: "undecided"; readonly fault: Fault };

export class TwoPhaseCommit {
  readonly #options: TwoPhaseOptions;
  readonly #xids: (Xid | null)[] = [];
  readonly #refusals: (PrepareVote | null)[] = [];
  readonly #left: BranchConnection[] = [];
  #state: CoordinatorState;
  #logFault: Fault | null = null;
  /** Why the anchor's answer was not heard. */
  #anchorReason = "";
  #votes = 0;
  #acknowledged = 0;
  /** When the step that runs began. */
  #stepFromMs: number;
  #settled = 0;
  /** How many are prepared: all but an anchor. */
  readonly #preparedCount: number;
  readonly #events: CoordinatorEvent[] = [];
  #isStepping = false;
  #written: readonly Participant[] | null = null;
  #tell!: (outcome: TwoPhaseOutcome) => void;
  /** Resolves when everything is settled. */
  readonly outcome: Promise<TwoPhaseOutcome>;

  constructor(options: TwoPhaseOptions) {
    this.#options = options;
    this.#preparedCount = options.members.length - (options.anchoring === null ? 0 : 1);
    this.outcome = new Promise((resolve) => {
      this.#tell = resolve;
    });
    this.#stepFromMs = options.times.nowMs();
    const { state, effects } = start(options.members.length, options.anchoring?.anchor ?? -1);
    this.#state = state;
    for (const effect of effects) this.#perform(effect);
  }

  /** What happens while an event is dealt with comes after it. */
  #dispatch(event: CoordinatorEvent): void {
    if (this.#isStepping) return void this.#events.push(event);
    this.#isStepping = true;
    this.#step(event);
    while (this.#events.length > 0) this.#step(this.#events.shift()!);
    this.#isStepping = false;
  }

  #step(event: CoordinatorEvent): void {
    const { state, effects } = step(this.#state, event);
    this.#state = state;
    for (let i = 0; i < effects.length; i += 1) this.#perform(effects[i]!);
  }

  #perform(effect: CoordinatorEffect): void {
    switch (effect.kind) {
      case "prepare":
        return this.#prepare(effect.participant);
      case "decide":
        return this.#options.anchoring === null
          ? this.#decide()
          : this.#commitAnchor(this.#options.anchoring);
      case "ask":
        return this.#ask(this.#options.anchoring!);
      case "rollback":
        return this.#rollback(effect.participant);
      case "commitPrepared":
        return this.#commitPrepared(effect.participant);
      case "rollbackPrepared":
        return this.#rollbackPrepared(effect.participant);
      case "fence":
        this.#options.onUnheard(this.#connection(effect.participant));
        return this.#dispatch({ kind: "settled", participant: effect.participant });
      case "tell":
        return this.#tell(this.#outcome(effect));
    }
  }

  // --- phase 1 ---

  #prepare(participant: ParticipantIndex): void {
    const { members, faultPoint, prepareTimeoutMs } = this.#options;
    const { connection, gid } = members[participant]!;
    faultPoint("prepare.before-send", participant);
    if (connection.isInTransaction) {
      connection
        .runBehind(XID, NO_VALUES, prepareStatement(gid), prepareTimeoutMs)
        .then((reply) => this.#voted(participant, prepareVote(reply)), throwLater);
    } else later(() => this.#voted(participant, { vote: "no", error: failedTransaction() }));
    faultPoint("prepare.after-send", participant);
  }

  #voted(participant: ParticipantIndex, vote: PrepareVote): void {
    this.#options.faultPoint("vote.received", this.#votes);
    this.#votes += 1;
    if (vote.vote === "yes") this.#xids[participant] = vote.xid;
    else this.#refusals[participant] = vote;
    if (this.#votes === this.#preparedCount) {
      this.#options.faultPoint("votes.all-received", 0);
      this.#endStep(this.#options.times.prepare);
    }
    this.#dispatch({ kind: "voted", participant, vote: vote.vote });
  }

  // --- the decision ---

  #decide(): void {
    const { decisions, transaction } = this.#options;
    decisions.decide(transaction, "commit", this.#participants()).then(
      (outcome) => {
        invariant(outcome === "commit", "nobody else decides a transaction that runs here");
        this.#endStep(this.#options.times.decide);
        this.#options.onDecided();
        this.#dispatch({ kind: "decided" });
      },
      (error: unknown) => {
        if (!(error instanceof Fault)) return throwLater(error);
        this.#logFault = error;
        this.#dispatch({ kind: isRefusal(error) ? "refused" : "logFailed" });
      },
    );
  }

  /** Those who were prepared, once all have voted. */
  #participants(): readonly Participant[] {
    if (this.#written !== null) return this.#written;
    const { members, anchoring } = this.#options;
    const participants: Participant[] = [];
    for (let i = 0; i < members.length; i += 1) {
      if (i === anchoring?.anchor) continue;
      const { connection, gid, server } = members[i]!;
      participants.push({ shard: connection.shard, gid, xid: this.#xids[i] ?? null, server });
    }
    this.#written = participants;
    return participants;
  }

  // --- the decision, by the anchor's commit ---

  #commitAnchor({ anchor }: Anchoring): void {
    const { transaction, faultPoint, commitTimeoutMs } = this.#options;
    const connection = this.#connection(anchor);
    faultPoint("anchor.before-send", 0);
    if (connection.isInTransaction) {
      const decision = [transaction, writeParticipants(this.#participants())];
      connection
        .runBehind(COMMIT_DECISION, decision, "COMMIT", commitTimeoutMs)
        .then((reply) => this.#anchorSaid(anchorReply(reply), anchor), throwLater);
    } else later(() => this.#anchorSaid({ kind: "aborted", error: failedTransaction() }, anchor));
    faultPoint("anchor.after-send", 0);
  }

  #anchorSaid(reply: CommitReply, anchor: ParticipantIndex): void {
    switch (reply.kind) {
      case "committed":
        this.#options.faultPoint("anchor.acknowledged", 0);
        return this.#standsCommitted();
      case "aborted":
        return this.#refusedByAnchor(anchor, reply.error);
      case "unknown":
        this.#anchorReason = reply.reason;
        return this.#dispatch({ kind: "unheard" });
    }
  }

  /** Interrupted here: the row is there or it is not, and whoever looks next decides by it. */
  #ask({ anchor, log }: Anchoring): void {
    const { transaction, commitTimeoutMs } = this.#options;
    const connection = this.#connection(anchor);
    log.askBack(transaction, connection, commitTimeoutMs).then((standing) => {
      this.#learned(standing, anchor);
    }, throwLater);
  }

  #learned(standing: Outcome | null, anchor: ParticipantIndex): void {
    if (standing === "commit") return this.#standsCommitted();
    const detail = `Shard "${this.#connection(anchor).shard}" did not answer COMMIT: ${this.#anchorReason}.`;
    if (standing === "abort")
      return this.#refusedByAnchor(anchor, new Fault("commit.branch_lost", { detail }));
    this.#logFault = new Fault("commit.unknown", { detail });
    for (const [i, { connection }] of this.#options.members.entries())
      if (i !== anchor) this.#options.onLeft(connection);
    this.#dispatch({ kind: "logFailed" });
  }

  #standsCommitted(): void {
    const { anchoring, transaction } = this.#options;
    const { anchor, log } = anchoring!;
    log.noteCommitted(transaction, this.#connection(anchor).shard, this.#participants());
    this.#endStep(this.#options.times.decide);
    this.#options.onDecided();
    this.#dispatch({ kind: "decided" });
  }

  #refusedByAnchor(anchor: ParticipantIndex, error: CommitError): void {
    this.#refusals[anchor] = { vote: "no", error };
    this.#dispatch({ kind: "refused" });
  }

  /** Nothing depends on the answer: what is not committed now never is. */
  #rollback(participant: ParticipantIndex): void {
    this.#connection(participant)
      .run("ROLLBACK", this.#options.commitTimeoutMs)
      .then(() => this.#dispatch({ kind: "settled", participant }), throwLater);
  }

  // --- phase 2 ---

  #commitPrepared(participant: ParticipantIndex): void {
    const { members, faultPoint, commitTimeoutMs, onApplied, onLeft } = this.#options;
    const { connection, gid } = members[participant]!;
    faultPoint("commit-prepared.before-send", participant);
    const reply = connection.run(`COMMIT PREPARED '${gid}'`, commitTimeoutMs);
    faultPoint("commit-prepared.after-send", participant);
    reply.then(({ kind }) => {
      if (kind === "complete") {
        faultPoint("commit-prepared.acknowledged", this.#acknowledged);
        this.#acknowledged += 1;
        onApplied(connection);
      } else {
        this.#left.push(connection);
        onLeft(connection);
      }
      this.#settled += 1;
      if (this.#settled === this.#preparedCount) this.#endStep(this.#options.times.commit_prepared);
      this.#dispatch({ kind: "settled", participant });
    }, throwLater);
  }

  #rollbackPrepared(participant: ParticipantIndex): void {
    const { members, commitTimeoutMs, onLeft } = this.#options;
    const { connection, gid } = members[participant]!;
    connection.run(`ROLLBACK PREPARED '${gid}'`, commitTimeoutMs).then((reply) => {
      if (reply.kind !== "complete") onLeft(connection);
      this.#dispatch({ kind: "settled", participant });
    }, throwLater);
  }

  /** Notes how long a step took, and that the next one begins. */
  #endStep(step: Buckets): void {
    const nowMs = this.#options.times.nowMs();
    step.observe(nowMs - this.#stepFromMs);
    this.#stepFromMs = nowMs;
  }

  // --- the outcome ---

  #outcome(effect: Extract<CoordinatorEffect, { kind: "tell" }>): TwoPhaseOutcome {
    switch (effect.outcome) {
      case "committed":
        return { kind: "committed", left: this.#left };
      case "undecided":
        return { kind: "undecided", fault: this.#logFault! };
      case "aborted":
        return { kind: "aborted", error: this.#refusalOf(effect.refusedBy) };
    }
  }

  #refusalOf(participant: ParticipantIndex): CommitError {
    if (participant < 0) return this.#logFault!;
    const refusal = this.#refusals[participant];
    invariant(refusal?.vote === "no" || refusal?.vote === "unknown", "an abort has a reason");
    if (refusal.vote === "no") return refusal.error;
    return new Fault("commit.vote_unknown", {
      detail: `Shard "${this.#connection(participant).shard}": ${refusal.reason}.`,
      hint: "Repeat the transaction.",
    });
  }

  #connection(participant: ParticipantIndex): BranchConnection {
    return this.#options.members[participant]!.connection;
  }
}

const NO_VALUES: readonly string[] = [];

const failedTransaction = (): Fault => new Fault("session.failed_transaction");

/** As late as an answer would come at the earliest: never from within. */
function later(action: () => void): void {
  Promise.resolve().then(action, throwLater);
}

/** `run` never rejects: what lands here is a broken invariant, and ends the process. */
function throwLater(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
