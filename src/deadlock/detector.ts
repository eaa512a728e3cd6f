/**
 * Finds deadlocks that no shard can see, proves them, and breaks each at its cheapest place.
 *
 * A look: ask the shards on which something watched runs who waits there, put that together with what waits for pools,
 * reduce. If something is stuck, look again; only what has stood still between the two looks, wait for wait, is a
 * deadlock, for waits for locks end in nothing but their being granted, cancelled, or timed out. Then the victim's
 * statement is cancelled, by a shard that checks once more that it is the same wait.
 *
 * A circle within one shard is left to that shard's own detector: two judges could choose two victims.
 */

import type { ShardId } from "../base/brands.ts";
import { detach } from "../base/detach.ts";
import type { Clock } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import type { DeadlockConfig } from "../config/config.ts";
import type { Log } from "../observe/log.ts";
import type { Metrics } from "../observe/metrics.ts";
import { type DeadlockCause, DeadlockHistory } from "./history.ts";
import type { LockWait } from "./lockWait.ts";
import type { LeaseQueue, Participant } from "./participant.ts";
import { circleRows, DEADLOCK_HINT, describeCircle, type WaitRow, waitRows } from "./report.ts";
import { type Node, nodeKey, type PoolWait, type Snapshot, takeSnapshot } from "./snapshot.ts";
import { type Candidate, chooseVictim } from "./victim.ts";
import { type Deadlock, findDeadlocks, findStuck, isOfUse, type NodeId } from "./waitForGraph.ts";
import { WaitWatch } from "./waitWatch.ts";

/** What the detector needs of a shard; rejects when that cannot be asked. */
export interface ShardProbe {
  /** `exactly`: processes of which it must be exact who blocks them. */
  waits(exactly?: readonly number[]): Promise<readonly LockWait[]>;
  cancel(wait: LockWait): Promise<boolean>;
}

export interface DetectorOptions {
  readonly config: DeadlockConfig;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly shards: readonly ShardId[];
  readonly probes: readonly ShardProbe[];
  readonly queue: LeaseQueue;
  /** Every client that may hold something. */
  participants(): Iterable<Participant>;
  /** A prepared transaction on `shard` keeps others waiting. */
  onInDoubt(shard: ShardId): void;
}

/** Processes of each shard. */
type Exactly = ReadonlyMap<number, readonly number[]>;

/** How many clients' last defeat is remembered. */
const VICTIMS_MAX = 10_000;
/** How long a victim may take over giving way before its deadlock counts as one again, in ms. */
const GIVING_WAY_MAX_MS = 1_000;

export class DeadlockDetector {
  readonly history = new DeadlockHistory();
  readonly watch: WaitWatch;
  readonly #options: DetectorOptions;
  /** Clients whose last transaction was a victim. */
  readonly #victims = new Set<number>();
  /** Those who were told to give way and still wait: as of which of their moves, and since when. */
  readonly #giving = new Map<Participant, { readonly moves: number; readonly sinceMs: number }>();
  /** Shards that did not answer the last question. */
  readonly #silent = new Set<number>();
  /** Those who wait for a deadlock of which nobody may be chosen. */
  #unbreakable: ReadonlySet<Participant> = new Set();

  constructor(options: DetectorOptions) {
    this.#options = options;
    this.watch = new WaitWatch(options.clock, options.config.probeAfterMs, () => this.#look());
  }

  /** Every wait there is now, on every shard that can be asked. */
  async waits(): Promise<readonly WaitRow[]> {
    const all = this.#options.shards.map((_, shard) => shard);
    return waitRows(await this.#snapshot(new Set(all), new Map(), true), this.#options.shards);
  }

  /** `client` has committed, so that it may be a victim again. */
  noteCommitted(client: number): void {
    this.#victims.delete(client);
  }

  close(): void {
    this.watch.close();
  }

  // --- looking ---

  async #look(): Promise<void> {
    this.#forgetGone();
    const first = await this.#firstLook();
    if (findStuck(first.graph).size > 0) await this.#confirm(first);
    else this.#unbreakable = new Set();
    this.#endBlindWaits();
  }

  /** What is only worked out, where it looks like a deadlock, is asked for exactly. */
  async #firstLook(): Promise<Snapshot> {
    const look = await this.#snapshot(this.#shardsToAsk());
    const exactly = inexactMembers(look);
    return exactly.size === 0 ? look : this.#snapshot(this.#shardsToAsk(), exactly);
  }

  /** Where something watched runs, or waits for a connection: those who hold them may wait for locks there. */
  #shardsToAsk(): ReadonlySet<number> {
    const watched = new Set([...this.watch.waits()].map(([participant]) => participant));
    const shards = new Set([...watched].flatMap(({ runningOn }) => runningOn));
    for (const { owner, pool } of this.#options.queue.waits())
      if (watched.has(owner as Participant)) shards.add(pool);
    return shards;
  }

