// Pure.
/**
 * Who may hold how much of one thing that comes back: the connections of a pool, which are lent for a transaction.
 *
 * Whoever needs more than it was granted gets what is free, and for the rest others are granted less: those that have more
 * than they need, or than would be fair. They hold it still until they say that they do not, and only then somebody else
 * gets it. Nobody is granted less as long as nobody needs more. Where there is less than one for each who needs some, they
 * take turns (`rotate`).
 *
 * Invariant: the sum of what each may still hold, which is the greatest of all it was granted since it last said what it
 * holds, and of that, never exceeds the maximum, unless the maximum was lowered or somebody brought what it holds along.
 */
import { divideFairly } from "./fairDivision.ts";
import {
  changed,
  freeOf,
  type Grant,
  grantedOf,
  maxOf,
  newClaim,
  type QuotaClaim,
  type QuotaReport,
  take,
} from "./quotaClaim.ts";

export class QuotaBroker<Claimant> {
  /** How many claimants are expected. */
  readonly #size: number;
  /** In the order in which they get what cannot be divided. */
  readonly #claims = new Map<Claimant, QuotaClaim>();

  constructor(size: number) {
    this.#size = size;
  }

  get isEmpty(): boolean {
    return this.#claims.size === 0;
  }

  /** Whether somebody gets nothing, so that it has to be its turn some time. */
  get needsTurns(): boolean {
    for (const { need, granted } of this.#claims.values()) if (need > 0 && granted === 0) return true;
    return false;
  }

  /** What `claimant` says of itself, for the first time or again. */
  report(claimant: Claimant, report: QuotaReport): readonly Grant<Claimant>[] {
    const known = this.#claims.get(claimant);
    const claim = known ?? newClaim();
    this.#claims.set(claimant, claim);
    take(claim, report);
    const before = grantedOf(this.#claims);
    this.#balance();
    this.#giveMore(claim, known === undefined ? this.#share : 0);
    return changed(this.#claims, before);
  }

  /** It is gone, with all it held. */
  leave(claimant: Claimant): readonly Grant<Claimant>[] {
    if (!this.#claims.delete(claimant)) return [];
    const before = grantedOf(this.#claims);
    this.#balance();
    return changed(this.#claims, before);
  }

  /** Those who have had their turn come last from now on. */
  rotate(): readonly Grant<Claimant>[] {
    if (!this.needsTurns) return [];
    const waiting = [...this.#claims.values()].filter(
      ({ need, granted }) => need > 0 && granted === 0,
    ).length;
    const having = [...this.#claims].filter(([, { granted }]) => granted > 0).slice(0, waiting);
    for (const [claimant, claim] of having) {
      this.#claims.delete(claimant);
      this.#claims.set(claimant, claim);
    }
    const before = grantedOf(this.#claims);
    this.#balance();
    return changed(this.#claims, before);
  }

  // --- inside ---

  /** What each has without asking, where there is enough. */
  get #share(): number {
    return Math.floor(maxOf(this.#claims) / Math.max(this.#size, this.#claims.size));
  }

  #balance(): void {
    if (this.isEmpty) return;
    const claims = [...this.#claims.values()];
    const max = maxOf(this.#claims);
    const needs = claims.map(({ need }) => need);
    const fair = withLeast(claims, divideFairly(needs, max), max);
    let free = freeOf(this.#claims);
    let missing = -max;
    for (const [i, claim] of claims.entries()) {
      const wanted = Math.max(claim.granted, fair[i]!);
      const unsettled = Math.min(wanted, claim.bound); // was its own, and may be again
      const more = Math.max(0, Math.min(wanted - unsettled, free));
      free -= more;
      claim.granted = Math.max(claim.granted, unsettled + more);
      claim.bound = Math.max(claim.bound, claim.granted);
      missing += wanted;
    }
    const kept = needs.map((need, i) => Math.max(need, fair[i]!));
    const left = takeBack(missing, claims, kept); // first what is not needed
    takeBack(left, claims, fair);
  }

  /** Whoever is new, or asks for more, gets a little beyond what it needs, if nobody else needs it. */
  #giveMore(claim: QuotaClaim, share: number): void {
    for (const { need, granted } of this.#claims.values()) if (need > granted) return;
    const isAsking = claim.need > 0 && claim.need === claim.granted;
    const upTo = Math.max(share, isAsking ? claim.need + Math.floor(this.#share / 4) : 0);
    const more = Math.max(0, Math.min(upTo - claim.bound, freeOf(this.#claims)));
    if (upTo <= claim.granted) return;
    claim.granted = Math.max(claim.granted, Math.min(upTo, claim.bound + more));
    claim.bound = Math.max(claim.bound, claim.granted);
  }
}

/** What is `fair`, and of what then is left as much as each is to have even without use for it. */
function withLeast(claims: readonly QuotaClaim[], fair: readonly number[], max: number): readonly number[] {
  const short = claims.map(({ least }, i) => Math.max(0, least - fair[i]!));
  const left = fair.reduce((rest, one) => rest - one, max);
  return divideFairly(short, left).map((more, i) => fair[i]! + more);
}

/** Grants `missing` less to those that have the most beyond `upTo`; returns how many could not be had. */
function takeBack(missing: number, claims: readonly QuotaClaim[], upTo: readonly number[]): number {
  const excesses = claims.map(({ granted }, i) => Math.max(0, granted - upTo[i]!));
  for (let left = missing; left > 0; left -= 1) {
    const most = Math.max(...excesses);
    if (most === 0) return left;
    const at = excesses.lastIndexOf(most);
    excesses[at]! -= 1;
    claims[at]!.granted -= 1;
  }
  return 0;
}
