// Pure.
/**
 * Plans by statement text or its hash, the ones not used lately forgotten first.
 *
 * Two generations: what is used moves to the young one, and when that is full the old one goes. So a hit costs one
 * lookup, and what is kept is bounded in entries and in characters.
 */
import type { Plan } from "./plan.ts";

export class PlanCache<Key = string, Value extends object = Plan> {
  hits = 0;
  misses = 0;
  readonly #entriesMax: number;
  readonly #charactersMax: number;
  readonly #charactersOf: (key: Key, value: Value) => number;
  #young = new Map<Key, Value>();
  #old = new Map<Key, Value>();
  #characters = 0;

  /** Keeps at most `entriesMax` plans, of texts of at most `charactersMax` characters together. */
  constructor(
    entriesMax: number,
    charactersMax: number,
    charactersOf: (key: Key, value: Value) => number = (key) => String(key).length,
  ) {
    this.#entriesMax = entriesMax;
    this.#charactersMax = charactersMax;
    this.#charactersOf = charactersOf;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(key: Key): Value | null {
    const young = this.#young.get(key);
    if (young !== undefined) {
      this.hits += 1;
      return young;
    }
    const old = this.#old.get(key);
    if (old === undefined) {
      this.misses += 1;
      return null;
    }
    this.hits += 1;
    this.#old.delete(key);
    this.set(key, old);
    return old;
  }

  set(key: Key, value: Value): void {
    const characters = this.#charactersOf(key, value);
    if (characters > this.#charactersMax / 8) return;
    this.#young.set(key, value);
    this.#characters += characters;
    if (this.#young.size <= this.#entriesMax / 2 && this.#characters <= this.#charactersMax / 2) return;
    this.#old = this.#young;
    this.#young = new Map();
    this.#characters = 0;
  }
}
