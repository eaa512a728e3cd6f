// Pure.
/**
 * A queue whose elements hold on to each other: nothing is made when one is added, where an array that is emptied again
 * and again makes new room each time.
 */

export interface Link<Self> {
  /** What follows it in its chain; null: nothing yet. */
  next: Self | null;
}

export class Chain<T extends Link<T>> {
  #first: T | null = null;
  #last: T | null = null;

  get first(): T | null {
    return this.#first;
  }

  /** Adds `element`, which is in no chain and has never been in one. */
  push(element: T): void {
    if (this.#last === null) this.#first = element;
    else this.#last.next = element;
    this.#last = element;
  }

  /** Takes the first one out; null if there is none. */
  shift(): T | null {
    const first = this.#first;
    this.#first = first?.next ?? null;
    if (this.#first === null) this.#last = null;
    return first;
  }

  /** Takes all out; the first, from which `next` leads to the others. */
  takeAll(): T | null {
    const first = this.#first;
    this.#first = null;
    this.#last = null;
    return first;
  }
}
