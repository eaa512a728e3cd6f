// Pure.
/**
 * A set that has one element most of the time, and is emptied again and again.
 *
 * That one stands by itself: a Set that is cleared makes a new table each time.
 */
export class SmallSet<T extends object> {
  #one: T | null = null;
  #others: Set<T> | null = null;

  get size(): number {
    return (this.#one === null ? 0 : 1) + (this.#others?.size ?? 0);
  }

  add(element: T): void {
    if (this.#one === null) this.#one = element;
    else if (this.#one !== element) {
      this.#others ??= new Set();
      this.#others.add(element);
    }
  }

  clear(): void {
    this.#one = null;
    this.#others = null;
  }

  /** In the order in which they were added. */
  *[Symbol.iterator](): IterableIterator<T> {
    if (this.#one !== null) yield this.#one;
    if (this.#others !== null) yield* this.#others;
  }
}
