// Pure.
/** The last deadlocks of all workers, with numbers of their own: each worker counts its own from 1. */
import { type DeadlockRecord, HISTORY_MAX } from "../../deadlock/history.ts";

export class DeadlockBook {
  /** The last that was heard of each worker. */
  readonly #heard = new WeakMap<object, number>();
  #records: readonly DeadlockRecord[] = [];
  #next = 1;

  /** Takes what `worker` has by now; what came first comes first. */
  hear(told: readonly (readonly [worker: object, records: readonly DeadlockRecord[]])[]): void {
    const fresh = told.flatMap(([worker, records]) => {
      const heard = this.#heard.get(worker) ?? 0;
      this.#heard.set(worker, Math.max(heard, ...records.map(({ id }) => id)));
      return records.filter(({ id }) => id > heard);
    });
    const numbered = fresh.sort((a, b) => a.atMs - b.atMs).map((one) => ({ ...one, id: this.#next++ }));
    this.#records = [...this.#records, ...numbered].slice(-HISTORY_MAX);
  }

  /** The oldest first. */
  get records(): readonly DeadlockRecord[] {
    return this.#records;
  }
}
