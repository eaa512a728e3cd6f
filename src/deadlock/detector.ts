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
import { Fault } from "../base/fault.ts";
import type { DeadlockConfig } from "../config/config.ts";
import { Defeats, type DefeatsOptions, type ShardProbe } from "./defeats.ts";
import type { DeadlockCause, DeadlockHistory } from "./history.ts";
import type { LockWait } from "./lockWait.ts";
import type { Participant, ParticipantState } from "./participant.ts";
import type { PeerShares, Peers, SharedClient, SnapshotShare, Verdict } from "./peers.ts";
import { poolPart, poolWaitsOf, untaken } from "./poolWaits.ts";
import { circleRows, type WaitRow, waitRows } from "./report.ts";
import {
  isClient,
  type Node,
  nodeKey,
  type PoolWait,
  type Snapshot,
  takeSnapshot,
  withoutStrangers,
} from "./snapshot.ts";
import { type Candidate, chooseVictim } from "./victim.ts";
import { type Deadlock, findDeadlocks, findStuck, isOfUse, type NodeId } from "./waitForGraph.ts";
import { WaitWatch } from "./waitWatch.ts";

export interface DetectorOptions extends DefeatsOptions {
  readonly config: DeadlockConfig;
  /** Every client that may hold something. */
  participants(): Iterable<Participant>;
  /** A prepared transaction on `shard` keeps others waiting. */
  onInDoubt(shard: ShardId): void;
  /** Null in a process that is alone. */
  readonly peers: Peers | null;
}

/** Processes of each shard. */
type Exactly = ReadonlyMap<number, readonly number[]>;

/** What a look covers. */
interface Scope {
  /** Processes of which it must be exact who blocks them. */
  readonly exactly?: Exactly;
  /** The other workers too. */
  readonly isFleetWide?: boolean;
  /** Every shard, and those who hold nothing. */
  readonly isForShow?: boolean;
}

interface Look extends Snapshot {
  readonly others: PeerShares;
}

const NOBODY_ELSE: PeerShares = { shares: [], isWhole: true };

export class DeadlockDetector {
  readonly watch: WaitWatch;
  readonly #options: DetectorOptions;
  readonly #defeats: Defeats;
  /** Between this process's time and the time since 1970, in ms; the same as long as it runs. */
  readonly #originMs: number;
  /** Shards that did not answer the last question. */
  readonly #silent = new Set<number>();
  /** Those who wait for a deadlock of which nobody may be chosen. */
  #unbreakable: ReadonlySet<ParticipantState> = new Set();
  /** Those who may wait for clients of a worker that did not answer. */
  #unseen: ReadonlySet<ParticipantState> = new Set();

