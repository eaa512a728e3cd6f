/** Random bytes that are asked for in advance: a question to the system for each client's key costs more than the key. */
import type { Randomness } from "./environment.ts";

const POOL_BYTES = 4_096;
/** Longer ones are asked for one by one. */
const POOLED_BYTES_MAX = 64;

export class RandomPool {
  readonly #random: Randomness;
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;

  constructor(random: Randomness) {
    this.#random = random;
  }

  /** `count` bytes that nobody else has or gets; they are in no other place. */
  bytes(count: number): Uint8Array {
    if (count > POOLED_BYTES_MAX) return this.#random.bytes(count);
    if (count > this.#bytes.length - this.#at) {
      this.#bytes = this.#random.bytes(POOL_BYTES);
      this.#at = 0;
    }
    const from = this.#at;
    this.#at += count;
    const taken = new Uint8Array(this.#bytes.subarray(from, this.#at)); // a Buffer's slice would be no copy
    this.#bytes.fill(0, from, this.#at);
    return taken;
  }
}
