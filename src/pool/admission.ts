/**
 * Who may take a connection of which pool, so that clients that hold locks do not wait for connections.
 *
 * If every connection to shard B were held by transactions that wait for one to shard A, or for a row that is locked by
 * one who does, all would wait for ever. So a transaction claims one connection of every pool when it takes its first:
 * it takes the others when it needs them, and finds them free. A statement outside a transaction claims the one it runs
 * on.
 *
 * Invariant, for each pool: transactions that are in + others that hold a connection of it <= pool.max. Hence who holds a
 * connection waits for another only in the exceptions: a client that is pinned to one, and who was let in for a risk.
 *
 * A risk is taken when someone waits although a connection is free, and nobody has given one back for `STALLED_MS`:
 * those who are in may be idle for hours. The circles that may come of it are found by the deadlock detector, which sees
 * the waits that are left here (`waits`, `holders`).
 *
 * Nobody starves: where both wait, a transaction and a statement are let into a pool in turn, each leaving room for the
 * other when it is that one's turn. Among those who hold nothing yet, classes and users come in turn (fairQueue.ts); those who hold connections are served in the order of arrival, for
 * others wait for what they hold.
 */
import type { Clock } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import { invariant } from "../base/invariant.ts";
import { FairQueue, type Ticket } from "./fairQueue.ts";
import type { PoolWatch } from "./quota.ts";
import type { SeatLimits } from "./seats.ts";
import { type Asker, Holdings, NO_CLIENT, type Share } from "./share.ts";
import type { SharedBounds } from "./sharedBounds.ts";
import { type Timed, type WaitStep, WaitTimers, waitSteps } from "./waitTimers.ts";

/** How long nobody may have given a connection back before a free one is given for a risk, in ms. */
const STALLED_MS = 500;

/** A client, as far as connections go. */
export class AdmittedClient {
  /** Who it is to others. */
  readonly owner: object;
  /** Who it is in the queues. */
  readonly asker: Asker;
  /** The pools of which it has a connection, or may take one. */
  readonly held = new Set<number>();
  /** Whether it is in a transaction, and may want connections of other pools before it gives these back. */
  isOpen = false;

  constructor(owner: object, asker: Asker = NO_CLIENT) {
    this.owner = owner;
    this.asker = asker;
  }
}

interface Waiting extends Timed<Waiting> {
  readonly client: AdmittedClient;
  readonly pool: number;
  /** Where it stands; a set is one of those who hold connections. */
  readonly queue: Set<Waiting> | FairQueue<Waiting>;
  ticket: Ticket<Waiting> | null;
  readonly resolve: () => void;
  readonly reject: (fault: Fault) => void;
}

export class Admission {
  #limits: SeatLimits;
  /** What happens to who waits from now on. */
  #steps: readonly WaitStep<Waiting>[];
  readonly #timers: WaitTimers<Waiting>;
  #isPaused = false;
  readonly #clock: Clock;
  /** For each pool: who holds a connection of it. */
  readonly #holders: readonly Set<AdmittedClient>[];
  /** Those in a transaction who hold a connection of any. */
  readonly #inside = new Set<AdmittedClient>();
  /** For each pool, in the order of arrival: those who hold connections of others. */
  readonly #holding: readonly Set<Waiting>[];
  /** The same: statements outside of transactions. */
  readonly #statements: readonly FairQueue<Waiting>[];
  /** Transactions that hold none yet. */
  readonly #newcomers = new FairQueue<Waiting>();
  /** For each pool: whether a transaction was let in last while statements waited, so that it is their turn. */
  readonly #isStatementsTurn: boolean[];
  /** The clients that hold a connection of any pool. */
  readonly #holdings: Holdings;
  readonly #allows = (share: Share): boolean => this.#holdings.allows(share);
  #queued = 0;
  #lastGivenBackMs: number;
  #hasStallTimer = false;
  watch: PoolWatch | null = null;