  constructor(options: DetectorOptions) {
    this.#options = options;
    this.#defeats = new Defeats(options);
    this.#originMs = options.clock.wallMs() - options.clock.monotonicMs();
    this.watch = new WaitWatch(options.clock, options.config.probeAfterMs, () => this.#look());
  }

  /** The deadlocks whose victims are clients of this process. */
  get history(): DeadlockHistory {
    return this.#defeats.history;
  }

  /** Every wait there is now, on every shard that can be asked and in every worker. */
  async waits(): Promise<readonly WaitRow[]> {
    const look = await this.#snapshot({ isFleetWide: true, isForShow: true });
    return waitRows(look, this.#options.shards);
  }

  /** `client` has committed, so that it may be a victim again. */
  noteCommitted(client: number): void {
    this.#defeats.forget(client);
  }

  close(): void {
    this.watch.close();
  }

  // --- for another worker ---

  /** What another has to know of the clients here. `all`: with those who wait and hold nothing. */
  share(all: boolean): SnapshotShare {
    const { waits, holders, taken } = this.#poolPart(all);
    const involved = new Set([...waits.map(({ owner }) => owner), ...holders.flat()]);
    for (const participant of this.#options.participants()) {
      if (participant.isProtected || participant.backends.length > 0) involved.add(participant);
    }
    return {
      clients: [...involved].map((participant) => this.#shared(participant)),
      poolWaits: waits.map(({ owner: { client }, ...wait }) => ({ client, ...wait })),
      holders: holders.map((clients) => clients.map(({ client }) => client)),
      taken,
      watchedOn: [...this.#shardsToAsk(NOBODY_ELSE)],
    };
  }

  /** A client here is another worker's victim. */
  execute(verdict: Verdict): void {
    for (const participant of this.#options.participants())
      if (participant.client === verdict.client) return this.#defeats.execute(verdict, participant);
  }

  #shared(participant: Participant): SharedClient {
    const { client, moves, gtrid, writes, priority, isProtected, backends } = participant;
    return {
      client,
      moves,
      gtrid,
      writes,
      priority,
      isProtected,
      backends,
      startedAtMs: participant.startedAtMs + this.#originMs,
      wasVictim: this.#defeats.wasVictim(client),
      givesWay: this.#defeats.givesWay(client, moves),
    };
  }

  // --- looking ---

  async #look(): Promise<void> {
    const first = await this.#firstLook();
    this.#unseen = new Set(first.others.isWhole ? [] : clientsOf(findStuck(withoutStrangers(first)), first));
    const isStuck = [...findStuck(first.graph)].some(isClient);
    if (!isStuck) this.#unbreakable = new Set();
    else if (this.#options.peers === null) await this.#confirm(first);
    else await this.#options.peers.inTurn(() => this.#confirm(first));
    this.#endBlindWaits();
  }

  /**
   * The other workers are asked only where somebody waits who may wait for their clients; and what is only worked out,
   * where it looks like a deadlock, is asked for exactly.
   */
  async #firstLook(): Promise<Look> {
    let look = await this.#snapshot({});
    if (this.#options.peers !== null && [...findStuck(withoutStrangers(look))].some(isClient))
      look = await this.#snapshot({ isFleetWide: true });
    const exactly = inexactMembers(look);
    return exactly.size === 0 ? look : this.#snapshot({ exactly, isFleetWide: true });
  }

  /** Where something watched runs, or waits for a connection: those who hold them may wait for locks there. */
  #shardsToAsk({ shares }: PeerShares): ReadonlySet<number> {
    const watched = new Set([...this.watch.waits()].map(([participant]) => participant));
    const shards = new Set([...watched].flatMap(({ runningOn }) => runningOn));
    for (const { owner, pool } of this.#options.queue.waits())
      if (watched.has(owner as Participant)) shards.add(pool);
    for (const { watchedOn } of shares) for (const shard of watchedOn) shards.add(shard);
    return shards;
  }

  async #snapshot({ exactly, isFleetWide = false, isForShow = false }: Scope): Promise<Look> {
    const { probes, participants, peers } = this.#options;
    const others = isFleetWide && peers !== null ? await peers.shares(isForShow) : NOBODY_ELSE;
    const shards = this.#shardsToAsk(others);
    const locks = await Promise.all(
      probes.map((probe, shard) =>
        isForShow || shards.has(shard) ? this.#ask(probe, shard, exactly?.get(shard)) : null,
      ),
    );
    for (const [shard, waits] of locks.entries()) {
      if (waits?.some(({ blockers }) => blockers.includes(0)))
        this.#options.onInDoubt(this.#options.shards[shard]!);
    }
    const { nodes, graph } = takeSnapshot({
      participants: [...others.shares.flatMap(({ clients }) => clients), ...participants()],
      locks,
      pools: this.#poolWaits(others, isForShow),
    });
    // Whoever gives way goes by itself; another victim for the same deadlock would be one too many.
    return { nodes, graph: new Map([...graph].filter(([id]) => !this.#givesWay(nodes.get(id)!))), others };
  }

  #givesWay({ participant, moves }: Node): boolean {
    if (participant === null) return false;
    if (!isOwn(participant)) return (participant as SharedClient).givesWay;
    return this.#defeats.givesWay(participant.client, moves);
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

  /** With a worker of which nothing is known connections may come from there. */
  #poolWaits(others: PeerShares, isForShow: boolean): ReadonlyMap<ParticipantState, PoolWait> {
    const { peers } = this.#options;
    const parts = [this.#poolPart(isForShow), ...others.shares.map(poolPart)];
    const isShort = others === NOBODY_ELSE || (others.isWhole && untaken(parts, peers!.pool.max) <= 0);
    return isShort || isForShow ? poolWaitsOf(parts) : new Map();
  }

  #poolPart(all: boolean) {
    const { queue, clock, shards, peers } = this.#options;
    const nowMs = clock.monotonicMs();
    return {
      waits: [...queue.waits(all)].map(({ owner, pool, sinceMs }) => {
        return { owner: owner as Participant, pool, waitedMs: nowMs - sinceMs };
      }),
      holders: shards.map((_, pool) => [...queue.holders(pool)] as Participant[]),
      taken: Math.max(queue.taken, peers?.pool.least ?? 0),
    };
  }

  // --- proving ---

  async #confirm(first: Look): Promise<void> {
    const second = await this.#snapshot({ exactly: exactMembers(first), isFleetWide: true });
    // Whoever did not stand still may go: what is stuck without them is a deadlock in any case.
    const proven = new Map(
      [...second.graph].filter(([id]) => hasStood(first.nodes.get(id), second.nodes.get(id)!)),
    );
    const left = new Map(proven);
    const told: (Promise<void> | null)[] = [];
    const choose = (members: ReadonlySet<NodeId>): NodeId | null =>
      isWithinShard(members, second) ? null : this.#choose(members, second);
    for (const deadlock of findDeadlocks(proven, choose)) {
      if (deadlock.victim !== null) told.push(this.#break(deadlock, second));
      if (deadlock.victim !== null) left.delete(deadlock.victim);
      else if (isWithinShard(deadlock.members, second)) for (const id of deadlock.members) left.delete(id);
    }
    this.#unbreakable = new Set(clientsOf(findStuck(left), second));
    await Promise.all(told);
  }

  #choose(members: ReadonlySet<NodeId>, { nodes, graph }: Snapshot): NodeId | null {
    const candidates = [...members].flatMap((node): readonly Candidate[] => {
      const participant = nodes.get(node)?.participant ?? null;
      if (participant === null || participant.isProtected) return [];
      const state = isOwn(participant) ? this.#shared(participant) : (participant as SharedClient);
      const { priority, writes, startedAtMs, wasVictim } = state;
      return [{ node, priority, writes, startedAtMs, wasVictim }];
    });
    const useful = candidates.filter(({ node }) => isOfUse(node, members, graph));
    return chooseVictim(this.#options.config.victim, useful.length > 0 ? useful : candidates);
  }

  // --- breaking ---

  /** Null: it has been done. */
  #break(deadlock: Deadlock, look: Look): Promise<void> | null {
    const { moves, waits, participant } = look.nodes.get(deadlock.victim!)!;
    const { client } = participant!;
    const circle = circleRows(deadlock.circle, look, this.#options.shards);
    const cause: DeadlockCause = circle.some(({ pid }) => pid === null) ? "pool" : "lock";
    const detectionMs = Math.round(
      Math.min(...(cause === "pool" ? waitsOf(deadlock, look) : circle).map(({ waitedMs }) => waitedMs)),
    );
    const isPoolWait = waits.pool !== null;
    const verdict = { client, moves, locks: waits.locks, isPoolWait, cause, detectionMs, circle };
    if (isOwn(participant!)) {
      this.#defeats.execute(verdict, participant);
      return null;
    }
    const { worker } = look.others.shares.find(({ clients }) => clients.some((one) => one === participant))!;
    return this.#options.peers!.execute(worker, verdict);
  }

  /** Where nobody can look, or nobody may be chosen, the waiting ends by time. */
  #endBlindWaits(): void {
    for (const [participant, waitedMs] of this.watch.waits()) {
      const { lockTimeoutMs, runningOn, moves, isProtected } = participant;
      if (lockTimeoutMs === 0 || waitedMs < lockTimeoutMs || isProtected) continue;
      const blind = runningOn
        .filter((shard) => this.#silent.has(shard))
        .map((shard) => this.#options.shards[shard]);
      const detail =
        blind.length > 0
          ? `Shard "${blind.join(", ")}" cannot be asked what it waits for.`
          : this.#reasonToEnd(participant);
      if (detail === null) continue;
      const fault = new Fault("deadlock.lock_timeout", { detail });
      if (!participant.doom(fault, moves)) continue;
      this.#options.log.warn("deadlock.lock_timeout", {
        client: participant.client,
        gtrid: participant.gtrid,
      });
      participant.cancelRunning();
    }
  }

  #reasonToEnd(participant: Participant): string | null {
    if (this.#unbreakable.has(participant))
      return "It waits for a deadlock of which no transaction may be cancelled.";
    return this.#unseen.has(participant)
      ? "A worker of pgxa, whose clients it may wait for, cannot be asked what they wait for."
      : null;
  }
}

/** Whether it is a client of this process. */
const isOwn = (participant: ParticipantState): participant is Participant => "doom" in participant;

const clientsOf = (ids: Iterable<NodeId>, { nodes }: Snapshot): readonly ParticipantState[] =>
  [...ids].flatMap((id) => nodes.get(id)?.participant ?? []);

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
