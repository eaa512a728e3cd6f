// Pure.
/**
 * How much this process may have of what several processes share: connections of a pool, places for clients.
 *
 * A lone process has all of it, by its configuration, and no quota anywhere (`Quotas | null`). A worker of several has
 * what its parent grants it, which grows when it wants more, and shrinks when others do.
 *
 * Invariant: nothing is taken while as much is held as the limit says, and what is held beyond a lowered limit only
 * becomes less.
 */

/** What is shared, as it is held in this process. */
export interface QuotaHolder {
  /** How many it holds now. */
  readonly held: number;
  /** How many it had use for of late, those included that it waits for. */
  readonly used: number;
  /** The limit is another now, or there will be no more than it says (`isFull`). */
  onLimit(): void;
}

export interface Quota {
  /** How many may be held now. */
  readonly limit: number;
  /** Whether there are none left for what was wanted last, anywhere. Only where holders keep what they have. */
  readonly isFull: boolean;
  /** There is use for `count`. */
  want(count: number): void;
  /** Fewer are held than before. */
  settle(): void;
  /** Another maximum for all processes together, and another number that is to be had even without use. */
  resize(max: number, least: number): void;
  /** Nothing is held any more, nor will be. */
  close(): void;
}

export interface QuotaRequest {
  /** The same in every process for what they share. */
  readonly key: string;
  /** For all processes together. */
  readonly max: number;
  /** How many this process is to have even without use for them; 0 if not given. */
  readonly least?: number;
  /** Whether what is held stays for long, so that nobody waits for it to come back; false if not given. */
  readonly isLasting?: boolean;
  readonly holder: QuotaHolder;
}

export interface Quotas {
  open(request: QuotaRequest): Quota;
  /** What this process has of a number that is divided once and for all. */
  split(total: number): number;
}

/** Who decides how many connections a pool may have, where that changes while it runs. */
export interface PoolWatch {
  /** Somebody waits; `others` would, but have gone elsewhere. */
  onQueued(others?: number): void;
  /** There are more than it may have, and fewer than before. */
  onFewer(): void;
}