  constructor(pools: number, limits: SeatLimits, clock: Clock, bounds?: SharedBounds) {
    this.#limits = limits;
    this.#holdings = new Holdings(bounds);
    if (bounds !== undefined) bounds.onMore = () => this.#serve();
    this.#steps = this.#stepsOf(limits);
    this.#timers = new WaitTimers(
      clock,
      () => [...this.#holding, ...this.#statements, this.#newcomers].flatMap((queue) => [...queue]),
      (waiting) => this.#isQueued(waiting),
    );
    this.#clock = clock;
    this.#holders = Array.from({ length: pools }, () => new Set());
    this.#holding = Array.from({ length: pools }, () => new Set());
    this.#statements = Array.from({ length: pools }, () => new FairQueue());
    this.#isStatementsTurn = Array.from({ length: pools }, () => false);
    this.#lastGivenBackMs = clock.monotonicMs();
  }

  get queued(): number {
    return this.#queued;
  }

  /** How many are claimed of the pool of which the most are. */
  get claimed(): number {
    return Math.max(...this.#holders.map((holders) => this.#inside.size + this.#others(holders)));
  }

  /** The same, as far as it is within the limit: somebody may have been let in for a risk. */
  get taken(): number {
    return Math.min(this.claimed, this.#limits.max);
  }

  /** As `claimed`, and while there are no more, how many others would be. */
  get demand(): number {
    const { claimed } = this;
    return claimed >= this.#limits.max ? claimed + this.#queued : claimed;
  }

  /** Nobody who holds no connection is let in from now on; who waits may wait no longer than ever. */
  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#serve();
  }

  /** Other limits hold for whoever comes from now on, and for who waits as far as there is more room. */
  reconfigure(limits: SeatLimits): void {
    this.#limits = limits;
    this.#steps = this.#stepsOf(limits);
    this.#serve();
  }

  /** `client` begins a transaction. */
  begin(client: AdmittedClient): void {
    client.isOpen = true;
    if (client.held.size > 0) this.#inside.add(client);
  }

  /** Its transaction is over; it still has to leave the pools. */
  end(client: AdmittedClient): void {
    client.isOpen = false;
    if (!this.#inside.delete(client)) return;
    this.watch?.onFewer();
    if (this.#queued > 0) this.#serve();
  }

  /** Lets `client` have a connection of `pool` at once, or not. */
  tryEnter(client: AdmittedClient, pool: number): boolean {
    if (client.held.has(pool)) return true;
    if (this.#queueOf(client, pool).size > 0 || !this.#mayEnter(client, pool)) return false;
    this.#give(client, pool);
    return true;
  }

  /** The same after waiting if need be; rejects with `pool.queue_full`, `pool.checkout_timeout`, or what refuses it. */
  enter(client: AdmittedClient, pool: number): Promise<void> {
    if (this.tryEnter(client, pool)) return Promise.resolve();
    if (this.#queued >= this.#limits.queueMax) return Promise.reject(this.#fault("pool.queue_full", pool));
    return new Promise((resolve, reject) => {
      const queue = this.#queueOf(client, pool);
      const sinceMs = this.#clock.monotonicMs();
      const steps = this.#steps;
      const place = { client, pool, queue, ticket: null };
      const waiting: Waiting = { ...place, sinceMs, steps, stepsTaken: 0, resolve, reject };
      if (queue instanceof Set) queue.add(waiting);
      else waiting.ticket = queue.add(client.asker.share, waiting);
      this.#queued += 1;
      this.#timers.begin(waiting);
      this.#watchForStall();
      this.#serve(); // others may be waiting for what they are not allowed
      if (this.#queued > 0) this.watch?.onQueued();
    });
  }

  /** `client` has given its connection of `pool` back. */
  leave(client: AdmittedClient, pool: number): void {
    if (!client.held.delete(pool)) return;
    const wasHolder = this.#holders[pool]!.delete(client);
    invariant(wasHolder, "who leaves a pool was let in");
    if (client.held.size === 0) {
      this.#inside.delete(client);
      this.#holdings.remove(client.asker.share);
    }
    this.#lastGivenBackMs = this.#clock.monotonicMs();
    this.watch?.onFewer();
    if (this.#queued > 0) this.#serve();
  }

  /** Those who hold connections and wait for others of a pool that has none left; with `all`, those who hold none too. */
  *waits(all = false): IterableIterator<{
    readonly owner: object;
    readonly pool: number;
    readonly sinceMs: number;
  }> {
    for (const waiting of this.#holding.flatMap((queue) => [...queue])) {
      if (!this.#isFree(waiting.pool)) yield seen(waiting);
    }
    if (!all) return;
    for (const waiting of [...this.#newcomers, ...this.#statements.flatMap((queue) => [...queue])]) {
      yield seen(waiting);
    }
  }

  *holders(pool: number): IterableIterator<object> {
    for (const { owner } of this.#holders[pool]!) yield owner;
  }

  /** Ends the wait of `owner` with `fault`. */
  refuse(owner: object, fault: Fault): void {
    for (const queue of [...this.#holding, ...this.#statements, this.#newcomers]) {
      for (const waiting of [...(queue as Iterable<Waiting>)])
        if (waiting.client.owner === owner) this.#refuse(waiting, fault);
    }
  }

  /** Ends all waits for a connection of `pool`: there will be none. */
  refusePool(pool: number, fault: () => Fault): void {
    for (const queue of [this.#holding[pool]!, this.#statements[pool]!, this.#newcomers]) {
      for (const waiting of [...queue]) if (waiting.pool === pool) this.#refuse(waiting, fault());
    }
  }

  // --- inside ---

  #queueOf(client: AdmittedClient, pool: number): Set<Waiting> | FairQueue<Waiting> {
    if (client.held.size > 0) return this.#holding[pool]!;
    return client.isOpen ? this.#newcomers : this.#statements[pool]!;
  }

  #isQueued(waiting: Waiting): boolean {
    const { queue, ticket } = waiting;
    return queue instanceof Set ? queue.has(waiting) : ticket!.user !== null;
  }

  #leaveQueue(waiting: Waiting): void {
    const { queue, ticket } = waiting;
    if (queue instanceof Set) queue.delete(waiting);
    else queue.remove(ticket!);
    this.#queued -= 1;
  }

  #grant(waiting: Waiting): void {
    this.#leaveQueue(waiting);
    this.#give(waiting.client, waiting.pool);
    waiting.resolve();
  }

  #refuse(waiting: Waiting, fault: Fault): void {
    this.#leaveQueue(waiting);
    waiting.reject(fault);
    this.#serve();
  }

  #stepsOf(limits: SeatLimits): readonly WaitStep<Waiting>[] {
    return waitSteps<Waiting>(limits, {
      notice: ({ client, pool }) => client.asker.onLongWait(`${this.#about(pool)}.`),
      reserve: () => this.#serve(),
      end: (waiting) => this.#refuse(waiting, this.#fault("pool.checkout_timeout", waiting.pool)),
    });
  }

  /** How many connections of each pool may be held now. */
  get #max(): number {
    const { max, reserve, reserveTimeoutMs } = this.#limits;
    if (reserve === 0 || this.#queued === 0) return max;
    const before = this.#clock.monotonicMs() - reserveTimeoutMs;
    for (const { oldest } of [this.#newcomers, ...this.#statements]) {
      if (oldest !== undefined && oldest.sinceMs <= before) return max + reserve;
    }
    return max;
  }

  #isFree(pool: number): boolean {
    return this.#holders[pool]!.size < this.#max;
  }

  #give(client: AdmittedClient, pool: number): void {
    if (client.held.size === 0) this.#holdings.add(client.asker.share);
    client.held.add(pool);
    this.#holders[pool]!.add(client);
    if (client.isOpen) this.#inside.add(client);
  }

  #mayEnter(client: AdmittedClient, pool: number): boolean {
    if (!this.#isFree(pool)) return false;
    if (client.held.size > 0) return true; // its claim was counted when it came in
    if (this.#isPaused) return false;
    if (!this.#holdings.allows(client.asker.share)) return false;
    if (client.isOpen) return this.#holders.every((_, at) => this.#hasRoom(at, this.#spareForStatements(at)));
    return this.#hasRoom(pool, this.#spareForNewcomers(pool));
  }

  #spareForStatements(pool: number): number {
    if (!this.#isStatementsTurn[pool] || this.#statements[pool]!.size === 0) return 0;
    return this.#statements[pool]!.next(this.#allows) === null ? 0 : 1;
  }

  #spareForNewcomers(pool: number): number {
    if (this.#newcomers.size === 0 || this.#isStatementsTurn[pool]) return 0;
    return this.#newcomers.next(this.#allows) === null ? 0 : 1;
  }

  /** Somebody who waited has been let in: it is the others' turn. */
  #noteTurn({ client, pool }: Waiting): void {
    if (!client.isOpen) this.#isStatementsTurn[pool] = false;
    else
      for (const at of this.#statements.keys()) this.#isStatementsTurn[at] = this.#statements[at]!.size > 0;
  }

  /** Whether there is room in `pool` for one more claim, and `spare` others besides. */
  #hasRoom(pool: number, spare: number): boolean {
    const holders = this.#holders[pool]!;
    const room = this.#max - spare - this.#inside.size;
    return holders.size < room /* even if all of them are others */ || this.#others(holders) < room;
  }

  /** How many of `holders` are in no transaction. */
  #others(holders: ReadonlySet<AdmittedClient>): number {
    let others = 0;
    for (const holder of holders) if (!this.#inside.has(holder)) others += 1;
    return others;
  }

  /** Gives what there is to those whose turn it is. */
  #serve(): void {
    for (const queue of this.#holding) {
      for (const waiting of queue) {
        if (!this.#mayEnter(waiting.client, waiting.pool)) break; // and neither may those behind
        this.#grant(waiting);
      }
    }
    this.#serveInTurn(this.#newcomers);
    for (const queue of this.#statements) this.#serveInTurn(queue);
    this.#watchForStall();
  }

  #serveInTurn(queue: FairQueue<Waiting>): void {
    for (;;) {
      const ticket = queue.next(this.#allows);
      if (ticket === null || !this.#mayEnter(ticket.item.client, ticket.item.pool)) return; // and neither may others
      queue.take(ticket);
      this.#grant(ticket.item);
      this.#noteTurn(ticket.item);
    }
  }

  /** The timer may find nobody left who waits. */
  #watchForStall(): void {
    if (this.#hasStallTimer || this.#queued === 0) return;
    this.#hasStallTimer = true;
    const idleMs = this.#clock.monotonicMs() - this.#lastGivenBackMs;
    this.#clock.after(Math.max(1, STALLED_MS - idleMs), () => {
      this.#hasStallTimer = false;
      const idleMs = this.#clock.monotonicMs() - this.#lastGivenBackMs;
      if (this.#queued > 0 && idleMs >= STALLED_MS) this.#takeRisk();
      this.#watchForStall();
    });
  }

  /** Lets in who has waited longest for a pool of which a connection is free; one, and another after the next pause. */
  #takeRisk(): void {
    const waiting = [...this.#newcomers, ...this.#statements.flatMap((queue) => [...queue])];
    const lucky = this.#isPaused
      ? undefined
      : waiting.find(({ client, pool }) => this.#isFree(pool) && this.#allows(client.asker.share));
    this.#lastGivenBackMs = this.#clock.monotonicMs();
    if (lucky !== undefined) this.#grant(lucky);
  }

  #fault(id: "pool.queue_full" | "pool.checkout_timeout", pool: number): Fault {
    const { queueMax, checkoutTimeoutMs } = this.#limits;
    const about = this.#about(pool);
    const detail =
      id === "pool.queue_full"
        ? `${about}; ${queueMax} clients are queued already.`
        : `${about}; waited ${checkoutTimeoutMs} ms.`;
    return new Fault(id, { detail });
  }

  #about(pool: number): string {
    const inUse = `${this.#holders[pool]!.size} of ${this.#limits.max} connections to the shard are in use`;
    return `${inUse}, and ${this.#inside.size} transactions are open`;
  }
}

const seen = ({ client, pool, sinceMs }: Waiting) => ({ owner: client.owner, pool, sinceMs });