  async #snapshot(shards: ReadonlySet<number>, exactly: Exactly = new Map(), all = false): Promise<Snapshot> {
    const { probes, participants } = this.#options;
    const locks = await Promise.all(
      probes.map((probe, shard) => (shards.has(shard) ? this.#ask(probe, shard, exactly.get(shard)) : null)),
    );
    for (const [shard, waits] of locks.entries()) {
      if (waits?.some(({ blockers }) => blockers.includes(0)))
        this.#options.onInDoubt(this.#options.shards[shard]!);
    }
    const { nodes, graph } = takeSnapshot({
      participants: participants(),
      locks,
      pools: this.#poolWaits(all),
    });
    // Whoever gives way goes by itself; another victim for the same deadlock would be one too many.
    return { nodes, graph: new Map([...graph].filter(([id]) => !this.#givesWay(nodes.get(id)!))) };
  }

  #givesWay({ participant, moves }: Node): boolean {
    return participant !== null && this.#giving.get(participant)?.moves === moves;
  }

  #forgetGone(): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const [participant, { moves, sinceMs }] of this.#giving) {
      if (participant.moves !== moves || nowMs - sinceMs > GIVING_WAY_MAX_MS)
        this.#giving.delete(participant);
    }
  }

  async #ask(
    probe: ShardProbe,
    shard: number,
    exactly: readonly number[] = [],
  ): Promise<readonly LockWait[] | null> {
    const { metrics, log, shards } = this.#options;
    metrics.deadlockProbes.inc();
    try {
      const waits = await probe.waits(exactly);
      this.#silent.delete(shard);
      return waits;
    } catch (error) {
      if (!this.#silent.has(shard)) {
        this.#silent.add(shard);
        log.warn("deadlock.probe_failed", { shard: shards[shard], reason: (error as Error).message });
      }
      return null;
    }
  }

  #poolWaits(all: boolean): ReadonlyMap<Participant, PoolWait> {
    const { queue, clock } = this.#options;
    const waits = new Map<Participant, PoolWait>();
    for (const { owner, pool, sinceMs } of queue.waits(all)) {
      const holders = [...queue.holders(pool)].filter((holder) => holder !== owner) as Participant[];
      waits.set(owner as Participant, { pool, waitedMs: clock.monotonicMs() - sinceMs, holders });
    }
    return waits;
  }

  // --- proving ---

  async #confirm(first: Snapshot): Promise<void> {
    const second = await this.#snapshot(this.#shardsToAsk(), exactMembers(first));
    // Whoever did not stand still may go: what is stuck without them is a deadlock in any case.
    const proven = new Map(
      [...second.graph].filter(([id]) => hasStood(first.nodes.get(id), second.nodes.get(id)!)),
    );
    const left = new Map(proven);
    const choose = (members: ReadonlySet<NodeId>): NodeId | null =>
      isWithinShard(members, second) ? null : this.#choose(members, second);
    for (const deadlock of findDeadlocks(proven, choose)) {
      if (deadlock.victim !== null) this.#break(deadlock, second);
      if (deadlock.victim !== null) left.delete(deadlock.victim);
      else if (isWithinShard(deadlock.members, second)) for (const id of deadlock.members) left.delete(id);
    }
    const unbreakable = [...findStuck(left)].map((id) => second.nodes.get(id)!.participant);
    this.#unbreakable = new Set(unbreakable.filter((participant) => participant !== null));
  }

  #choose(members: ReadonlySet<NodeId>, { nodes, graph }: Snapshot): NodeId | null {
    const candidates = [...members].flatMap((node): readonly Candidate[] => {
      const participant = nodes.get(node)?.participant ?? null;
      if (participant === null || participant.isProtected) return [];
      const { priority, writes, startedAtMs, client } = participant;
      return [{ node, priority, writes, startedAtMs, wasVictim: this.#victims.has(client) }];
    });
    const useful = candidates.filter(({ node }) => isOfUse(node, members, graph));
    return chooseVictim(this.#options.config.victim, useful.length > 0 ? useful : candidates);
  }

  // --- breaking ---

  #break(deadlock: Deadlock, snapshot: Snapshot): void {
    const { shards, log, metrics, clock } = this.#options;
    const node = snapshot.nodes.get(deadlock.victim!)!;
    const participant = node.participant!;
    const circle = circleRows(deadlock.circle, snapshot, shards);
    const fault = new Fault("deadlock.victim", { detail: describeCircle(circle), hint: DEADLOCK_HINT });
    if (!participant.doom(fault, node.moves)) return;
    this.#giving.set(participant, { moves: node.moves, sinceMs: clock.monotonicMs() });
    this.#noteVictim(participant.client);
    const cause: DeadlockCause = circle.some(({ pid }) => pid === null) ? "pool" : "lock";
    const detectionMs = Math.round(
      Math.min(...(cause === "pool" ? waitsOf(deadlock, snapshot) : circle).map(({ waitedMs }) => waitedMs)),
    );
    const size = circle.length;
    this.history.add({ atMs: clock.wallMs(), cause, size, detectionMs, victim: participant.client, circle });
    metrics.deadlocks.inc({ size: String(size), cause });
    metrics.deadlockDetection.observe(detectionMs / 1_000);
    log.warn("deadlock.broken", {
      size,
      cause,
      detectionMs,
      client: participant.client,
      gtrid: participant.gtrid,
    });
    detach(this.#cancel(node, participant, fault), "the client waits for it");
  }

  async #cancel(node: Node, participant: Participant, fault: Fault): Promise<void> {
    const { probes, queue } = this.#options;
    if (node.waits.pool !== null) queue.refuse(participant, fault);
    const cancels = node.waits.locks.map(({ shard, wait }) => probes[shard]!.cancel(wait).catch(() => false));
    const isCancelled = (await Promise.all(cancels)).includes(true);
    if (!isCancelled && node.waits.pool === null) this.#giving.delete(participant); // it has gone, or is to be tried again
    participant.settleDoom();
  }

  #noteVictim(client: number): void {
    this.#victims.delete(client);
    this.#victims.add(client);
    if (this.#victims.size <= VICTIMS_MAX) return;
    for (const oldest of this.#victims) {
      this.#victims.delete(oldest);
      return;
    }
  }

  /** Where nobody can look, or nobody may be chosen, the waiting ends by time. */
  #endBlindWaits(): void {
    for (const [participant, waitedMs] of this.watch.waits()) {
      const { lockTimeoutMs, runningOn, moves, isProtected } = participant;
      if (lockTimeoutMs === 0 || waitedMs < lockTimeoutMs || isProtected) continue;
      const blind = runningOn
        .filter((shard) => this.#silent.has(shard))
        .map((shard) => this.#options.shards[shard]);
      if (blind.length === 0 && !this.#unbreakable.has(participant)) continue;
      const detail =
        blind.length === 0
          ? "It waits for a deadlock of which no transaction may be cancelled."
          : `Shard "${blind.join(", ")}" cannot be asked what it waits for.`;
      const fault = new Fault("deadlock.lock_timeout", { detail });
      if (!participant.doom(fault, moves)) continue;
      this.#options.log.warn("deadlock.lock_timeout", {
        client: participant.client,
        gtrid: participant.gtrid,
      });
      participant.cancelRunning();
    }
  }
}

