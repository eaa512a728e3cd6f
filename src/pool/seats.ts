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
import { FairQueue, type Ticket } from "./fairQueue.ts";
import type { QueueFaultId } from "./queueFault.ts";
import { type Asker, Holdings, type Share } from "./share.ts";
import type { SharedBounds } from "./sharedBounds.ts";
import { type Timed, type WaitStep, WaitTimers, waitSteps } from "./waitTimers.ts";

export type SeatLimits = Pick<
  PoolConfig,
  "max" | "reserve" | "reserveTimeoutMs" | "noticeAfterMs" | "checkoutTimeoutMs" | "queueMax"
>;

export interface SeatsOptions {
  readonly limits: SeatLimits;
  readonly clock: Clock;
  /** Why a client gets no seat. */
  fault(id: QueueFaultId): Fault;
  /** What a client waits for, in a sentence. */
  about(): string;
  /** Somebody waits. */
  onQueued?(): void;
  /** Where bounds of classes and users hold for several workers together. */
  readonly bounds?: SharedBounds | undefined;
}

/** Is told what came of its wait for a seat. */
export interface Seeker {
  onSeat(): void;
  onRefused(fault: Fault): void;
}

class Waiting implements Timed<Waiting> {
  readonly asker: Asker;
  readonly seeker: Seeker;
  readonly sinceMs: number;
  readonly steps: readonly WaitStep<Waiting>[];
  stepsTaken = 0;
  ticket!: Ticket<Waiting>;

  constructor(asker: Asker, seeker: Seeker, sinceMs: number, steps: readonly WaitStep<Waiting>[]) {
    this.asker = asker;
    this.seeker = seeker;
    this.sinceMs = sinceMs;
    this.steps = steps;
  }
}

export class Seats {
  readonly #options: SeatsOptions;
  readonly #holdings: Holdings;
  readonly #queue = new FairQueue<Waiting>();
  readonly #allows = (share: Share): boolean => this.#holdings.allows(share);
  #taken = 0;
  readonly #timers: WaitTimers<Waiting>;
  #limits: SeatLimits;
  /** What happens to who waits from now on. */
  #steps: readonly WaitStep<Waiting>[];
  #isPaused = false;

  constructor(options: SeatsOptions) {
    this.#options = options;
    this.#holdings = new Holdings(options.bounds);
    if (options.bounds !== undefined) options.bounds.onMore = () => this.#serve();
    this.#limits = options.limits;
    this.#timers = new WaitTimers(options.clock);
    this.#steps = this.#stepsOf(options.limits);
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
    this.#steps = this.#stepsOf(limits);
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

  /** Whether there is a seat at once; if not, `seeker` is told later, or now if it is refused (`pool.*`). */
  take(asker: Asker, seeker: Seeker): boolean {
    if (this.tryTake(asker.share)) return true;
    if (this.#queue.size >= this.#limits.queueMax) {
      seeker.onRefused(this.#options.fault("pool.queue_full"));
      return false;
    }
    const waiting = new Waiting(asker, seeker, this.#options.clock.monotonicMs(), this.#steps);
    waiting.ticket = this.#queue.add(asker.share, waiting);
    this.#timers.add(waiting);
    this.#serve(); // others may be waiting for what they are not allowed
    if (this.#queue.size > 0) this.#options.onQueued?.();
    return false;
  }

  give(share: Share): void {
    this.#taken -= 1;
    this.#holdings.remove(share);
    if (this.#queue.size > 0) this.#serve();
  }

  refuseAll(fault: () => Fault): void {
    for (const waiting of [...this.#queue]) this.#refuse(waiting, fault());
  }

  #take(share: Share): void {
    this.#taken += 1;
    this.#holdings.add(share);
  }

  #refuse(waiting: Waiting, fault: Fault): void {
    this.#queue.remove(waiting.ticket);
    this.#timers.remove(waiting);
    waiting.seeker.onRefused(fault);
  }

  #stepsOf(limits: SeatLimits): readonly WaitStep<Waiting>[] {
    return waitSteps<Waiting>(limits, {
      notice: ({ asker }) => asker.onLongWait(this.#options.about()),
      reserve: () => this.#serve(),
      end: (waiting) => this.#refuse(waiting, this.#options.fault("pool.checkout_timeout")),
    });
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
      const { item: waiting } = ticket;
      if (waiting.asker.isGone) {
        this.#refuse(waiting, this.#options.fault("session.canceled"));
        continue;
      }
      this.#queue.take(ticket);
      this.#timers.remove(waiting);
      this.#take(waiting.asker.share);
      waiting.seeker.onSeat();
    }
  }
}
