// Pure.
/**
 * Who may hold how much of one thing that is kept for long: the places of clients.
 *
 * Nobody can give back what it holds, but only what it was granted and does not hold. Whoever needs more than it was granted
 * gets what is free; if that is not enough the others are asked in a *round* to give back what they have left. When all
 * have answered and there is still too little, those who asked are told that there is no more: then each holds all it was
 * granted.
 *
 * Invariant: as in quotaBroker.ts.
 */
import {
  changed,
  freeOf,
  type Grant,
  grantedOf,
  isPending,
  maxOf,
  newClaim,
  type QuotaClaim,
  type QuotaReport,
  take,
} from "./quotaClaim.ts";

export class LastingBroker<Claimant> {
  /** How many claimants are expected. */
  readonly #size: number;
  readonly #claims = new Map<Claimant, QuotaClaim>();
  /** Who asked for more before the round that is under way. */
  readonly #askers = new Set<Claimant>();
  /** Who has to answer in it. */
  readonly #asked = new Set<Claimant>();
  readonly needsTurns = false;
  /** Whether more may be granted since the last round than there is: the maximum is lower, or somebody brought some along. */
  #isOverdrawn = false;

  constructor(size: number) {
    this.#size = size;
  }

  get isEmpty(): boolean {
    return this.#claims.size === 0;
  }

  report(claimant: Claimant, report: QuotaReport): readonly Grant<Claimant>[] {
    const known = this.#claims.get(claimant);
    const claim = known ?? newClaim();
    const max = maxOf(this.#claims);
    const { bound } = claim;
    this.#claims.set(claimant, claim);
    take(claim, report);
    claim.need = report.need; // beyond the maximum, too: then it is to be told that there are no more
    if (maxOf(this.#claims) < max || report.held > bound) this.#isOverdrawn = true;
    const before = grantedOf(this.#claims);
    if (!isPending(claim)) {
      claim.granted = claim.bound; // it keeps what it holds
      before.set(claimant, claim.granted); // as it knows
      this.#asked.delete(claimant);
    }
    return this.#go(before, known === undefined ? claim : null);
  }

  leave(claimant: Claimant): readonly Grant<Claimant>[] {
    if (!this.#claims.delete(claimant)) return [];
    this.#askers.delete(claimant);
    this.#asked.delete(claimant);
    return this.#go(grantedOf(this.#claims), null);
  }

  rotate(): readonly Grant<Claimant>[] {
    return [];
  }

  // --- inside ---

  #go(before: ReadonlyMap<Claimant, number>, newcomer: QuotaClaim | null): readonly Grant<Claimant>[] {
    const full = new Set<Claimant>();
    this.#giveFree(newcomer);
    if (this.#asked.size === 0) {
      this.#endRound(full);
      this.#startRound();
      if (this.#asked.size === 0) this.#endRound(full); // nobody has anything to give back
    }
    return changed(this.#claims, before, full, this.#asked);
  }

  /** What is free to those who need it, with some more while there is enough, so that they need not ask for each. */
  #giveFree(newcomer: QuotaClaim | null): void {
    const share = Math.floor(maxOf(this.#claims) / Math.max(this.#size, this.#claims.size));
    for (const claim of this.#claims.values()) {
      if (claim.need > claim.granted) this.#raise(claim, claim.need);
    }
    for (const claim of this.#claims.values()) if (claim.need > claim.granted) return;
    for (const claim of this.#claims.values()) {
      if (claim === newcomer) this.#raise(claim, Math.max(share, claim.need));
      else if (claim.need > 0 && claim.need === claim.granted) {
        this.#raise(claim, claim.need + Math.floor(share / 4));
      }
    }
  }

  #raise(claim: QuotaClaim, upTo: number): void {
    const beyond = Math.max(0, Math.min(upTo - claim.bound, freeOf(this.#claims)));
    const granted = Math.min(upTo, claim.bound + beyond);
    if (granted <= claim.granted) return;
    claim.granted = granted;
    claim.bound = Math.max(claim.bound, granted);
  }

  #startRound(): void {
    let missing = 0;
    for (const [claimant, { need, granted }] of this.#claims) {
      if (need <= granted) continue;
      this.#askers.add(claimant);
      missing += need - granted;
    }
    if (missing === 0 && !this.#isOverdrawn) return;
    missing += Math.max(0, -freeOf(this.#claims));
    this.#isOverdrawn = false;
    for (const [claimant, claim] of this.#claims) {
      if (missing === 0 || this.#askers.has(claimant) || claim.granted === 0) continue;
      this.#asked.add(claimant);
      claim.granted = Math.max(0, claim.granted - missing);
    }
  }

  /** Those who asked have what there is. */
  #endRound(full: Set<Claimant>): void {
    for (const claimant of this.#askers) {
      const claim = this.#claims.get(claimant)!;
      if (claim.need <= claim.granted) continue;
      claim.need = claim.granted;
      full.add(claimant);
    }
    this.#askers.clear();
  }
}
