// Pure.
/** What a parent knows of what one of its workers has of something that they share. */

/** What a worker says of its own. */
export interface QuotaReport {
  /** For all together. */
  readonly max: number;
  /** How many it has use for. */
  readonly need: number;
  /** How many it is to have even without use for them, if nobody else has. */
  readonly least: number;
  /** How many it holds; it will hold no more than that or its grant, whichever is more. */
  readonly held: number;
  /** Which grant it has seen last; 0 is none. */
  readonly seen: number;
}

/** What a claimant may hold from now on. */
export interface Grant<Claimant> {
  readonly claimant: Claimant;
  readonly granted: number;
  /** They are counted from 1. */
  readonly serial: number;
  /** Whether there is none left for what it needs beyond this. */
  readonly isFull: boolean;
}

export interface QuotaClaim {
  max: number;
  need: number;
  least: number;
  granted: number;
  /** The most that it may hold at this moment, as far as one can know. */
  bound: number;
  /** Of the last grant. */
  serial: number;
  /** The last grant of which it has said that it has it. */
  seen: number;
}

export const newClaim = (): QuotaClaim => ({
  max: 0,
  need: 0,
  least: 0,
  granted: 0,
  bound: 0,
  serial: 0,
  seen: 0,
});

/** Notes what the claimant says. */
export function take(claim: QuotaClaim, { max, need, least, held, seen }: QuotaReport): void {
  claim.max = max;
  claim.need = Math.min(need, max);
  claim.least = Math.min(least, max);
  claim.seen = seen;
  const isUpToDate = seen === claim.serial;
  claim.bound = Math.max(held, isUpToDate ? claim.granted : claim.bound);
}

/** Whether it has yet to say what it holds under its last grant. */
export const isPending = ({ seen, serial }: QuotaClaim): boolean => seen !== serial;

/**
 * A grant for each whose claim says another number than `before`, for those that are told that there is no more, and for
 * those that are to answer and have been told nothing yet.
 */
export function changed<Claimant>(
  claims: ReadonlyMap<Claimant, QuotaClaim>,
  before: ReadonlyMap<Claimant, number>,
  full: ReadonlySet<Claimant> = new Set(),
  asked: ReadonlySet<Claimant> = new Set(),
): readonly Grant<Claimant>[] {
  const grants: Grant<Claimant>[] = [];
  for (const [claimant, claim] of claims) {
    const isFull = full.has(claimant);
    const isToAnswer = asked.has(claimant) && !isPending(claim);
    if ((before.get(claimant) ?? 0) === claim.granted && !isFull && !isToAnswer) continue;
    claim.serial += 1;
    grants.push({ claimant, granted: claim.granted, serial: claim.serial, isFull });
  }
  return grants;
}

type Claims<Claimant> = ReadonlyMap<Claimant, QuotaClaim>;

/** While a changed maximum is on its way to all, the lowest that one of them knows. */
export function maxOf<Claimant>(claims: Claims<Claimant>): number {
  let max = Number.POSITIVE_INFINITY;
  for (const claim of claims.values()) max = Math.min(max, claim.max);
  return max;
}

/** What nobody may hold. */
export function freeOf<Claimant>(claims: Claims<Claimant>): number {
  let free = maxOf(claims);
  for (const { bound } of claims.values()) free -= bound;
  return free;
}

export const grantedOf = <Claimant>(claims: Claims<Claimant>): Map<Claimant, number> =>
  new Map([...claims].map(([claimant, { granted }]) => [claimant, granted]));