/** The processes, by shard, of those who are deadlocked as far as one can see, and whose blockers are worked out only. */
const inexactMembers = (look: Snapshot): Exactly => membersWaiting(look, (wait) => !wait.isExact);

/** The processes, by shard, of those who are deadlocked: for the same question once more. */
const exactMembers = (look: Snapshot): Exactly => membersWaiting(look, () => true);

function membersWaiting({ graph, nodes }: Snapshot, includes: (wait: LockWait) => boolean): Exactly {
  const members = findDeadlocks(graph, () => null).flatMap((deadlock) => [...deadlock.members]);
  const found = new Map<number, number[]>();
  for (const { shard, wait } of members.flatMap((id) => nodes.get(id)!.waits.locks)) {
    if (!includes(wait)) continue;
    const known = found.get(shard);
    if (known === undefined) found.set(shard, [wait.waiterPid]);
    else known.push(wait.waiterPid);
  }
  return found;
}

/** All of its waits. One for a connection is for any, so the last that closed it need not be in the circle that is shown. */
const waitsOf = ({ members }: Deadlock, { nodes }: Snapshot): readonly { readonly waitedMs: number }[] =>
  [...members].flatMap((id) => {
    const { locks, pool } = nodes.get(id)!.waits;
    return [...locks.map(({ wait }) => wait), ...(pool === null ? [] : [pool])];
  });

/** Whether all that is waited for is locks of one shard: its own detector sees the circle. */
function isWithinShard(members: ReadonlySet<NodeId>, { nodes }: Snapshot): boolean {
  const waits = [...members].map((id) => nodes.get(id)!.waits);
  if (waits.some(({ pool }) => pool !== null)) return false;
  return new Set(waits.flatMap(({ locks }) => locks.map(({ shard }) => shard))).size === 1;
}

/** Whether it waits for the same as `before`, by the shards' own word, and did all the time between. */
function hasStood(before: Node | undefined, after: Node): boolean {
  if (before === undefined || !after.waits.locks.every(({ wait }) => wait.isExact)) return false;
  const key = nodeKey(after);
  return key !== null && key === nodeKey(before);
}
