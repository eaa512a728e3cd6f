/**
 * Who may take a connection of which pool, so that clients do not wait for each other's connections in a circle.
 *
 * If every connection to shard B were held by transactions that wait for one to shard A, and the other way round, all
 * would wait for ever. So a connection is given only if afterwards there is still a way for all to finish: one
 * transaction that could have one connection of every pool it lacks, and once it has gone, the others one by one
 * (Dijkstra's banker, with a claim of one connection to every shard). Nearly all connections can be in use at once:
 * only the last of the last free pool is kept back, and only while no transaction holds what would need it.
 *
 * Locks are not seen here. A transaction that is kept back may hold the row that another waits for, so one that holds
 * connections and was kept back for `RISK_AFTER_MS` in vain is let in all the same, and the circle that may come of it is
 * found by the deadlock detector, which sees the waits that are left here (`waits`, `holders`). One that holds none holds
 * no locks either, and waits until it is safe.
 *
 * Who holds connections goes before who holds none: it finishes sooner, and what it holds is worth more.
 */
import type { Clock, Timer } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import { invariant } from "../base/invariant.ts";
import type { PoolConfig } from "../config/config.ts";

/** How long a free connection is kept back at most from one who holds others, in ms. */
const RISK_AFTER_MS = 100;

type Limits = Pick<PoolConfig, "max" | "queueMax" | "checkoutTimeoutMs">;

/** A client, as far as connections go. */
export class AdmittedClient {
  /** Who it is to others. */
  readonly owner: object;
  /** The pools of which it has a connection, or may take one. */
  readonly held = new Set<number>();
  /** Whether it may want connections of other pools before it gives these back: it is in a transaction. */
  isOpen = false;

  constructor(owner: object) {
    this.owner = owner;
  }
}

interface Waiting {
  readonly client: AdmittedClient;
  readonly pool: number;
  readonly sinceMs: number;
  readonly timer: Timer;
  /** Since when a connection is free and kept back from it, who is the next that holds others; null before. */
  keptBackSinceMs: number | null;
  grant(): void;
  refuse(fault: Fault): void;
}

export class Admission {
  readonly #limits: Limits;
  readonly #clock: Clock;
  /** For each pool: who holds a connection of it. */
  readonly #holders: readonly Set<AdmittedClient>[];
  /** For each pool: those who hold connections of others, and those who hold none, each in the order of arrival. */
  readonly #queues: readonly { readonly holding: Set<Waiting>; readonly empty: Set<Waiting> }[];
  #queued = 0;
  #riskTimer: Timer | null = null;

  constructor(pools: number, limits: Limits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
    this.#holders = Array.from({ length: pools }, () => new Set());
    this.#queues = Array.from({ length: pools }, () => ({ holding: new Set(), empty: new Set() }));
  }

  get queued(): number {
    return this.#queued;
  }

