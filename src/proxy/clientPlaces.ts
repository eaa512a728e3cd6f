/**
 * The places for clients that this worker has, where limits hold for all workers together: one `PlaceQuota` for each limit
 * that somebody has met.
 */
import type { Fault } from "../base/fault.ts";
import type { Quotas } from "../pool/quota.ts";
import { PlaceQuota } from "./placeQuota.ts";

/** A limit that holds for a client. */
export interface PlaceLimit {
  /** Which one, the same in every worker. */
  readonly key: string;
  readonly max: number;
  /** How many clients of this worker count in it. */
  readonly count: number;
  /** What a client is told whom it keeps out. */
  fault(): Fault;
}

/** How many limits are remembered that nobody meets any more. */
const UNUSED_MAX = 1_000;

export class ClientPlaces {
  readonly #quotas: Quotas;
  readonly #known = new Map<string, PlaceQuota>();

  constructor(quotas: Quotas) {
    this.#quotas = quotas;
  }

  /** Null: there is a place. Else it is to be looked again when it resolves; rejects with a Fault. */
  ask(limits: readonly PlaceLimit[]): Promise<void> | null {
    for (const limit of limits) {
      const asked = this.#of(limit).ask(limit.count);
      if (asked === null) continue;
      return asked.then((mayBe) => {
        if (!mayBe) throw limit.fault();
      });
    }
    return null;
  }

  /** `limits` are others now, or have other counts. */
  note(limits: readonly PlaceLimit[]): void {
    for (const limit of limits) this.#of(limit);
  }

  #of({ key, max, count }: PlaceLimit): PlaceQuota {
    let known = this.#known.get(key);
    if (known === undefined) {
      if (this.#known.size >= UNUSED_MAX) this.#sweep();
      known = new PlaceQuota(this.#quotas, key, max, count);
      this.#known.set(key, known);
    }
    known.resize(max);
    known.hold(count);
    return known;
  }

  #sweep(): void {
    for (const [key, place] of this.#known) {
      if (!place.isUnused) continue;
      this.#known.delete(key);
      place.close();
    }
  }
}
