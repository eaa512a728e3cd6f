// Pure.
/** What came of the worlds of a run, added up. */
import type { Simulated } from "./simulation.ts";

export class Tally {
  worlds = 0;
  steps = 0;
  readonly #outcomes = new Map<string, number>();
  readonly #faults = new Map<string, number>();
  readonly #logs = new Map<string, number>();

  add({ log, steps, outcomes, faults }: Simulated): void {
    this.worlds += 1;
    this.steps += steps;
    count(this.#logs, log, 1);
    for (const [outcome, times] of Object.entries(outcomes)) count(this.#outcomes, outcome, times);
    for (const [fault, times] of Object.entries(faults)) count(this.#faults, fault, times ?? 0);
  }

  get transactions(): number {
    return sum(this.#outcomes);
  }

  words(): string {
    const list = (counts: ReadonlyMap<string, number>): string =>
      [...counts].map(([name, times]) => `${times} ${NAMES[name] ?? name}`).join(", ");
    return [
      `${this.transactions} transactions in ${this.worlds} worlds (${list(this.#logs)}), ${this.steps} steps`,
      `outcomes: ${list(this.#outcomes)}`,
      `faults: ${list(this.#faults)}`,
    ].join("\n  ");
  }
}

const NAMES: Readonly<Record<string, string>> = {
  file: "with the file log",
  shard: "with the shard log",
  unheard: "whose client heard nothing, since its pgxa died",
  crash: "crashes of pgxa",
  shardCrash: "crashes of shards",
  failover: "failovers that lost what was prepared",
  loss: "connections lost",
  duplicate: "statements executed twice",
  expiry: "leases over before their time",
};

function count(counts: Map<string, number>, name: string, times: number): void {
  counts.set(name, (counts.get(name) ?? 0) + times);
}

const sum = (counts: ReadonlyMap<string, number>): number => [...counts.values()].reduce((a, b) => a + b, 0);
