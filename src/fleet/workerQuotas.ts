/**
 * What this worker may have of what all workers share, as its parent grants it.
 *
 * The parent is told when there is use for more than was granted, when for some time there has been use for less, and in
 * answer to each grant. Nothing is said per statement, nor anything at all while what was granted is enough.
 */
import type { Clock, Timer } from "../base/environment.ts";
import type { Quota, QuotaHolder, QuotaRequest, Quotas } from "../pool/quota.ts";
import type { Membership } from "./crew.ts";
import { type GrantedQuota, QUOTA_GIVEN_UP, QUOTA_GRANTED, QUOTA_REPORTED } from "./quotaTopics.ts";

/** How long wishes that grow are gathered after one was told, in ms. */
const GATHER_MS = 2;
/** How often it is looked whether there is use for less, in ms; it is told the second time. */
const SWEEP_INTERVAL_MS = 1_000;

export class WorkerQuotas implements Quotas {
  readonly #membership: Membership;
  readonly #clock: Clock;
  readonly #claims = new Map<number, Claim>();
  #nextId = 1;
  #sweepTimer: Timer | null = null;

  constructor(membership: Membership, clock: Clock) {
    this.#membership = membership;
    this.#clock = clock;
    membership.parent.serve(QUOTA_GRANTED, (grant) => this.#claims.get(grant.claim)?.take(grant));
  }

  open(request: QuotaRequest): Quota {
    const id = this.#nextId++;
    const claim = new Claim(id, request, this.#membership.parent, this.#clock, () => this.#claims.delete(id));
    this.#claims.set(id, claim);
    claim.tell();
    this.#sweepTimer ??= this.#scheduleSweep();
    return claim;
  }

  split(total: number): number {
    const { index, size } = this.#membership;
    return Math.floor(total / size) + (index < total % size ? 1 : 0);
  }

  stop(): void {
    this.#sweepTimer?.cancel();
    for (const claim of [...this.#claims.values()]) claim.close();
  }

  #scheduleSweep(): Timer {
    return this.#clock.after(SWEEP_INTERVAL_MS, () => {
      for (const claim of this.#claims.values()) claim.sweep();
      this.#sweepTimer = this.#claims.size === 0 ? null : this.#scheduleSweep();
    });
  }
}

class Claim implements Quota {
  readonly #id: number;
  readonly #parent: Membership["parent"];
  readonly #clock: Clock;
  readonly #onClosed: () => void;
  readonly #key: string;
  readonly #isLasting: boolean;
  readonly #holder: QuotaHolder;
  #max: number;
  #least: number;
  limit = 0;
  isFull = false;
  /** Of the last grant. */
  #serial = 0;
  /** The most there was use for since the last sweep, and between that and the one before. */
  #wanted = 0;
  #wantedBefore = 0;
  /** What the parent was told last. */
  #toldNeed = 0;
  #toldHeld = 0;
  #gathering: Timer | null = null;
  #isClosed = false;

  constructor(
    id: number,
    { key, max, least = 0, isLasting = false, holder }: QuotaRequest,
    parent: Membership["parent"],
    clock: Clock,
    onClosed: () => void,
  ) {
    this.#id = id;
    this.#key = key;
    this.#max = max;
    this.#least = least;
    this.#isLasting = isLasting;
    this.#holder = holder;
    this.#parent = parent;
    this.#clock = clock;
    this.#onClosed = onClosed;
  }

  want(count: number): void {
    const need = this.#bounded(count);
    if (need > this.#wanted) this.#wanted = need;
    if (need <= this.#toldNeed || this.#gathering !== null || this.#isClosed) return;
    this.tell();
    this.#gathering = this.#clock.after(GATHER_MS, () => {
      this.#gathering = null;
      if (this.#wanted > this.#toldNeed) this.want(this.#wanted);
    });
  }

  settle(): void {
    if (this.#toldHeld <= this.limit) return;
    if (this.#holder.held < this.#toldHeld) this.tell();
  }

  resize(max: number, least: number): void {
    if (max === this.#max && least === this.#least) return;
    this.#max = max;
    this.#least = least;
    this.tell();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#gathering?.cancel();
    this.limit = 0;
    this.#onClosed();
    this.#parent.tell(QUOTA_GIVEN_UP, { claim: this.#id });
  }

  /** What the parent grants. */
  take({ granted, serial, isFull }: GrantedQuota): void {
    this.#serial = serial;
    this.limit = this.#isLasting ? Math.max(granted, this.#holder.held) : granted;
    this.isFull = isFull;
    if (isFull || (this.#isLasting && this.limit >= this.#wanted)) this.#wanted = 0;
    this.#holder.onLimit();
    this.isFull = false;
    this.tell();
  }

  /** Looks whether there has been use for less for a while. */
  sweep(): void {
    if (this.#isLasting) return; // what it has left is asked for when somebody needs it
    const used = Math.min(this.#max, Math.max(this.#wanted, this.#holder.used, this.#least));
    const need = Math.max(used, this.#wantedBefore);
    this.#wantedBefore = used;
    this.#wanted = 0;
    if (need < this.#toldNeed || need > Math.max(this.limit, this.#toldNeed)) this.#tellNeed(need);
  }

  /** Says how it is. */
  tell(): void {
    const { held, used } = this.#holder;
    const wanted = this.#isLasting ? held : Math.max(used, this.#wantedBefore, this.#least);
    this.#tellNeed(this.#bounded(Math.max(this.#wanted, wanted)));
  }

  /** Who keeps what it holds asks for more than there is, and is told that there are no more. */
  #bounded(count: number): number {
    return this.#isLasting ? count : Math.min(count, this.#max);
  }

  #tellNeed(need: number): void {
    if (this.#isClosed) return;
    const { held } = this.#holder;
    if (this.#isLasting) this.limit = Math.max(this.limit, held);
    this.#toldNeed = need;
    this.#toldHeld = held;
    this.#parent.tell(QUOTA_REPORTED, {
      claim: this.#id,
      key: this.#key,
      isLasting: this.#isLasting,
      max: this.#max,
      need,
      held,
      seen: this.#serial,
    });
  }
}
