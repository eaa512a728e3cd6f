/**
 * Connections on their way in. One that has not proved who it is may have to give way to a new one: the oldest of the
 * address that has the most, so that whoever holds connections open without a word harms nobody but its own. One that
 * has is not touched any more; those and the clients together have a limit of their own (`clients_max`).
 */
import { originOf } from "./auth/address.ts";

export interface RoomLimits {
  readonly handshakesMax: number;
  readonly handshakesPerAddressMax: number;
}

export class HandshakeRoom<Guest> {
  /** Strangers by origin, each origin's oldest first. */
  readonly #strangers = new Map<string, Set<Guest>>();
  readonly #origins = new Map<Guest, string>();
  readonly #proven = new Set<Guest>();

  /** How many have proved who they are and are not clients yet. */
  get provenCount(): number {
    return this.#proven.size;
  }

  /** How many are in. */
  get count(): number {
    return this.#origins.size + this.#proven.size;
  }

  /** All that are in. */
  get guests(): readonly Guest[] {
    return [...this.#origins.keys(), ...this.#proven];
  }

  /** Takes a stranger in; who has to give way for it, if somebody has to, is told `onGiveWay` and is out. */
  enter(guest: Guest, address: string, limits: RoomLimits, onGiveWay: (other: Guest) => void): void {
    const origin = originOf(address);
    const crowd = this.#strangers.get(origin);
    const isCrowded = crowd !== undefined && crowd.size >= limits.handshakesPerAddressMax;
    const isFull = this.#origins.size >= limits.handshakesMax;
    const from = isCrowded ? crowd : isFull ? this.#largestCrowd() : undefined;
    const [oldest] = from ?? [];
    if (oldest !== undefined) {
      this.leave(oldest);
      onGiveWay(oldest);
    }
    this.#origins.set(guest, origin);
    const fellows = this.#strangers.get(origin);
    if (fellows === undefined) this.#strangers.set(origin, new Set([guest]));
    else fellows.add(guest);
  }

  /** It has proved who it is. */
  prove(guest: Guest): void {
    if (!this.#origins.has(guest)) return;
    this.leave(guest);
    this.#proven.add(guest);
  }

  leave(guest: Guest): void {
    this.#proven.delete(guest);
    const origin = this.#origins.get(guest);
    if (origin === undefined) return;
    this.#origins.delete(guest);
    const crowd = this.#strangers.get(origin)!;
    crowd.delete(guest);
    if (crowd.size === 0) this.#strangers.delete(origin);
  }

  #largestCrowd(): Set<Guest> | undefined {
    let largest: Set<Guest> | undefined;
    for (const crowd of this.#strangers.values()) if (crowd.size > (largest?.size ?? 0)) largest = crowd;
    return largest;
  }
}
