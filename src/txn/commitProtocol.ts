/**
 * COMMIT of a transaction with branches: which way it goes, and what the client may be told.
 *
 * One branch, or one that wrote: a plain COMMIT there. Two or more that wrote: two phases. A branch wrote nothing if no
 * transaction id was assigned to it, which is asked only where nothing but reads was seen; such a branch is committed
 * first and drops out, and under SERIALIZABLE even that can fail, and then everything aborts.
 *
 * A lost reply is never taken for an outcome. The only writer's is looked up by its transaction id; where even that
 * cannot be known in time, the client is told so (08007).
 */
import { type Gtrid, type ShardId, type Xid, xidOf } from "../base/brands.ts";
import { detach } from "../base/detach.ts";
import type { Clock } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import type { FaultPointListener } from "../base/faultPoint.ts";
import type { TransactionConfig } from "../config/config.ts";
import type { Log } from "../observe/log.ts";
import type { ErrorFields } from "../wire/errorFields.ts";
import { CommitTimes } from "./commitTimes.ts";
import type { DecisionLog } from "./decisionLog.ts";
import { GtridSequence, gid } from "./gid.ts";
import { lookUpCommit } from "./lostCommit.ts";
import type { BranchConnection } from "./participant.ts";
import type { PreparedSlots } from "./preparedSlots.ts";
import type { Resolver } from "./resolver.ts";
import type { ShardControl } from "./shardControl.ts";
import { chooseAnchor } from "./shardLog/anchor.ts";
import type { ShardLog } from "./shardLog/shardLog.ts";
import { TwoPhaseCommit, type TwoPhaseOutcome } from "./twoPhaseCommit.ts";
import { ASK_XID, type CommitError, commitReply } from "./vote.ts";
import { within } from "./within.ts";

export interface CommitBranch {
  readonly connection: BranchConnection;
  readonly sawOnlyReads: boolean;
  /** The place of its last write among all writes of the transaction, from 1. */
  readonly lastWrite?: number;
  /** As far as is known it cannot be prepared. */
  readonly isObstructed?: boolean;
}

export type CommitOutcome =
  | {
      readonly kind: "committed";
      /** For the client: committed, but not confirmed everywhere yet. */
      readonly notice?: ErrorFields;
      /** With `commit_ack: decided`: when the branches' connections are free. */
      readonly applied?: Promise<unknown>;
    }
  | { readonly kind: "aborted"; readonly error: CommitError }
  | { readonly kind: "unknown"; readonly fault: Fault };

export interface CommitProtocolOptions {
  readonly fleet: string;
  readonly coordinator: string;
  readonly decisions: DecisionLog;
  /** That log, if commits are decided on the shards. */
  readonly shardLog?: ShardLog;
  readonly controls: readonly ShardControl[];
  /** Without it a PREPARE is tried whether a slot is free or not. */
  readonly slots?: PreparedSlots;
  readonly config: TransactionConfig;
  readonly faultPoint: FaultPointListener;
  readonly log: Log;
  readonly clock: Pick<Clock, "monotonicMs" | "after">;
}

/** A branch with its transaction id, as far as it was asked. */
interface Writer {
  readonly connection: BranchConnection;
  readonly xid: Xid | null;
  readonly lastWrite: number;
  readonly isObstructed: boolean;
}

export class CommitProtocol {
  readonly #options: CommitProtocolOptions;
  readonly #controls: ReadonlyMap<ShardId, ShardControl>;
  readonly #running = new Set<Gtrid>();
  /** Set by whoever composes: the two know each other. */
  resolver: Resolver | null = null;
  readonly #names: GtridSequence;
  #inFlight = 0;
  #onIdle: (() => void)[] = [];
  /** Outcomes so far, by kind. */
  readonly times: CommitTimes;
  readonly counts = { onePhase: 0, twoPhase: 0, committed: 0, aborted: 0, unknown: 0 };

  constructor(options: CommitProtocolOptions) {
    this.#options = options;
    this.#names = new GtridSequence(options.fleet, options.coordinator);
    this.#controls = new Map(options.controls.map((control) => [control.id, control]));
    this.times = new CommitTimes(options.clock);
  }

  isRunning(transaction: Gtrid): boolean {
    return this.#running.has(transaction);
  }

