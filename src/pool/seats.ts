/**
 * Who may have a connection of one pool, and whose turn it is when there are none left.
 *
 * A seat is the right to one connection. There are `pool.max` of them, and `pool.reserve` more while somebody has waited
 * for longer than `pool.reserve_timeout`. Whoever finds nobody waiting and a seat free has it at once.
 *
 * Invariant: seats taken <= max + reserve; and nobody waits while a seat is free that its class and user may have.
 */
import type { Clock } from "../base/environment.ts";
import type { Fault } from "../base/fault.ts";
import type { PoolConfig } from "../config/config.ts";
import { FairQueue } from "./fairQueue.ts";
import { type Asker, Holdings, type Share } from "./share.ts";
import { type WaitStep, WaitTimer } from "./waitTimer.ts";

export type SeatLimits = Pick<
  PoolConfig,
  "max" | "reserve" | "reserveTimeoutMs" | "noticeAfterMs" | "checkoutTimeoutMs" | "queueMax"
>;

export interface SeatsOptions {
  readonly limits: SeatLimits;
  readonly clock: Clock;
  /** Why a client gets no seat. */
  fault(id: "pool.queue_full" | "pool.checkout_timeout" | "session.canceled"): Fault;
  /** What a client waits for, in a sentence. */
  about(): string;
}

interface Waiting {
  readonly asker: Asker;
  readonly sinceMs: number;
  grant(): void;
  refuse(fault: Fault): void;
}

export class Seats {
  readonly #options: SeatsOptions;
  readonly #holdings = new Holdings();
  readonly #queue = new FairQueue<Waiting>();
  readonly #allows = (share: Share): boolean => this.#holdings.allows(share);
  #taken = 0;
  #limits: SeatLimits;
  #isPaused = false;

  constructor(options: SeatsOptions) {
    this.#options = options;
    this.#limits = options.limits;
  }

  /** Nobody is given a seat from now on; who waits may wait no longer than ever. */
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
    this.#serve();
  }

  get taken(): number {
    return this.#taken;
  }

  get queued(): number {
    return this.#queue.size;
  }

  /** Since when who has waited longest waits; null if nobody does. */
  get oldestSinceMs(): number | null {
    return this.#queue.oldest?.sinceMs ?? null;
  }

  /** Takes a seat if there is one without waiting; it must be given back. */
  tryTake(share: Share): boolean {
    if (this.#isPaused || this.#queue.size > 0 || this.#taken >= this.#limits.max) return false;
    if (!this.#holdings.allows(share)) return false;
    this.#take(share);
    return true;
  }

  /** The same after waiting if need be; rejects with a Fault (`pool.*`). */
  take(asker: Asker): Promise<void> {
    if (this.tryTake(asker.share)) return Promise.resolve();
    const { fault } = this.#options;
    if (this.#queue.size >= this.#limits.queueMax) return Promise.reject(fault("pool.queue_full"));
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        timer.cancel();
        this.#queue.remove(ticket);
      };
      const refuse = (reason: Fault): void => {
        leave();
        reject(reason);
      };
      const grant = (): void => {
        leave();
        this.#take(asker.share);
        resolve();
      };
      const waiting = { asker, sinceMs: this.#options.clock.monotonicMs(), grant, refuse };
      const ticket = this.#queue.add(asker.share, waiting);
      const timer = new WaitTimer(this.#options.clock, this.#steps(waiting));
      this.#serve(); // others may be waiting for what they are not allowed
    });
  }

  give(share: Share): void {
    this.#taken -= 1;
    this.#holdings.remove(share);
    if (this.#queue.size > 0) this.#serve();
  }

  refuseAll(fault: () => Fault): void {
    for (const waiting of [...this.#queue]) waiting.refuse(fault());
  }

  #take(share: Share): void {
    this.#taken += 1;
    this.#holdings.add(share);
  }

  #steps({ asker, refuse }: Waiting): readonly WaitStep[] {
    const { fault, about } = this.#options;
    const { noticeAfterMs, reserve, reserveTimeoutMs, checkoutTimeoutMs } = this.#limits;
    const notice = { afterMs: noticeAfterMs, act: () => asker.onLongWait(about()) };
    return [
      ...(noticeAfterMs > 0 ? [notice] : []),
      ...(reserve > 0 ? [{ afterMs: reserveTimeoutMs, act: () => this.#serve() }] : []),
      { afterMs: checkoutTimeoutMs, act: () => refuse(fault("pool.checkout_timeout")) },
    ].filter(({ afterMs }) => afterMs <= checkoutTimeoutMs);
  }

  #capacity(): number {
    const { max, reserve, reserveTimeoutMs } = this.#limits;
    const since = this.oldestSinceMs;
    if (reserve === 0 || since === null) return max;
    return this.#options.clock.monotonicMs() - since >= reserveTimeoutMs ? max + reserve : max;
  }

  #serve(): void {
    while (!this.#isPaused && this.#queue.size > 0 && this.#taken < this.#capacity()) {
      const ticket = this.#queue.next(this.#allows);
      if (ticket === null) return;
      if (ticket.item.asker.isGone) {
        ticket.item.refuse(this.#options.fault("session.canceled"));
        continue;
      }
      this.#queue.take(ticket);
      ticket.item.grant();
    }
  }
}
