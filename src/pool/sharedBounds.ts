/**
 * The bounds of classes and users in a pool that several workers share (`connections_max`, `pool_max` of a user): how much of
 * each this worker may have. A bound is known once somebody it holds for has come.
 */
import type { Quota, QuotaHolder, Quotas } from "./quota.ts";
import type { Share } from "./share.ts";

export class SharedBounds {
  readonly #quotas: Quotas;
  readonly #key: string;
  readonly #known = new Map<string, Bound>();
  /** Somebody may be allowed more now. */
  onMore: () => void = () => {};

  /** `key`: that of the pool. */
  constructor(quotas: Quotas, key: string) {
    this.#quotas = quotas;
    this.#key = key;
  }

  /** Whether one more is within bounds; if not, it is asked for. */
  allows({ of, user, userMax }: Share): boolean {
    if (of.connectionsMax < Infinity && !this.#of("class", of.name, of.connectionsMax).allowsOne())
      return false;
    return userMax === Infinity || this.#of("user", user, userMax).allowsOne();
  }

  count({ of, user, userMax }: Share, by: 1 | -1): void {
    if (of.connectionsMax < Infinity) this.#of("class", of.name, of.connectionsMax).count(by);
    if (userMax < Infinity) this.#of("user", user, userMax).count(by);
  }

  close(): void {
    for (const bound of this.#known.values()) bound.close();
    this.#known.clear();
  }

  #of(kind: "class" | "user", name: string, max: number): Bound {
    // Who came before a bound was changed keeps to the old one, and is counted there.
    const key = `${this.#key} ${kind} ${max} ${name}`;
    let bound = this.#known.get(key);
    if (bound === undefined) {
      bound = new Bound(this.#quotas, key, max, () => this.onMore());
      this.#known.set(key, bound);
    }
    return bound;
  }
}

class Bound implements QuotaHolder {
  readonly #quota: Quota;
  readonly #onMore: () => void;
  held = 0;

  constructor(quotas: Quotas, key: string, max: number, onMore: () => void) {
    this.#onMore = onMore;
    this.#quota = quotas.open({ key, max, holder: this });
  }

  get used(): number {
    return this.held;
  }

  allowsOne(): boolean {
    if (this.held < this.#quota.limit) return true;
    this.#quota.want(this.held + 1);
    return false;
  }

  count(by: 1 | -1): void {
    this.held += by;
    if (by < 0) this.#quota.settle();
  }

  onLimit(): void {
    this.#onMore();
  }

  close(): void {
    this.#quota.close();
  }
}
