/** So many at a time, so many more in a queue, and no more. */
export class Turns {
  readonly #atOnceMax: number;
  readonly #queueMax: number;
  readonly #queue: (() => void)[] = [];
  #running = 0;

  constructor(atOnceMax: number, queueMax: number) {
    this.#atOnceMax = atOnceMax;
    this.#queueMax = queueMax;
  }

  /** Does `work` when it is its turn; rejects at once if the queue is full. */
  async take<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#running < this.#atOnceMax) this.#running += 1;
    else if (this.#queue.length >= this.#queueMax) throw new Error("too many wait for their turn");
    else await new Promise<void>((resolve) => this.#queue.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#queue.shift(); // its turn is the one that ends here
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }
}
