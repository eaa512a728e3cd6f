// Pure.
/**
 * Where decisions are durable. The first writer wins, and everyone else learns the winner.
 *
 * Only commits are written: with presumed abort the absence of a decision is one. That holds only where the log is
 * whole, which is why `lookup` has a third answer.
 */
import type { Gid, Gtrid, ShardId, Xid } from "../base/brands.ts";
import { Fault } from "../base/fault.ts";

export type Outcome = "commit" | "abort";

export interface Participant {
  readonly shard: ShardId;
  readonly gid: Gid;
  /** Noted at PREPARE: the evidence for what became of it. Null if the branch had none: it wrote nothing. */
  readonly xid: Xid | null;
  /** System identifier and timeline of the server that prepared it; an xid means nothing elsewhere. */
  readonly server: string | null;
}

export interface Decision {
  readonly gtrid: Gtrid;
  readonly participants: readonly Participant[];
}

/** `unknowable`: the log cannot say, since it is younger than the transaction or damaged where it may have stood. */
export type Lookup = "commit" | "abort" | "absent" | "unknowable";

export interface DecisionLog {
  /** New at every start, greater than all before. */
  readonly epoch: number;
  /** The greatest epoch that the log tells of: its own, or that of a process whose log was taken over. */
  readonly latestEpoch: number;
  /** Whether what transactions of `epoch` left is for this process to settle (responsibility.ts). */
  answersFor(epoch: number): boolean;
  /** Whether it is for another process of this coordinator, which sees to it; absent: never. */
  leavesToOthers?(epoch: number): boolean;
  /** Sees who else of this coordinator lives, and takes over the logs of those who are gone, if that falls to it. */
  survey(): Promise<void>;
  /** False once a write has failed: nothing more is decided, unless the log recovers. */
  readonly isSound: boolean;
  /** Why not, for whoever would commit; null while it is sound. */
  refusal?(): Fault | null;
  /**
   * Decides `outcome` unless the transaction was decided before; resolves, once that is durable, with the outcome that
   * stands. Rejects with `commit.log_failed`: then nobody knows what a restart will find. Rejects with `commit.log_full` or
   * `commit.log_stopped`: then there is no decision and will be none, and the transaction is aborted.
   * `anchor` is the shard that the transaction's gids name.
   */
  decide(
    gtrid: Gtrid,
    outcome: Outcome,
    participants: readonly Participant[],
    anchor?: ShardId | null,
  ): Promise<Outcome>;
  lookup(gtrid: Gtrid, epoch: number): Lookup;
  /** Commits that not every participant is known to have applied. */
  unconcluded(): readonly Decision[];
  /** The participants of such a commit; null if it is none. */
  unconcludedParticipants(gtrid: Gtrid): readonly Participant[] | null;
  /** Every participant has applied the commit: it may be forgotten. */
  conclude(gtrid: Gtrid): void;
  close(): Promise<void>;
}

/** Whether `decide` rejected because there is no decision and will be none. */
export const isRefusal = (error: unknown): error is Fault =>
  error instanceof Fault && (error.id === "commit.log_full" || error.id === "commit.log_stopped");
