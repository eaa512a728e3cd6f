/**
 * The resolver finishes what a crash, a lost reply or a shard that was down left in doubt.
 *
 * It looks at every shard at start, every few seconds, and when it is woken; each shard on its own, so that one that is
 * down holds up nobody else. What it finds it decides by the recovery table. The sweep never ends: a PREPARE that was
 * on its way when its connection died may still arrive.
 *
 * Interrupted anywhere it starts again from what the shards and the log say; it keeps nothing that must survive.
 */
import { type BackendPid, type Gtrid, gidOf, type ShardId } from "../base/brands.ts";
import { detach } from "../base/detach.ts";
import type { Environment, Timer } from "../base/environment.ts";
import type { Log } from "../observe/log.ts";
import type { DecisionLog, Outcome, Participant } from "./decisionLog.ts";
import { epochPrefix, gidPrefix, gtrid, parseGid } from "./gid.ts";
import type { PreparedSlots } from "./preparedSlots.ts";
import { type Action, actionFor, EVIDENCE_TABLE, type Evidence, type Facts, type Owner } from "./recovery.ts";
import type { PreparedBranch, ShardControl } from "./shardControl.ts";
import type { AnchoredBranches } from "./shardLog/anchoredBranches.ts";
import { countSlots } from "./slotCount.ts";

export interface ResolverOptions {
  readonly fleet: string;
  readonly coordinator: string;
  readonly controls: readonly ShardControl[];
  readonly decisions: DecisionLog;
  /** Sees to the branches whose decision is on a shard. */
  readonly anchored?: AnchoredBranches;
  /** Is told what is gone, and whose slots there are. */
  readonly slots?: PreparedSlots;
  /** Whether this process is committing that transaction now. */
  isRunning(transaction: Gtrid): boolean;
  /** Told of what is left as it is on a shard, after each look at it: an operator may have said what is to become of it. */
  onLeft?(left: readonly InDoubt[]): void;
  readonly environment: Environment;
  readonly log: Log;
  readonly intervalMs: number;
  /** What other processes of this coordinator leave is not shown here: these are workers, and it is shown of all together. */
  readonly isWorker?: boolean;
}

/** A branch that is left as it is, and why. */
export interface InDoubt {
  readonly gid: string;
  readonly shard: ShardId;
  /** Wall time on the shard, in ms since 1970; null if it is not prepared there any more. */
  readonly preparedAtMs: number | null;
  readonly xminAge: number | null;
  readonly reason: string;
}

interface Fence {
  readonly pid: BackendPid;
  readonly backendStart: string;
}

/** One shard's part: what is waited for, and what is still to be done there. */
interface Watch {
  readonly control: ShardControl;
  readonly fences: Fence[];
  inDoubt: readonly InDoubt[];
  timer: Timer | null;
  /** When that is, by the monotonic clock. */
  dueMs: number;
  isSweeping: boolean;
  isWoken: boolean;
  failures: number;
}

/** What came of acting on one branch; `doubt` is why it is still there. */
interface Acted {
  readonly isFinished: boolean;
  readonly doubt: string | null;
}
const FINISHED: Acted = { isFinished: true, doubt: null };

interface Gathered {
  readonly isDone: boolean;
  readonly lost: readonly InDoubt[];
}

const RETRY_MS_MIN = 50;
/** Rows stay locked while a branch is in doubt: a shard that is back is noticed within this, however long it was gone. */
const RETRY_MS_MAX = 500;
const FIRST_SWEEP_TIMEOUT_MS = 2_000;
/** What another coordinator has left for longer is shown: it may be gone. */
const ELSEWHERE_MS = 10_000;

export class Resolver {
  readonly #options: ResolverOptions;
  readonly #watches: readonly Watch[];
  /** Which participants of a decided commit are known to have applied it. */
  readonly #applied = new Map<Gtrid, Set<ShardId>>();
  readonly #reported = new Set<string>();
  #isStopped = false;
  resolved = 0;

