/**
 * Who may hold server connections of several shards, so that nobody who holds one ever waits for another in vain.
 *
 * If every lease of shard B were held by transactions that wait for one of shard A, and the other way round, all would
 * wait for ever. So a transaction is let in as a whole, before it holds anything: each one that is in may take one
 * connection of every pool, and that room is kept for it. A statement outside a transaction takes one connection of
 * one pool, from the room that nobody who is in might need.
 *
 * Invariant, for each pool: transactions that are in + statements on it <= pool.max. Hence a checkout by one who is in
 * never waits for a lease, only for a connection to be made.
 *
 * Nobody starves: a statement leaves room for a transaction that has waited longer.
 */
import type { Clock, Timer } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import { invariant } from "../base/invariant.ts";
import type { PoolConfig } from "../config/config.ts";

interface Waiting {
  /** The pool of a statement; -1 for a transaction. */
  readonly pool: number;
  readonly timer: Timer;
  grant(): void;
}

const TRANSACTION = -1;

export class Admission {
  readonly #limits: Pick<PoolConfig, "max" | "queueMax" | "checkoutTimeoutMs">;
  readonly #clock: Clock;
  readonly #statements: number[];
  #transactions = 0;
  /** In the order of arrival. */
  readonly #queue = new Set<Waiting>();

  constructor(
    pools: number,
    limits: Pick<PoolConfig, "max" | "queueMax" | "checkoutTimeoutMs">,
    clock: Clock,
  ) {
    this.#limits = limits;
    this.#clock = clock;
    this.#statements = Array.from({ length: pools }, () => 0);
  }

  /** How many transactions are in. */
  get transactions(): number {
    return this.#transactions;
  }

  get queued(): number {
    return this.#queue.size;
  }

  /** Lets a transaction in at once, or not. */
  tryTransaction(): boolean {
    return this.#queue.size === 0 && this.#grant(TRANSACTION);
  }

  /** Lets a transaction in; rejects with `pool.queue_full` or `pool.checkout_timeout`. */
  transaction(): Promise<void> {
    return this.#wait(TRANSACTION);
  }

  endTransaction(): void {
    invariant(this.#transactions > 0, "a transaction leaves that was let in");
    this.#transactions -= 1;
    this.#serve();
  }

  tryStatement(pool: number): boolean {
    return this.#mayPass(pool, this.#queue) && this.#grant(pool);
  }

  /** Lets a statement on `pool` in; rejects like `transaction`. */
  statement(pool: number): Promise<void> {
    return this.#wait(pool);
  }

  /** Counts a connection that a client keeps beyond its transaction. */
  keep(pool: number): void {
    this.#statements[pool]! += 1;
  }

  endStatement(pool: number): void {
    invariant(this.#statements[pool]! > 0, "a statement leaves that was let in");
    this.#statements[pool]! -= 1;
    this.#serve();
  }

  // --- inside ---

  #wait(pool: number): Promise<void> {
    const isNext = pool === TRANSACTION ? this.#queue.size === 0 : this.#mayPass(pool, this.#queue);
    if (isNext && this.#grant(pool)) return Promise.resolve();
    const { queueMax, checkoutTimeoutMs } = this.#limits;
    if (this.#queue.size >= queueMax) return Promise.reject(this.#fault("pool.queue_full"));
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(checkoutTimeoutMs, () => {
        this.#queue.delete(waiting);
        this.#serve();
        reject(this.#fault("pool.checkout_timeout"));
      });
      const waiting: Waiting = { pool, timer, grant: resolve };
      this.#queue.add(waiting);
    });
  }

  #grant(pool: number): boolean {
    if (!this.#hasRoom(pool, 0)) return false;
    if (pool === TRANSACTION) this.#transactions += 1;
    else this.#statements[pool]! += 1;
    return true;
  }

  /** Whether there is room for one more, and `spare` others besides. */
  #hasRoom(pool: number, spare: number): boolean {
    const { max } = this.#limits;
    const used = pool === TRANSACTION ? Math.max(...this.#statements) : this.#statements[pool]!;
    return this.#transactions + used + spare < max;
  }

  /** Whether a statement may go before those in `ahead`: same pool in turn, and room left for a transaction. */
  #mayPass(pool: number, ahead: Iterable<Waiting>): boolean {
    for (const waiting of ahead) {
      if (waiting.pool === pool) return false;
      if (waiting.pool === TRANSACTION && !this.#hasRoom(pool, 1)) return false;
    }
    return true;
  }

  #serve(): void {
    const ahead: Waiting[] = [];
    for (const waiting of this.#queue) {
      const isBlocked =
        waiting.pool === TRANSACTION
          ? ahead.some(({ pool }) => pool === TRANSACTION)
          : !this.#mayPass(waiting.pool, ahead);
      if (!isBlocked && this.#grant(waiting.pool)) {
        this.#queue.delete(waiting);
        waiting.timer.cancel();
        waiting.grant();
      } else ahead.push(waiting);
      if (ahead.length > this.#statements.length + 1) return; // whoever is behind these has one of them before it
    }
  }

  #fault(id: "pool.queue_full" | "pool.checkout_timeout"): Fault {
    const { max, queueMax, checkoutTimeoutMs } = this.#limits;
    const about = `${this.#transactions} transactions are open, pool.max is ${max}`;
    const detail =
      id === "pool.queue_full"
        ? `${about}, and ${queueMax} clients are queued already.`
        : `${about}; waited ${checkoutTimeoutMs} ms.`;
    return new Fault(id, { detail });
  }
}
