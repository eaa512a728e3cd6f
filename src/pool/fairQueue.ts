// Pure.
/**
 * A queue in which nobody gains by coming often.
 *
 * Between classes it is start-time fair queueing: each class has a tag, the class with the lowest is served, and its tag
 * grows by 1 / weight; so over any time in which all of them wait, classes are served by their weights. A class that
 * comes back, or could not be served for a while, starts from where the others are: nothing is saved up. Within a class
 * the users take turns, and the clients of a user are served in the order in which they came.
 * P. Goyal, H. M. Vin, H. Cheng: Start-time fair queueing, 1996.
 *
 * Invariants: whoever waits is in the ring of its class, and no user with nobody waiting is; among `n` users of a class
 * nobody is passed over by more than `n - 1` others before its user's turn comes.
 */
import { invariant } from "../base/invariant.ts";
import type { Share, ShareClass } from "./share.ts";

export interface Ticket<T> {
  readonly share: Share;
  readonly item: T;
}

interface Line<T> {
  readonly of: ShareClass;
  tag: number;
  /** Those who wait, by user, in the order of turns; a user's clients in the order of arrival. */
  readonly ring: Map<Share, Set<Ticket<T>>>;
}

export class FairQueue<T> {
  readonly #lines = new Map<ShareClass, Line<T>>();
  /** All, in the order of arrival. */
  readonly #all = new Set<Ticket<T>>();
  /** The tag of who was served last. */
  #now = 0;

  get size(): number {
    return this.#all.size;
  }

  /** Who has waited longest. */
  get oldest(): T | undefined {
    for (const { item } of this.#all) return item;
    return undefined;
  }

  /** In the order of arrival. */
  *[Symbol.iterator](): IterableIterator<T> {
    for (const { item } of this.#all) yield item;
  }

  add(share: Share, item: T): Ticket<T> {
    const ticket: Ticket<T> = { share, item };
    const line = this.#lineOf(share.of);
    if (line.ring.size === 0) line.tag = Math.max(line.tag, this.#now);
    const waiting = line.ring.get(share);
    if (waiting === undefined) line.ring.set(share, new Set([ticket]));
    else waiting.add(ticket);
    this.#all.add(ticket);
    return ticket;
  }

  /** Takes back what was added, wherever it stands; nothing happens if it has gone already. */
  remove(ticket: Ticket<T>): void {
    if (!this.#all.delete(ticket)) return;
    const { ring } = this.#lineOf(ticket.share.of);
    const waiting = ring.get(ticket.share)!;
    waiting.delete(ticket);
    if (waiting.size === 0) ring.delete(ticket.share);
  }

  /** Whose turn it is among those whose share `allows`; null if nobody's. */
  next(allows: (share: Share) => boolean = anybody): Ticket<T> | null {
    let best: { readonly tag: number; readonly waiting: Set<Ticket<T>> } | null = null;
    for (const { tag, ring } of this.#lines.values()) {
      if (best !== null && best.tag <= tag) continue;
      for (const [share, waiting] of ring) {
        if (!allows(share)) continue;
        best = { tag, waiting };
        break;
      }
    }
    if (best === null) return null;
    for (const ticket of best.waiting) return ticket;
    return null;
  }

  /** Serves who has the turn, as `next` said. */
  take(ticket: Ticket<T>): void {
    invariant(this.#all.has(ticket), "who is served waits");
    const line = this.#lineOf(ticket.share.of);
    this.#now = Math.max(this.#now, line.tag);
    for (const other of this.#lines.values()) other.tag = Math.max(other.tag, this.#now);
    line.tag += 1 / line.of.weight;
    this.remove(ticket);
    const rest = line.ring.get(ticket.share);
    if (rest === undefined) return;
    line.ring.delete(ticket.share); // the others of the class come first now
    line.ring.set(ticket.share, rest);
  }

  #lineOf(of: ShareClass): Line<T> {
    let line = this.#lines.get(of);
    if (line === undefined) this.#lines.set(of, (line = { of, tag: this.#now, ring: new Map() }));
    return line;
  }
}

const anybody = (): boolean => true;