  /**
   * Commits one or more branches, in an open transaction each, under `name` if it has one; never rejects. `onDecided`: it
   * takes two phases and is decided, so that nothing of it waits for anybody any more.
   */
  commit(
    branches: readonly CommitBranch[],
    name: Gtrid | null = null,
    onDecided: () => void = () => {},
  ): Promise<CommitOutcome> {
    this.#inFlight += 1;
    return this.#commit(branches, name, onDecided).then((outcome) => {
      this.counts[outcome.kind] += 1;
      this.#noteEnd();
      return outcome;
    });
  }

  #noteEnd(): void {
    this.#inFlight -= 1;
    if (this.#inFlight === 0) for (const callback of this.#onIdle.splice(0)) callback();
  }

  /** Resolves when no commit is running, second phases included. */
  drain(): Promise<void> {
    return this.#inFlight === 0 ? Promise.resolve() : new Promise((resolve) => this.#onIdle.push(resolve));
  }

  /** Where every branch wrote, the first messages are sent before this returns. */
  #commit(
    branches: readonly CommitBranch[],
    name: Gtrid | null,
    onDecided: () => void,
  ): Promise<CommitOutcome> {
    if (branches.length === 1) return this.#onePhase({ ...branches[0]!, xid: null });
    if (branches.some(({ sawOnlyReads }) => sawOnlyReads))
      return this.#commitWriters(branches, name, onDecided);
    const writers = branches.map((branch) => writerOf(branch, null));
    return this.#twoPhases(writers, name ?? this.newGtrid(), onDecided);
  }

  async #commitWriters(
    branches: readonly CommitBranch[],
    name: Gtrid | null,
    onDecided: () => void,
  ): Promise<CommitOutcome> {
    const writers = await this.#findWriters(branches);
    if ("kind" in writers) return writers;
    if (writers.length === 0) return { kind: "committed" };
    if (writers.length === 1) return this.#onePhase(writers[0]!);
    return this.#twoPhases(writers, name ?? this.newGtrid(), onDecided);
  }

  // --- who wrote ---

  async #findWriters(branches: readonly CommitBranch[]): Promise<readonly Writer[] | CommitOutcome> {
    const readers = branches.filter(({ sawOnlyReads }) => sawOnlyReads).length;
    // With one sure writer its id is asked too: it is the evidence if its reply to COMMIT is lost.
    const asksAll = branches.length - readers <= 1;
    const asked = branches.map(async ({ connection, sawOnlyReads, lastWrite = 0, isObstructed = false }) => {
      if (!sawOnlyReads && !asksAll)
        return { connection, isWriter: true, xid: null, lastWrite, isObstructed };
      const reply = await connection.run(ASK_XID, this.#options.config.prepareTimeoutMs);
      if (reply.kind !== "complete") return { connection, failure: commitReply(reply) };
      const xid = reply.rows[0]?.[0] ?? null;
      const isWriter = !sawOnlyReads || xid !== null;
      return { connection, isWriter, xid: xid === null ? null : xidOf(xid), lastWrite, isObstructed };
    });
    const answers = await Promise.all(asked);
    const failed = answers.find((answer) => answer.failure !== undefined);
    if (failed !== undefined) return this.#abort(branches, errorOf(failed.connection, failed.failure!));
    const idle = answers.filter((answer) => answer.isWriter === false).map(({ connection }) => connection);
    const refusal = await this.#commitReaders(idle);
    const writers = answers.filter((answer) => answer.isWriter === true);
    if (refusal !== null) return this.#abort(writers, refusal);
    return writers.map((writer) => writerOf(writer, writer.xid ?? null));
  }

  /** Why a branch that wrote nothing could not be committed; null if all could. */
  async #commitReaders(connections: readonly BranchConnection[]): Promise<CommitError | null> {
    const replies = await Promise.all(
      connections.map(async (connection) => {
        const reply = commitReply(await connection.run("COMMIT", this.#options.config.commitTimeoutMs));
        return { connection, reply };
      }),
    );
    const failed = replies.find(({ reply }) => reply.kind !== "committed");
    return failed === undefined ? null : errorOf(failed.connection, failed.reply);
  }

  async #abort(
    branches: readonly { readonly connection: BranchConnection }[],
    error: CommitError,
  ): Promise<CommitOutcome> {
    const { commitTimeoutMs } = this.#options.config;
    await Promise.all(branches.map(({ connection }) => connection.run("ROLLBACK", commitTimeoutMs)));
    return { kind: "aborted", error };
  }

  // --- one phase ---

  async #onePhase({ connection, xid }: Pick<Writer, "connection" | "xid">): Promise<CommitOutcome> {
    this.counts.onePhase += 1;
    const control = this.#controlOf(connection);
    const before = control?.server ?? null; // after a failover it would be another's
    const reply = commitReply(await connection.run("COMMIT", this.#options.config.commitTimeoutMs));
    if (reply.kind === "committed") return { kind: "committed" };
    if (reply.kind === "aborted") return { kind: "aborted", error: reply.error };
    const { shard } = connection;
    const { config, clock } = this.#options;
    const found =
      control === undefined
        ? "unknown"
        : await within(
            clock,
            config.commitTimeoutMs,
            lookUpCommit(control, connection, xid, serverOf(connection, before)),
            "unknown" as const,
          );
    switch (found) {
      case "committed":
        return { kind: "committed", notice: notAnswered(shard, reply.reason) };
      case "aborted":
        return { kind: "aborted", error: errorOf(connection, reply) };
      case "unknown": {
        const detail = `Shard "${shard}" did not answer COMMIT: ${reply.reason}.`;
        return { kind: "unknown", fault: new Fault("commit.unknown", { detail }) };
      }
    }
  }

  // --- two phases ---

  #twoPhases(writers: readonly Writer[], transaction: Gtrid, onDecided: () => void): Promise<CommitOutcome> {
    const { decisions, shardLog, slots } = this.#options;
    if (!decisions.isSound) {
      return this.#abort(writers, decisions.refusal?.() ?? new Fault("commit.log_stopped"));
    }
    const shards = writers.map(({ connection }) => connection.shard);
    const anchor = shardLog === undefined ? -1 : chooseAnchor(writers);
    if (slots === undefined || slots.take(shards, anchor))
      return this.#prepareAndCommit(writers, transaction, anchor, onDecided);
    return this.#waitAndCommit(writers, transaction, anchor, slots, onDecided);
  }

  async #waitAndCommit(
    writers: readonly Writer[],
    transaction: Gtrid,
    chosen: number,
    slots: PreparedSlots,
    onDecided: () => void,
  ): Promise<CommitOutcome> {
    const shards = writers.map(({ connection }) => connection.shard);
    // An anchor needs no slot; but one that cannot be prepared has to be it.
    const isFree = chosen >= 0 && writers[chosen]!.isObstructed !== true;
    const anchor = isFree ? Math.max(slots.firstFull(shards), 0) : chosen;
    const refusal = await slots.wait(shards, anchor, this.#options.config.prepareTimeoutMs);
    if (refusal !== null) return this.#abort(writers, refusal);
    return this.#prepareAndCommit(writers, transaction, anchor, onDecided);
  }

  /** `anchor` is -1 if the decision is not on a shard. */
  #prepareAndCommit(
    writers: readonly Writer[],
    transaction: Gtrid,
    anchor: number,
    onDecided: () => void,
  ): Promise<CommitOutcome> {
    const { decisions, shardLog, config, faultPoint } = this.#options;
    const anchorShard = anchor < 0 ? null : writers[anchor]!.connection.shard;
    this.counts.twoPhase += 1;
    const left = new Set<BranchConnection>();
    this.#running.add(transaction);
    this.#inFlight += 1; // beyond the answer to the client, if that is given at the decision
    const decided = config.commitAck === "decided" ? Promise.withResolvers<void>() : null;
    const commit = new TwoPhaseCommit({
      transaction,
      anchoring: shardLog === undefined ? null : { anchor, log: shardLog },
      members: writers.map(({ connection }) => ({
        connection,
        gid: gid(transaction, connection.shard, anchorShard),
        server: serverOf(connection, this.#controlOf(connection)?.server ?? null),
      })),
      decisions,
      faultPoint,
      prepareTimeoutMs: config.prepareTimeoutMs,
      commitTimeoutMs: config.commitTimeoutMs,
      times: this.times,
      onDecided() {
        onDecided();
        decided?.resolve();
      },
      onUnheard: (connection) => {
        // Once at once, for the fence; and again when the transaction has ended, for what it may have prepared.
        left.add(connection);
        this.resolver?.fence(connection.shard, connection.pid, connection.backendStart);
      },
      onLeft: (connection) => left.add(connection),
      onApplied: (connection) => this.resolver?.noteApplied(transaction, connection.shard),
    });
    const ended = commit.outcome.then((outcome) => {
      this.#freeSlots(transaction, writers, anchor, outcome, left);
      return this.#finish(transaction, outcome, left);
    });
    if (decided === null) return ended;
    detach(ended, "its outcome is awaited, or the decision was enough");
    const told = decided.promise.then((): CommitOutcome => ({ kind: "committed", applied: ended }));
    return Promise.race([ended, told]);
  }

  /** A slot is kept where the branch may still be prepared. */
  #freeSlots(
    transaction: Gtrid,
    writers: readonly Writer[],
    anchor: number,
    outcome: TwoPhaseOutcome,
    left: ReadonlySet<BranchConnection>,
  ): void {
    const { slots } = this.#options;
    if (slots === undefined) return;
    const free: ShardId[] = [];
    for (let i = 0; i < writers.length; i += 1) {
      if (i === anchor) continue;
      const { connection } = writers[i]!;
      if (outcome.kind === "undecided" || left.has(connection)) slots.leave(connection.shard, transaction);
      else free.push(connection.shard);
    }
    slots.release(free);
  }

  #finish(transaction: Gtrid, outcome: TwoPhaseOutcome, left: ReadonlySet<BranchConnection>): CommitOutcome {
    this.#running.delete(transaction);
    this.#noteEnd();
    for (const { shard } of left) this.resolver?.wake(shard);
    const { log } = this.#options;
    switch (outcome.kind) {
      case "aborted":
        log.info("txn.aborted", { gtrid: transaction, sqlstate: outcome.error.sqlstate });
        return outcome;
      case "undecided":
        log.error("txn.unknown", { gtrid: transaction });
        return {
          kind: "unknown",
          fault: new Fault("commit.unknown", { detail: outcome.fault.detail ?? outcome.fault.message }),
        };
      case "committed":
        return outcome.left.length === 0
          ? { kind: "committed" }
          : { kind: "committed", notice: notApplied(outcome.left) };
    }
  }

  /** A name for a transaction that nobody else has, now or later. */
  newGtrid(): Gtrid {
    return this.#names.next(this.#options.decisions.epoch);
  }

  #controlOf(connection: BranchConnection): ShardControl | undefined {
    return this.#controls.get(connection.shard);
  }
}

