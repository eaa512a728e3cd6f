// Pure.
/**
 * What a server connection still owes, in order: one entry for each ReadyForQuery to come.
 *
 * A shard answers strictly in order, so knowing whose answer comes next is a queue of small numbers. An entry says
 * what happens to the messages of its group: pass them on, keep back the final ReadyForQuery, drop them, or read
 * them here. No entry while messages come means an extended-protocol batch whose Sync is not sent yet; it is the
 * client's, and passed on.
 */
import { invariant } from "../base/invariant.ts";

/** All of it goes to the client. */
export const RELAY = 1;
/** It goes to the client but for ReadyForQuery, which the session says itself. */
export const RELAY_WITHOUT_READY = 2;
/** It is read here and becomes a ControlReply. */
export const CONTROL = 3;

export type ReplyKind = typeof RELAY | typeof RELAY_WITHOUT_READY | typeof CONTROL;

/** What a client's group of replies may be. */
export type ClientGroup = Exclude<ReplyKind, typeof CONTROL>;

const CAPACITY_START = 8;
/** The most requests a client may have sent ahead of their answers. */
export const PIPELINE_MAX = 65_536;

export class ReplyQueue {
  #ring = new Uint8Array(CAPACITY_START);
  #head = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Whether no more requests may be sent ahead. */
  get isFull(): boolean {
    return this.#length >= PIPELINE_MAX;
  }

  /** The kind of the group whose messages come now. */
  get current(): ReplyKind {
    return this.#length === 0 ? RELAY : (this.#ring[this.#head] as ReplyKind);
  }

  /** How many groups of that kind are to come. */
  count(kind: ReplyKind): number {
    let found = 0;
    for (let i = 0; i < this.#length; i += 1) {
      if (this.#ring[(this.#head + i) & (this.#ring.length - 1)] === kind) found += 1;
    }
    return found;
  }

  push(kind: ReplyKind): void {
    if (this.#length === this.#ring.length) this.#grow();
    this.#ring[(this.#head + this.#length) & (this.#ring.length - 1)] = kind;
    this.#length += 1;
  }

  shift(): ReplyKind {
    invariant(this.#length > 0, "a ReadyForQuery answers something that was asked");
    const kind = this.#ring[this.#head] as ReplyKind;
    this.#head = (this.#head + 1) & (this.#ring.length - 1);
    this.#length -= 1;
    return kind;
  }

  #grow(): void {
    const larger = new Uint8Array(this.#ring.length * 2);
    for (let i = 0; i < this.#length; i += 1) {
      larger[i] = this.#ring[(this.#head + i) & (this.#ring.length - 1)]!;
    }
    this.#ring = larger;
    this.#head = 0;
  }
}
