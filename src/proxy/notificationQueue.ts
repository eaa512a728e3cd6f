// Pure.
/**
 * What one client has still to be told of its channels, in the order in which the shard committed it.
 *
 * What the client notified itself comes twice: here, from the hub, and from its own server connection, in its place
 * among the answers. The one from the connection is told; the one here is the mark up to which all others come first
 * (`cut`). If the connection never tells it, it is told from here. Of own ones beyond a limit only the mark is kept where
 * the connection is known to listen: how much one transaction notifies is the client's affair, and the shard holds it.
 */

/** How much is kept of what the client notified itself. */
const OWN_BYTES_MAX = 1024 * 1024;
/** What a mark without its message counts for. */
const MARK_BYTES = 64;
/** Where channel and payload begin in a NotificationResponse: behind its type, its length and the process id. */
const WORDS_START = 9;
const SHIFT_MIN = 1024;

/** Who tells it: the hub; the client's own connection too, perhaps; or surely, for it listens. */
export type Teller = "hub" | "either" | "connection";

export interface Waiting {
  /** The channel of a shard. */
  readonly key: string;
  /** Null in a mark for own ones. */
  readonly message: Buffer | null;
  readonly teller: Teller;
  /** How many a mark stands for. */
  count: number;
}

/** Whether two tell the same, whoever is said to have notified it. */
export const isSame = (one: Buffer, other: Buffer): boolean =>
  one.compare(other, WORDS_START, other.length, WORDS_START, one.length) === 0;

const bytesOf = ({ message }: Waiting): number => message?.length ?? MARK_BYTES;

export class NotificationQueue {
  #all: Waiting[] = [];
  /** Before it all are told. */
  #from = 0;
  #bytes = 0;

  get isEmpty(): boolean {
    return this.#from === this.#all.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  push(key: string, message: Buffer, teller: Teller): void {
    const isMark = teller === "connection" && this.#bytes > OWN_BYTES_MAX;
    const last = this.isEmpty ? undefined : this.#all.at(-1);
    if (isMark && last?.message === null && last.key === key) last.count += 1;
    else this.#add({ key, message: isMark ? null : message, teller, count: 1 });
  }

  #add(one: Waiting): void {
    this.#all.push(one);
    this.#bytes += bytesOf(one);
  }

  /** Takes out what comes before `own`, and `own` itself; null: it is not here. */
  cut(key: string, own: Buffer): readonly Waiting[] | null {
    for (let i = this.#from; i < this.#all.length; i += 1) {
      const one = this.#all[i]!;
      if (one.teller === "hub" || one.key !== key || (one.message !== null && !isSame(one.message, own)))
        continue;
      const before = this.#all.slice(this.#from, i);
      one.count -= 1;
      this.#from = one.count === 0 ? i + 1 : i;
      for (const told of before) this.#bytes -= bytesOf(told);
      if (one.count === 0) this.#bytes -= bytesOf(one);
      this.#shift();
      return before;
    }
    return null;
  }

  /** Takes out everything. */
  take(): readonly Waiting[] {
    const all = this.#all.slice(this.#from);
    this.keep(() => false);
    return all;
  }

  /** Keeps those for which `isKept` says so. */
  keep(isKept: (key: string) => boolean): void {
    this.#all = this.#all.slice(this.#from).filter(({ key }) => isKept(key));
    this.#from = 0;
    this.#bytes = this.#all.reduce((bytes, one) => bytes + bytesOf(one), 0);
  }

  #shift(): void {
    if (this.#from < SHIFT_MIN || 2 * this.#from < this.#all.length) return;
    this.#all = this.#all.slice(this.#from);
    this.#from = 0;
  }
}