  constructor(options: ResolverOptions) {
    this.#options = options;
    this.#watches = options.controls.map((control) => ({
      control,
      fences: [],
      inDoubt: [],
      timer: null,
      dueMs: 0,
      isSweeping: false,
      isWoken: false,
      failures: 0,
    }));
  }

  /** Begins to watch. Resolves when every shard has been looked at once, or could not be for two seconds. */
  async start(): Promise<void> {
    const { clock } = this.#options.environment;
    let timer: Timer | null = null;
    const enough = new Promise<void>((resolve) => {
      timer = clock.after(FIRST_SWEEP_TIMEOUT_MS, resolve);
    });
    const sweeps = Promise.all(this.#watches.map((watch) => this.#sweep(watch)));
    await Promise.race([sweeps, enough]);
    (timer as Timer | null)?.cancel();
  }

  stop(): void {
    this.#isStopped = true;
    for (const watch of this.#watches) watch.timer?.cancel();
  }

  /** Looks at `shard` at once: something of this process was left there. */
  wake(shard: ShardId): void {
    const watch = this.#watches.find(({ control }) => control.id === shard);
    if (watch === undefined || this.#isStopped) return;
    watch.isWoken = true;
    if (!watch.isSweeping) detach(this.#sweep(watch), "the resolver's own work");
  }

  /** Sees to it that a backend which may still be preparing is gone, then looks at the shard. */
  fence(shard: ShardId, pid: BackendPid, backendStart: string): void {
    this.#watches.find(({ control }) => control.id === shard)?.fences.push({ pid, backendStart });
    this.wake(shard);
  }

  /** Looks at every shard at once: somebody else of the fleet is gone. */
  wakeAll(): void {
    for (const { control } of this.#watches) this.wake(control.id);
  }

  /** Notes that `shard` has applied its part of a decided commit. */
  noteApplied(transaction: Gtrid, shard: ShardId): void {
    const participants = this.#options.decisions.unconcludedParticipants(transaction);
    if (participants === null) return;
    const isOnly = participants.length === 1 && participants[0]!.shard === shard;
    if (!isOnly) {
      let applied = this.#applied.get(transaction);
      if (applied === undefined) this.#applied.set(transaction, (applied = new Set()));
      applied.add(shard);
      for (const participant of participants) if (!applied.has(participant.shard)) return;
      this.#applied.delete(transaction);
    }
    this.#options.decisions.conclude(transaction);
  }

  /** Notes what was done to a branch whose decision is on a shard. */
  noteAnchored(transaction: Gtrid, shard: ShardId, outcome: Outcome): void {
    this.resolved += 1;
    this.#options.slots?.noteGone(shard, transaction);
    if (outcome === "commit") this.noteApplied(transaction, shard);
  }

  /** What is left as it is, over all shards that could be asked. */
  get inDoubt(): readonly InDoubt[] {
    return this.#watches.flatMap((watch) => watch.inDoubt);
  }

  /** In how many ms `shard` is looked at again; 0 while that is done. */
  nextLookMs(shard: ShardId): number {
    const watch = this.#watches.find(({ control }) => control.id === shard);
    if (watch === undefined || watch.isSweeping) return 0;
    return Math.max(0, watch.dueMs - this.#options.environment.clock.monotonicMs());
  }

  // --- the sweep of one shard ---

  async #sweep(watch: Watch): Promise<void> {
    watch.timer?.cancel();
    watch.isSweeping = true;
    watch.isWoken = false;
    let isDone = false;
    try {
      isDone = await this.#look(watch);
      watch.failures = isDone ? 0 : watch.failures + 1;
    } catch (error) {
      this.#noteFailure(watch, error);
      watch.failures += 1;
    }
    watch.isSweeping = false;
    if (!this.#isStopped) this.#schedule(watch);
  }

  /** Said once, not at each attempt. */
  #noteFailure(watch: Watch, error: unknown): void {
    if (watch.failures > 0 || this.#isStopped) return;
    const reason = error instanceof Error ? error.message : String(error);
    this.#options.log.warn("resolver.failed", { shard: watch.control.id, reason });
  }

  /** Backs off with full jitter while there is something that could not be done. */
  #schedule(watch: Watch): void {
    const { environment, intervalMs } = this.#options;
    const limit = Math.min(intervalMs, RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(watch.failures, 20));
    const backoffMs = RETRY_MS_MIN / 2 + environment.random.fraction() * limit;
    const delayMs = watch.isWoken ? 0 : watch.failures === 0 ? intervalMs : backoffMs;
    watch.dueMs = environment.clock.monotonicMs() + delayMs;
    watch.timer = environment.clock.after(delayMs, () =>
      detach(this.#sweep(watch), "the resolver's own work"),
    );
  }

  /** Whether all that can be done was done. */
  async #look(watch: Watch): Promise<boolean> {
    const { control } = watch;
    // Before the fences: whoever is in doubt by now has its fence among them, if it needs one.
    const leftBehind = this.#options.slots?.leftOn(control.id) ?? [];
    let isDone = await this.#fenceAll(watch);
    // Before anything is looked at: who is gone by now decides nothing any more.
    await this.#options.decisions.survey();
    const prefix = gidPrefix(this.#options.fleet);
    const first = await control.prepared(prefix);
    if (isDone && leftBehind.length > 0) this.#noteGone(control.id, leftBehind, first);
    const facts = first.map((branch) => this.#factsOf(branch));
    const left = this.#options.anchored?.left(first) ?? [];
    const second = first.length === 0 ? [] : await control.prepared(prefix);
    const stillThere = new Set(second.map(({ gid }) => gid));
    const inDoubt: InDoubt[] = [];
    for (const [i, branch] of first.entries()) {
      const seen: Facts = { ...facts[i]!, sighting: stillThere.has(branch.gid) ? "twice" : "once" };
      const { isFinished, doubt } = await this.#act(actionFor(seen), branch, control);
      isDone &&= isFinished;
      const reason = doubt ?? this.#elsewhere(seen, branch);
      if (reason !== null) inDoubt.push({ ...branch, shard: control.id, reason });
    }
    const anchored = await this.#options.anchored?.look(
      control,
      left.filter(({ gid }) => stillThere.has(gid)),
    );
    const evidence = await this.#gatherEvidence(control, stillThere);
    watch.inDoubt = [...inDoubt, ...(anchored?.inDoubt ?? []), ...evidence.lost];
    if (watch.inDoubt.length > 0) this.#options.onLeft?.(watch.inDoubt);
    await this.#countSlots(control);
    return evidence.isDone && isDone && (anchored?.isDone ?? true);
  }

  /** Of `left` what is not among `prepared` is gone: its backend has ended, or was never asked to prepare again. */
  #noteGone(shard: ShardId, left: readonly Gtrid[], prepared: readonly PreparedBranch[]): void {
    const still = new Set<Gtrid>();
    for (const { gid } of prepared) {
      const parts = parseGid(gid);
      if (parts !== null && parts.shard === shard) still.add(gtrid(parts));
    }
    for (const transaction of left)
      if (!still.has(transaction)) this.#options.slots?.noteGone(shard, transaction);
  }

  async #countSlots(control: ShardControl): Promise<void> {
    const { slots, decisions, ...names } = this.#options;
    if (slots !== undefined)
      await countSlots(control, slots, epochPrefix({ ...names, epoch: decisions.epoch }));
  }

  /**
   * Whether every backend that may still be preparing is gone. One that is not holds up nothing: what it prepares after
   * this sweep a later one finds.
   */
  async #fenceAll(watch: Watch): Promise<boolean> {
    const { control } = watch;
    let isDone = true;
    for (const fence of [...watch.fences]) {
      try {
        await control.fence(fence.pid, fence.backendStart);
        watch.fences.splice(watch.fences.indexOf(fence), 1);
        this.#options.log.info("branch.fenced", { shard: control.id, pid: fence.pid });
      } catch (error) {
        isDone = false;
        this.#noteFailure(watch, error);
      }
    }
    return isDone;
  }

  #factsOf({ gid }: PreparedBranch): Omit<Facts, "sighting"> {
    const parts = parseGid(gid);
    const { fleet, coordinator, decisions, isRunning } = this.#options;
    if (parts === null || parts.fleet !== fleet || parts.anchor !== null)
      return { owner: "foreign", activity: "idle", verdict: "unknowable" };
    // Another epoch may be that of a process which lives: the one before or after this in an online restart, or one
    // that was started under this name by mistake. Its log knows about it, ours cannot.
    const isOurs = parts.coordinator === coordinator && decisions.answersFor(parts.epoch);
    const owner: Owner = isOurs ? "ours" : "fleet";
    const transaction = gtrid(parts);
    // Running is asked before the decision: a commit that ends in between is found decided, not absent.
    const activity = isRunning(transaction) ? "running" : "idle";
    return { owner, activity, verdict: decisions.lookup(transaction, parts.epoch) };
  }

  /** Why a branch of others is still there; null while they may be at work on it. */
  #elsewhere({ owner, sighting }: Facts, { gid, ageMs }: PreparedBranch): string | null {
    if (owner !== "fleet" || sighting === "once" || ageMs < ELSEWHERE_MS) return null;
    const { coordinator, epoch } = parseGid(gid)!;
    if (coordinator !== this.#options.coordinator)
      return `it belongs to coordinator "${coordinator}", in whose decision log its outcome is`;
    const { decisions, isWorker = false } = this.#options;
    const isShown = isWorker && (decisions.leavesToOthers?.(epoch) ?? false);
    return isShown ? null : "another process of this coordinator answers for it";
  }

  async #act(action: Action, branch: PreparedBranch, control: ShardControl): Promise<Acted> {
    switch (action) {
      case "leave":
        return FINISHED;
      case "report":
        this.#report(branch, control);
        return { isFinished: true, doubt: "the decision log cannot say what was decided" };
      case "commitPrepared":
        return this.#finish("COMMIT", branch, control);
      case "rollbackPrepared":
        return this.#finish("ROLLBACK", branch, control);
    }
  }

  async #finish(verb: "COMMIT" | "ROLLBACK", { gid }: PreparedBranch, control: ShardControl): Promise<Acted> {
    const transaction = gtrid(parseGid(gid)!);
    if (verb === "ROLLBACK") {
      // First writer wins: whatever still ran under this name could not commit any more.
      const standing = await this.#options.decisions.decide(transaction, "abort", []);
      if (standing === "commit") return { isFinished: false, doubt: "it has been committed meanwhile" };
    }
    const finish = await control.finish(verb, gid);
    switch (finish.kind) {
      case "busy":
        return { isFinished: false, doubt: "somebody else is finishing it" };
      case "missing":
        return { isFinished: false, doubt: null };
      case "refused":
        return { isFinished: false, doubt: `${verb} PREPARED was refused: ${finish.reason}` };
      case "done":
        this.resolved += 1;
        this.#options.slots?.noteGone(control.id, transaction);
        this.#options.log.info("resolver.resolved", { shard: control.id, gid, outcome: verb.toLowerCase() });
        if (verb === "COMMIT") this.noteApplied(transaction, control.id);
        return FINISHED;
    }
  }

  /** Branches of decided commits that are not prepared here: applied, or lost? */
  async #gatherEvidence(control: ShardControl, prepared: ReadonlySet<string>): Promise<Gathered> {
    let isDone = true;
    const lost: InDoubt[] = [];
    for (const { gtrid: transaction, participants } of this.#options.decisions.unconcluded()) {
      const participant = participants.find(({ shard }) => shard === control.id);
      if (participant === undefined || this.#isSettled(transaction, participant, prepared)) continue;
      const evidence = await control.evidence(participant);
      const settlement = EVIDENCE_TABLE[evidence];
      if (settlement === "done") this.noteApplied(transaction, control.id);
      else if (settlement === "wait") isDone = false;
      else lost.push(this.#reportLoss(participant, evidence));
    }
    return { isDone, lost };
  }

  #isSettled(transaction: Gtrid, { gid, shard }: Participant, prepared: ReadonlySet<string>): boolean {
    if (prepared.has(gid) || this.#options.isRunning(transaction)) return true;
    return this.#applied.get(transaction)?.has(shard) ?? false;
  }

  #report({ gid }: PreparedBranch, control: ShardControl): void {
    if (this.#reported.has(gid)) return;
    this.#reported.add(gid);
    const reason = "its decision may have been lost with an older or damaged decision log";
    this.#options.log.error("resolver.in_doubt", { shard: control.id, gid: gidOf(gid), reason });
  }

  /** Atomicity may be broken: said loudly, once, and never counted as done. */
  #reportLoss({ gid, shard }: Participant, evidence: Evidence): InDoubt {
    if (!this.#reported.has(gid)) this.#options.log.error("resolver.evidence_lost", { shard, gid, evidence });
    this.#reported.add(gid);
    return {
      gid,
      shard,
      preparedAtMs: null,
      xminAge: null,
      reason: `decided commit is not proven to be applied: ${evidence}`,
    };
  }
}
