/**
 * Connections on their way in. One that has not proved who it is may have to give way to a new one: the oldest of the
 * address that has the most, so that whoever holds connections open without a word harms nobody but its own. One that
 * has is not touched any more; those and the clients together have a limit of their own (`clients_max`).
 *
 * Guests stand in chains and in no map: the tables that a map leaves behind as it grows and shrinks would keep in memory
 * whoever was in them until the next full collection.
 */
import { originOf } from "./auth/address.ts";

export interface RoomLimits {
  readonly handshakesMax: number;
  readonly handshakesPerAddressMax: number;
}

/** So many origins are remembered of which nobody is there: who was there comes again. */
const CROWDS_KEPT = 100;

/** Whoever can be in a room, in one at a time. */
export interface Guest<Self extends Guest<Self>> {
  /** Where it stands; null: not in a room. */
  berth: Berth<Self> | null;
}

interface Berth<Self extends Guest<Self>> {
  readonly guest: Self;
  readonly crowd: Crowd<Self>;
  older: Berth<Self> | null;
  newer: Berth<Self> | null;
}

/** Guests in the order in which they came. */
class Crowd<Self extends Guest<Self>> {
  readonly origin: string;
  size = 0;
  #oldest: Berth<Self> | null = null;
  #newest: Berth<Self> | null = null;

  constructor(origin: string) {
    this.origin = origin;
  }

  get oldest(): Self | undefined {
    return this.#oldest?.guest;
  }

  *[Symbol.iterator](): IterableIterator<Self> {
    for (let berth = this.#oldest; berth !== null; berth = berth.newer) yield berth.guest;
  }

  add(guest: Self): void {
    const berth: Berth<Self> = { guest, crowd: this, older: this.#newest, newer: null };
    if (this.#newest === null) this.#oldest = berth;
    else this.#newest.newer = berth;
    this.#newest = berth;
    this.size += 1;
    guest.berth = berth;
  }

  remove(berth: Berth<Self>): void {
    const { older, newer } = berth;
    if (older === null) this.#oldest = newer;
    else older.newer = newer;
    if (newer === null) this.#newest = older;
    else newer.older = older;
    berth.older = null;
    berth.newer = null;
    this.size -= 1;
    berth.guest.berth = null;
  }
}

export class HandshakeRoom<Self extends Guest<Self>> {
  /** Strangers by origin. */
  readonly #strangers = new Map<string, Crowd<Self>>();
  #strangerCount = 0;
  readonly #proven = new Crowd<Self>("");

  /** How many have proved who they are and are not clients yet. */
  get provenCount(): number {
    return this.#proven.size;
  }

  /** How many are in. */
  get count(): number {
    return this.#strangerCount + this.#proven.size;
  }

  /** All that are in. */
  get guests(): readonly Self[] {
    return [...this.#strangers.values(), this.#proven].flatMap((crowd) => [...crowd]);
  }

  /** Takes a stranger in; who has to give way for it, if somebody has to, is told `onGiveWay` and is out. */
  enter(guest: Self, address: string, limits: RoomLimits, onGiveWay: (other: Self) => void): void {
    const origin = originOf(address);
    const crowd = this.#strangers.get(origin);
    const isCrowded = crowd !== undefined && crowd.size >= limits.handshakesPerAddressMax;
    const isFull = this.#strangerCount >= limits.handshakesMax;
    const oldest = (isCrowded ? crowd : isFull ? this.#largestCrowd() : undefined)?.oldest;
    if (oldest !== undefined) {
      this.leave(oldest);
      onGiveWay(oldest);
    }
    let fellows = this.#strangers.get(origin);
    if (fellows === undefined) {
      fellows = new Crowd(origin);
      this.#strangers.set(origin, fellows);
    }
    fellows.add(guest);
    this.#strangerCount += 1;
  }

  /** It has proved who it is. */
  prove(guest: Self): void {
    if (guest.berth === null) return;
    this.leave(guest);
    this.#proven.add(guest);
  }

  leave(guest: Self): void {
    const { berth } = guest;
    if (berth === null) return;
    const { crowd } = berth;
    crowd.remove(berth);
    if (crowd === this.#proven) return;
    this.#strangerCount -= 1;
    if (crowd.size === 0 && this.#strangers.size > CROWDS_KEPT) this.#strangers.delete(crowd.origin);
  }

  #largestCrowd(): Crowd<Self> | undefined {
    let largest: Crowd<Self> | undefined;
    for (const crowd of this.#strangers.values()) if (crowd.size > (largest?.size ?? 0)) largest = crowd;
    return largest;
  }
}
