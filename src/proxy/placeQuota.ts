/**
 * Places for clients of one kind (all, of a user, of a database, from an address), as far as this worker may have them.
 *
 * Clients stay, so whoever wants in when this worker has no place left is told by the parent whether there is another.
 */
import type { Quota, QuotaHolder, Quotas } from "../pool/quota.ts";

export class PlaceQuota implements QuotaHolder {
  readonly #quota: Quota;
  #held: number;
  #max: number;
  /** Those who are told whether there may be another place. */
  #asking: ((mayBe: boolean) => void)[] = [];

  constructor(quotas: Quotas, key: string, max: number, held: number) {
    this.#held = held;
    this.#max = max;
    this.#quota = quotas.open({ key, max, isLasting: true, holder: this });
  }

  get isUnused(): boolean {
    return this.#held === 0 && this.#asking.length === 0;
  }

  hold(count: number): void {
    this.#held = count;
    if (count > this.#quota.limit) this.#quota.want(count); // they were brought along
  }

  resize(max: number): void {
    if (max === this.#max) return;
    this.#max = max;
    this.#quota.resize(max, 0);
  }

  /** Null: there is a place when `count` are taken; else whether to look again is told later. */
  ask(count: number): Promise<boolean> | null {
    if (count < this.#quota.limit) return null;
    return new Promise((resolve) => {
      this.#asking.push(resolve);
      this.#quota.want(count + this.#asking.length);
    });
  }

  close(): void {
    this.#quota.close();
    for (const tell of this.#asking.splice(0)) tell(true);
  }

  // --- QuotaHolder ---

  get held(): number {
    return this.#held;
  }

  get used(): number {
    return this.#held;
  }

  onLimit(): void {
    const { limit, isFull } = this.#quota;
    const count = isFull ? this.#asking.length : Math.max(0, limit - this.#held);
    for (const [i, tell] of this.#asking.splice(0, count).entries()) tell(this.#held + i < limit);
  }
}