const writerOf = (
  { connection, lastWrite = 0, isObstructed = false }: Omit<CommitBranch, "sawOnlyReads">,
  xid: Xid | null,
): Writer => ({ connection, xid, lastWrite, isObstructed });

/**
 * Which server a connection leads to, where a transaction's id means something, given the `server` of the control session;
 * null if they are not known to be the same: after a failover that session may be ahead.
 */
function serverOf({ timeline }: BranchConnection, server: string | null): string | null {
  if (timeline === "" || server === null) return server;
  // "/" and the timeline, which is not worth a new string for every branch.
  return server.endsWith(timeline) && server[server.length - timeline.length - 1] === "/" ? server : null;
}

function errorOf(connection: BranchConnection, reply: ReturnType<typeof commitReply>): CommitError {
  if (reply.kind === "aborted") return reply.error;
  const reason = reply.kind === "unknown" ? reply.reason : "it gave an unexpected answer";
  return new Fault("commit.branch_lost", { detail: `Shard "${connection.shard}": ${reason}.` });
}

/** What the server itself says of a commit that no longer waits for a standby, and what a lost answer leaves open. */
const notAnswered = (shard: ShardId, reason: string): ErrorFields => ({
  severity: "WARNING",
  sqlstate: "01000",
  message: "the transaction is committed, but the shard did not say so itself",
  detail: `Shard "${shard}" did not answer COMMIT: ${reason}. Its record has the transaction as committed; whether a synchronous standby has it is not known.`,
});

function notApplied(left: readonly BranchConnection[]): ErrorFields {
  const shards = left.map(({ shard }) => `"${shard}"`).join(", ");
  return {
    severity: "NOTICE",
    sqlstate: "00000",
    message: "the transaction is committed, but not applied everywhere yet",
    detail: `Not confirmed by shard ${shards}. It will be applied as soon as the shard answers; its rows stay locked until then.`,
  };
}
