/**
 * The decision log on the shards themselves.
 *
 * A transaction's decision is a row on one of its own shards, the anchor, and its gids name that shard. The row of
 * a commit is written by the anchor's branch, in the transaction that it decides, so that the decision and the anchor's
 * data are durable at once. Anybody else, in this process or another, can only write an abort, and the primary key
 * makes one of the two the first: who comes second waits for the first, and learns what stands.
 *
 * In memory is what this process has decided and not concluded: nothing that must survive. What is in files from before
 * (`previous`) is recovered from them.
 */
import type { BackendPid, Gtrid, ShardId } from "../../base/brands.ts";
import type { Clock } from "../../base/environment.ts";
import { Fault } from "../../base/fault.ts";
import type { Decision, DecisionLog, Lookup, Outcome, Participant } from "../decisionLog.ts";
import { parseGtrid } from "../gid.ts";
import type { ShardControl } from "../shardControl.ts";
import { within } from "../within.ts";
import { decideOn } from "./decisionTable.ts";
import type { Leases } from "./leases.ts";
import { READ_OWNER } from "./schema.ts";

export interface ShardLogOptions {
  readonly controls: readonly ShardControl[];
  readonly leases: Leases;
  /** The log of files of earlier starts; null if there was none. */
  readonly previous: DecisionLog | null;
  readonly clock: Clock;
}

interface Decided {
  readonly anchor: ShardId;
  readonly participants: readonly Participant[];
}

/** The anchor's backend, which did not answer. */
export interface LostAnchor {
  readonly shard: ShardId;
  readonly pid: BackendPid;
  readonly backendStart: string;
}

const ASK_AGAIN_MS = 50;

export class ShardLog implements DecisionLog {
  readonly #options: ShardLogOptions;
  readonly #decided = new Map<Gtrid, Decided>();

  constructor(options: ShardLogOptions) {
    this.#options = options;
  }

  get epoch(): number {
    return this.#options.leases.epoch;
  }

  get latestEpoch(): number {
    return Math.max(this.epoch, this.#options.previous?.latestEpoch ?? 0);
  }

  /** Of a transaction without an anchor. Who settles one that has an anchor is said by leases (anchoredTable.ts). */
  answersFor(epoch: number): boolean {
    return this.#options.previous?.answersFor(epoch) ?? epoch <= this.epoch;
  }

  leavesToOthers(epoch: number): boolean {
    return this.#options.previous?.leavesToOthers?.(epoch) ?? false;
  }

  async survey(): Promise<void> {
    await this.#options.previous?.survey();
  }

  /** What one shard cannot do, another can. */
  get isSound(): boolean {
    return true;
  }

  decide(
    gtrid: Gtrid,
    outcome: Outcome,
    participants: readonly Participant[],
    anchor: ShardId | null = null,
  ): Promise<Outcome> {
    const { previous } = this.#options;
    if (anchor === null && previous !== null) return previous.decide(gtrid, outcome, participants);
    const control = this.#options.controls.find(({ id }) => id === anchor);
    if (control === undefined) {
      return Promise.reject(
        new Fault("commit.log_failed", { detail: `There is no shard "${anchor}" to decide on.` }),
      );
    }
    return decideOn(control, gtrid, outcome, participants);
  }

  /** Of a transaction without an anchor: only the files may know. */
  lookup(gtrid: Gtrid, epoch: number): Lookup {
    return this.#options.previous?.lookup(gtrid, epoch) ?? "unknowable";
  }

  unconcluded(): readonly Decision[] {
    const own = [...this.#decided].map(([gtrid, { participants }]) => ({ gtrid, participants }));
    return [...own, ...(this.#options.previous?.unconcluded() ?? [])];
  }

  unconcludedParticipants(gtrid: Gtrid): readonly Participant[] | null {
    const own = this.#decided.get(gtrid)?.participants;
    return own ?? this.#options.previous?.unconcludedParticipants(gtrid) ?? null;
  }

  conclude(gtrid: Gtrid): void {
    const { leases, previous } = this.#options;
    const own = this.#decided.get(gtrid);
    if (own === undefined) return previous?.conclude(gtrid);
    this.#decided.delete(gtrid);
    leases.conclude(own.anchor, gtrid);
  }

  async close(): Promise<void> {
    await this.#options.previous?.close();
  }

  // --- what the commit protocol does itself ---

  /** The commit stands on `anchor`: `participants`, the others, are to be told. */
  noteCommitted(gtrid: Gtrid, anchor: ShardId, participants: readonly Participant[]): void {
    this.#decided.set(gtrid, { anchor, participants });
  }

  /**
   * What was decided, when the anchor did not answer: its backend is ended if that can be done, and an abort is written
   * unless the commit is there. Tried again for `timeoutMs`; null if nothing can be learned by then.
   */
  askBack(gtrid: Gtrid, lost: LostAnchor, timeoutMs: number): Promise<Outcome | null> {
    return within(this.#options.clock, timeoutMs, this.#keepAsking(gtrid, lost, timeoutMs), null);
  }

  async #keepAsking(gtrid: Gtrid, lost: LostAnchor, timeoutMs: number): Promise<Outcome | null> {
    const { controls, clock } = this.#options;
    const control = controls.find(({ id }) => id === lost.shard);
    if (control === undefined) return null;
    const untilMs = clock.monotonicMs() + timeoutMs;
    while (clock.monotonicMs() < untilMs) {
      // Not needed to be right: without it the row may be waited for until the backend notices by itself.
      await control.fence(lost.pid, lost.backendStart).catch(() => {});
      const standing = await this.#settle(control, gtrid).catch(() => null);
      if (standing !== null) return standing === "fenced" ? null : standing;
      await new Promise<void>((resolve) => clock.after(ASK_AGAIN_MS, resolve));
    }
    return null;
  }

  /**
   * No row means that nothing was decided only while nobody else may have deleted it: others fence this epoch before
   * they do, which is looked at after the row.
   */
  async #settle(control: ShardControl, gtrid: Gtrid): Promise<Outcome | "fenced"> {
    const standing = await decideOn(control, gtrid, "abort", []);
    if (standing === "commit") return standing;
    const { fleet, coordinator, epoch } = parseGtrid(gtrid)!;
    const own = await control.ask(READ_OWNER, [fleet, coordinator, epoch]);
    return own.length > 0 ? "abort" : "fenced";
  }
}
