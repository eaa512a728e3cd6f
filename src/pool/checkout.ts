/**
 * Checkouts that wait, and the turn in which they are served.
 *
 * A connection comes back while its last answer is being read, and a seat is free in the middle of that. Whoever waits for
 * it is served right after, when nothing of it is under way any more: all who got a seat meanwhile in one microtask, for
 * a promise each, and those that follow from it, cost more than the wait.
 */
import { Chain, type Link } from "../base/chain.ts";
import type { Fault } from "../base/fault.ts";
import type { Seeker } from "./seats.ts";
import type { LeaseHolder, ServerConnection } from "./serverConnection.ts";
import type { Asker } from "./share.ts";

/** Is told what came of a checkout. */
export interface Borrower {
  /** `asked` is what `request` returned. */
  onLease(lease: ServerConnection, asked: object): void;
  /** A Fault (`pool.*`), or what broke. */
  onRefused(error: unknown, asked: object): void;
}

export class Checkout implements Seeker, Link<Checkout> {
  readonly #turns: Turns;
  readonly holder: LeaseHolder;
  readonly settings: string;
  readonly asker: Asker;
  readonly borrower: Borrower;
  /** In monotonic ms. */
  readonly askedAtMs: number;
  /** Why there is no seat; null: there is one, or none yet. */
  fault: Fault | null = null;
  /** Who is served after it in the same turn. */
  next: Checkout | null = null;

  constructor(
    turns: Turns,
    holder: LeaseHolder,
    settings: string,
    asker: Asker,
    borrower: Borrower,
    askedAtMs: number,
  ) {
    this.#turns = turns;
    this.holder = holder;
    this.settings = settings;
    this.asker = asker;
    this.borrower = borrower;
    this.askedAtMs = askedAtMs;
  }

  onSeat(): void {
    this.#turns.add(this);
  }

  onRefused(fault: Fault): void {
    this.fault = fault;
    this.#turns.add(this);
  }
}

/** Costs less than `queueMicrotask`, which makes a resource for async hooks each time. */
const SETTLED = Promise.resolve();

export class Turns {
  readonly #ready = new Chain<Checkout>();
  readonly #serve: (checkout: Checkout) => void;
  readonly #run = (): void => {
    const first = this.#ready.takeAll();
    for (let checkout = first; checkout !== null; checkout = checkout.next) this.#serve(checkout);
  };

  constructor(serve: (checkout: Checkout) => void) {
    this.#serve = serve;
  }

  /** To be served after what runs now, in order. */
  add(checkout: Checkout): void {
    if (this.#ready.first === null) void SETTLED.then(this.#run);
    this.#ready.push(checkout);
  }
}