  /** Lets `client` have a connection of `pool` at once, or not. */
  tryEnter(client: AdmittedClient, pool: number): boolean {
    if (client.held.has(pool)) return true;
    const { holding, empty } = this.#queues[pool]!;
    const isNext = holding.size === 0 && (empty.size === 0 || client.held.size > 0);
    if (!isNext || !this.#isFree(pool) || !this.#isSafe(client, pool)) return false;
    this.#give(client, pool);
    return true;
  }

  /** The same after waiting if need be; rejects with `pool.queue_full`, `pool.checkout_timeout`, or what refuses it. */
  enter(client: AdmittedClient, pool: number): Promise<void> {
    if (this.tryEnter(client, pool)) return Promise.resolve();
    if (this.#queued >= this.#limits.queueMax) return Promise.reject(this.#fault("pool.queue_full", pool));
    return new Promise((resolve, reject) => {
      const { holding, empty } = this.#queues[pool]!;
      const queue = client.held.size > 0 ? holding : empty;
      const leave = (): void => {
        queue.delete(waiting);
        this.#queued -= 1;
        timer.cancel();
      };
      const refuse = (fault: Fault): void => {
        leave();
        reject(fault);
        this.#serve();
      };
      const timer = this.#clock.after(this.#limits.checkoutTimeoutMs, () =>
        refuse(this.#fault("pool.checkout_timeout", pool)),
      );
      const grant = (): void => {
        leave();
        this.#give(client, pool);
        resolve();
      };
      const sinceMs = this.#clock.monotonicMs();
      const waiting: Waiting = { client, pool, sinceMs, timer, keptBackSinceMs: null, grant, refuse };
      queue.add(waiting);
      this.#queued += 1;
      this.#serve();
    });
  }

  /** `client` has given its connection of `pool` back. */
  leave(client: AdmittedClient, pool: number): void {
    if (!client.held.delete(pool)) return;
    const wasHolder = this.#holders[pool]!.delete(client);
    invariant(wasHolder, "who leaves a pool was let in");
    if (this.#queued > 0) this.#serve();
  }

  /** Those who wait for others to go; not those from whom a connection is kept back for a moment. */
  *waits(): IterableIterator<{ readonly owner: object; readonly pool: number; readonly sinceMs: number }> {
    for (const [pool, { holding, empty }] of this.#queues.entries()) {
      const isFree = this.#isFree(pool);
      for (const { client, sinceMs } of isFree ? [] : holding) yield { owner: client.owner, pool, sinceMs };
      for (const { client, sinceMs } of empty) yield { owner: client.owner, pool, sinceMs };
    }
  }

  *holders(pool: number): IterableIterator<object> {
    for (const { owner } of this.#holders[pool]!) yield owner;
  }

  /** Ends the wait of `owner` with `fault`. */
  refuse(owner: object, fault: Fault): void {
    for (const { holding, empty } of this.#queues) {
      for (const waiting of [...holding, ...empty]) if (waiting.client.owner === owner) waiting.refuse(fault);
    }
  }

  // --- inside ---

  #isFree(pool: number): boolean {
    return this.#holders[pool]!.size < this.#limits.max;
  }

  #give(client: AdmittedClient, pool: number): void {
    client.held.add(pool);
    this.#holders[pool]!.add(client);
  }

  /** Whether all could still finish if `client` had a connection of `pool`. */
  #isSafe(client: AdmittedClient, pool: number): boolean {
    if (!client.isOpen) return true; // it wants no other, and so gives this one back
    // What others will give back for certain counts as free.
    const lacking = (one: AdmittedClient): boolean =>
      this.#holders.every((holders, at) => {
        if (one.held.has(at) || (one === client && at === pool)) return true;
        const taken = at === pool ? 1 : 0;
        if (holders.size + taken < this.#limits.max) return true;
        for (const holder of holders) if (!holder.isOpen) return true;
        return false;
      });
    if (lacking(client)) return true;
    for (const holders of this.#holders) {
      for (const holder of holders) if (holder.isOpen && lacking(holder)) return true;
    }
    return false;
  }

  /** Gives what there is to those whose turn it is. */
  #serve(): void {
    let isKeptBack = false;
    for (const [pool, { holding, empty }] of this.#queues.entries()) {
      while (this.#isFree(pool) && holding.size + empty.size > 0) {
        const next = this.#nextOf(pool);
        if (next === null) {
          isKeptBack = true;
          break;
        }
        next.grant();
      }
    }
    if (!isKeptBack) return;
    this.#riskTimer ??= this.#clock.after(RISK_AFTER_MS + 1, () => {
      this.#riskTimer = null;
      this.#serve();
    });
  }

  /** Whose turn it is: the first who can be let in safely, or else the first for whom a risk is due; null if nobody. */
  #nextOf(pool: number): Waiting | null {
    const { holding, empty } = this.#queues[pool]!;
    for (const waiting of holding) if (this.#isSafe(waiting.client, pool)) return waiting;
    let isTried = false;
    for (const waiting of empty) {
      // Those in a transaction that hold nothing are all alike.
      if (waiting.client.isOpen && isTried) continue;
      isTried ||= waiting.client.isOpen;
      if (this.#isSafe(waiting.client, pool)) return waiting;
    }
    const [oldest] = holding;
    if (oldest === undefined) return null;
    const nowMs = this.#clock.monotonicMs();
    oldest.keptBackSinceMs ??= nowMs;
    return nowMs - oldest.keptBackSinceMs >= RISK_AFTER_MS ? oldest : null;
  }

  #fault(id: "pool.queue_full" | "pool.checkout_timeout", pool: number): Fault {
    const { max, queueMax, checkoutTimeoutMs } = this.#limits;
    const about = `${this.#holders[pool]!.size} of ${max} connections to the shard are in use`;
    const detail =
      id === "pool.queue_full"
        ? `${about}, and ${queueMax} clients are queued already.`
        : `${about}; waited ${checkoutTimeoutMs} ms.`;
    return new Fault(id, { detail });
  }
}
