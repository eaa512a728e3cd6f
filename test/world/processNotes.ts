/**
 * What a simulated process was seen to do inside: what its log said, and what its parts told each other. It is for the
 * fingerprint, and for the invariants on what must be reported.
 */
import type { Gtrid } from "../../src/base/brands.ts";
import { type Log, type LogEvent, silentLog } from "../../src/observe/log.ts";
import type { Resolver } from "../../src/txn/resolver.ts";

type Fields = Readonly<Record<string, unknown>>;

export interface Noted {
  readonly event: LogEvent;
  readonly fields: Fields;
}

export class ProcessNotes {
  /** Since the start of the process. */
  readonly said: Noted[] = [];
  readonly #applied = new Set<string>();
  /** How many backends are still to be ended, by shard. */
  readonly #fences = new Map<string, number>();
  readonly #wakes: string[] = [];
  #expired = 0;

  readonly log: Log = {
    ...silentLog,
    info: (event, fields = {}) => this.#note(event, fields as Fields),
    warn: (event, fields = {}) => this.#note(event, fields as Fields),
    error: (event, fields = {}) => this.#note(event, fields as Fields),
  };

  #note(event: LogEvent, fields: Fields): void {
    this.said.push({ event, fields });
    if (event === "branch.fenced") this.#countFence(String(fields["shard"]), -1);
    if (event === "owner.expired") this.#expired += 1;
  }

  #countFence(shard: string, by: number): void {
    const left = (this.#fences.get(shard) ?? 0) + by;
    if (left === 0) this.#fences.delete(shard);
    else this.#fences.set(shard, left);
  }

  /** Listens to what the resolver is told. */
  watch(resolver: Resolver): void {
    const { fence, wake, noteApplied } = resolver;
    resolver.fence = (shard, pid, start) => {
      this.#countFence(shard, 1);
      fence.call(resolver, shard, pid, start);
    };
    resolver.wake = (shard) => {
      this.#wakes.push(shard);
      wake.call(resolver, shard);
    };
    resolver.noteApplied = (transaction: Gtrid, shard) => {
      this.#applied.add(`${transaction}@${shard}`);
      noteApplied.call(resolver, transaction, shard);
    };
  }

  /** Whether every backend that was to be ended has been. */
  get areFencesDone(): boolean {
    return this.#fences.size === 0;
  }

  forgetWakes(): void {
    this.#wakes.length = 0;
  }

  fingerprint(): string {
    const fences = [...this.#fences].map(([shard, count]) => `${shard}:${count}`).sort();
    return `${[...this.#applied].sort()};${fences};${[...this.#wakes].sort()};${this.#expired}`;
  }
}
