// Pure.
/** Epochs, as ranges. Starts are far apart, so that a range is usually one epoch. */

export type EpochRange = readonly [from: number, to: number];

/** More starts than this nobody looks back on: the oldest go. */
const RANGES_MAX = 4_096;

export class EpochSet {
  #ranges: EpochRange[] = [];

  /** Ascending, apart from each other. */
  get ranges(): readonly EpochRange[] {
    return this.#ranges;
  }

  has(epoch: number): boolean {
    return this.#ranges.some(([from, to]) => from <= epoch && epoch <= to);
  }

  add(from: number, to: number): void {
    const touching = this.#ranges.filter((range) => range[0] <= to + 1 && range[1] >= from - 1);
    const merged: EpochRange = [
      Math.min(from, ...touching.map((range) => range[0])),
      Math.max(to, ...touching.map((range) => range[1])),
    ];
    const others = this.#ranges.filter((range) => !touching.includes(range));
    this.#ranges = [...others, merged].sort((a, b) => a[0] - b[0]).slice(-RANGES_MAX);
  }

  clear(): void {
    this.#ranges = [];
  }
}
