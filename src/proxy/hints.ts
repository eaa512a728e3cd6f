/**
 * The settings that are pgxa's own: where the client's statements go (`pgxa.shard`, `pgxa.key`), and how it fares where
 * transactions wait for each other (`pgxa.lock_timeout`, `pgxa.deadlock_priority`).
 *
 * They behave like any setting: SET LOCAL ends with the transaction, and a rollback undoes what was set in it.
 * `pgxa.shard` is stronger than `pgxa.key`; a hint in the statement's own text is stronger than both.
 */
import type { OwnSetting, ShardIndex } from "../routing/plan.ts";

export type HintName = OwnSetting;

export interface Hint {
  /** As it was set; what SHOW says. */
  readonly value: string;
  /** Where it points to; null for one that points nowhere. */
  readonly shard: ShardIndex | null;
  /** A duration in ms, a rank, or 1 for on and 0 for off; null for one that is none of these. */
  readonly amount: number | null;
}

type Settings = Readonly<Partial<Record<HintName, Hint | null>>>;

export class Hints {
  #session: Settings = {};
  #local: Settings = {};
  #atBegin: Settings = {};

  /** The shard that is hinted at, or null. */
  get shard(): ShardIndex | null {
    return (this.get("pgxa.shard") ?? this.get("pgxa.key"))?.shard ?? null;
  }

  get(name: HintName): Hint | null {
    const local = this.#local[name];
    return local === undefined ? (this.#session[name] ?? null) : local;
  }

  /** What stands for the session, by name; outside a transaction. */
  get state(): readonly (readonly [name: HintName, value: string])[] {
    const entries = Object.entries(this.#session) as [HintName, Hint | null][];
    return entries.flatMap(([name, hint]) => (hint === null ? [] : [[name, hint.value] as const]));
  }

  set(name: HintName, hint: Hint | null, isLocal: boolean): void {
    if (isLocal) this.#local = { ...this.#local, [name]: hint };
    else this.#session = { ...this.#session, [name]: hint };
  }

  begin(): void {
    this.#atBegin = this.#session;
  }

  end(isCommitted: boolean): void {
    this.#local = {};
    if (!isCommitted) this.#session = this.#atBegin;
  }

  clear(): void {
    this.#session = {};
    this.#local = {};
  }
}
