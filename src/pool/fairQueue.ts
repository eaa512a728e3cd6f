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
 *
 * Everything is linked: with sets and maps, which grow holes and are made anew again and again, a busy pool's queue
 * would be most of the garbage that a query leaves (`bench/micro`, seat-wait).
 */
import { invariant } from "../base/invariant.ts";
import type { Share, ShareClass } from "./share.ts";

/** Somebody who waits, or has waited. */
export class Ticket<T> {
  readonly share: Share;
  readonly item: T;
  /** Where it stands; null when it does no more. */
  user: User<T> | null = null;
  /** Its neighbours among all. */
  before: Ticket<T> | null = null;
  behind: Ticket<T> | null = null;
  /** The next client of the same user, and the one before. */
  nextOfUser: Ticket<T> | null = null;
  previousOfUser: Ticket<T> | null = null;

  constructor(share: Share, item: T) {
    this.share = share;
    this.item = item;
  }
}

/** The waiting clients of a user in a class, in the order of arrival. */
class User<T> {
  readonly line: Line<T>;
  first: Ticket<T> | null = null;
  last: Ticket<T> | null = null;

  constructor(line: Line<T>) {
    this.line = line;
  }
}

class Line<T> {
  readonly of: ShareClass;
  tag: number;
  /** Those who wait, by user, in the order of turns. */
  readonly ring = new Map<Share, User<T>>();

  constructor(of: ShareClass, tag: number) {
    this.of = of;
    this.tag = tag;
  }
}

export class FairQueue<T> {
  readonly #lines: Line<T>[] = [];
  #first: Ticket<T> | null = null;
  #last: Ticket<T> | null = null;
  #size = 0;
  /** The tag of who was served last. */
  #now = 0;

  get size(): number {
    return this.#size;
  }

  /** Who has waited longest. */
  get oldest(): T | undefined {
    return this.#first?.item;
  }

  /** In the order of arrival. */
  *[Symbol.iterator](): IterableIterator<T> {
    for (let ticket = this.#first; ticket !== null; ticket = ticket.behind) yield ticket.item;
  }

  add(share: Share, item: T): Ticket<T> {
    const ticket = new Ticket(share, item);
    const line = this.#lineOf(share.of);
    if (line.ring.size === 0) line.tag = Math.max(line.tag, this.#now);
    let user = line.ring.get(share);
    if (user === undefined) line.ring.set(share, (user = new User(line)));
    ticket.user = user;
    ticket.previousOfUser = user.last;
    if (user.last === null) user.first = ticket;
    else user.last.nextOfUser = ticket;
    user.last = ticket;
    ticket.before = this.#last;
    if (this.#last === null) this.#first = ticket;
    else this.#last.behind = ticket;
    this.#last = ticket;
    this.#size += 1;
    return ticket;
  }

  /** Takes back what was added, wherever it stands; nothing happens if it has gone already. */
  remove(ticket: Ticket<T>): void {
    const { user, before, behind, nextOfUser, previousOfUser } = ticket;
    if (user === null) return;
    ticket.user = null;
    if (before === null) this.#first = behind;
    else before.behind = behind;
    if (behind === null) this.#last = before;
    else behind.before = before;
    if (previousOfUser === null) user.first = nextOfUser;
    else previousOfUser.nextOfUser = nextOfUser;
    if (nextOfUser === null) user.last = previousOfUser;
    else nextOfUser.previousOfUser = previousOfUser;
    this.#size -= 1;
    if (user.first === null) user.line.ring.delete(ticket.share);
    // Whoever still has it keeps nobody else.
    ticket.before = ticket.behind = ticket.nextOfUser = ticket.previousOfUser = null;
  }

  /** Whose turn it is among those whose share `allows`; null if nobody's. */
  next(allows: (share: Share) => boolean = anybody): Ticket<T> | null {
    let best: Ticket<T> | null = null;
    let bestTag = Number.POSITIVE_INFINITY;
    for (const { tag, ring } of this.#lines) {
      if (ring.size === 0 || tag >= bestTag) continue;
      for (const user of ring.values()) {
        if (!allows(user.first!.share)) continue;
        best = user.first;
        bestTag = tag;
        break;
      }
    }
    return best;
  }

  /** Serves who has the turn, as `next` said. */
  take(ticket: Ticket<T>): void {
    const { user, share } = ticket;
    invariant(user !== null, "who is served waits");
    const { line } = user;
    this.#now = Math.max(this.#now, line.tag);
    for (const other of this.#lines) other.tag = Math.max(other.tag, this.#now);
    line.tag += 1 / line.of.weight;
    this.remove(ticket);
    if (line.ring.size === 1 || user.first === null) return;
    line.ring.delete(share); // the others of the class come first now
    line.ring.set(share, user);
  }

  #lineOf(of: ShareClass): Line<T> {
    for (const line of this.#lines) if (line.of === of) return line;
    const line = new Line<T>(of, this.#now);
    this.#lines.push(line);
    return line;
  }
}

const anybody = (): boolean => true;
