// Pure.
/**
 * Plans by statement text, the ones not used lately forgotten first.
 *
 * Two generations: what is used moves to the young one, and when that is full the old one goes. So a hit costs one
 * lookup, and what is kept is bounded in entries and in characters.
 */
import type { Plan } from "./plan.ts";

export class PlanCache {
  hits = 0;
  misses = 0;
  readonly #entriesMax: number;
  readonly #charactersMax: number;
  #young = new Map<string, Plan>();
  #old = new Map<string, Plan>();
  #characters = 0;

  /** Keeps at most `entriesMax` plans, of texts of at most `charactersMax` characters together. */
  constructor(entriesMax: number, charactersMax: number) {
    this.#entriesMax = entriesMax;
    this.#charactersMax = charactersMax;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(text: string): Plan | null {
    const young = this.#young.get(text);
    if (young !== undefined) {
      this.hits += 1;
      return young;
    }
    const old = this.#old.get(text);
    if (old === undefined) {
      this.misses += 1;
      return null;
    }
    this.hits += 1;
    this.#old.delete(text);
    this.set(text, old);
    return old;
  }

  set(text: string, plan: Plan): void {
    if (text.length > this.#charactersMax / 8) return;
    this.#young.set(text, plan);
    this.#characters += text.length;
    if (this.#young.size <= this.#entriesMax / 2 && this.#characters <= this.#charactersMax / 2) return;
    this.#old = this.#young;
    this.#young = new Map();
    this.#characters = 0;
  }
}
