// Pure.
/**
 * Whose a client is in the queues for server connections: of which class, and within that of which user.
 *
 * Classes divide what comes free by their weights, and within a class users take turns (fairQueue.ts); a class and a user
 * may be bounded in how much of a pool they hold at once (`Holdings`).
 */
import type { ClassConfig, Config } from "../config/config.ts";
import type { SharedBounds } from "./sharedBounds.ts";

export interface ShareClass {
  readonly name: string;
  readonly weight: number;
  /** Infinity: no bound. */
  readonly connectionsMax: number;
}

/** One object for all clients of a user in a class. */
export interface Share {
  readonly of: ShareClass;
  readonly user: string;
  /** Infinity: no bound. */
  readonly userMax: number;
}

/** Somebody who may have to wait. */
export interface Asker {
  readonly share: Share;
  /** Whether nobody wants any more what is asked for. */
  readonly isGone: boolean;
  /** Whether a connection to a standby will do, where there are any that may be read from. */
  readonly wantsStandby?: boolean;
  /** It has waited for long, and what for; called once in a wait. */
  onLongWait(detail: string): void;
}

const UNBOUNDED = Number.POSITIVE_INFINITY;
const UNCLASSED: ShareClass = { name: "", weight: 1, connectionsMax: UNBOUNDED };
const NO_USER: Share = { of: UNCLASSED, user: "", userMax: UNBOUNDED };
/** Who asks for no client. */
export const NO_CLIENT: Asker = { share: NO_USER, isGone: false, onLongWait() {} };

/** How many shares are remembered: a client's user may be any name where clients are trusted. */
const SHARES_MAX = 10_000;

export class Shares {
  #config!: Pick<Config, "classes" | "users">;
  #classes!: readonly (readonly [config: ClassConfig, of: ShareClass])[];
  readonly #known = new Map<ShareClass, Map<string, Share>>();

  constructor(config: Pick<Config, "classes" | "users">) {
    this.reconfigure(config);
  }

  /** For whoever is asked about from now on; a share that somebody has stays what it is. */
  reconfigure(config: Pick<Config, "classes" | "users">): void {
    this.#config = config;
    this.#known.clear();
    this.#classes = config.classes.map((one) => {
      const { name, weight, connectionsMax } = one;
      return [one, { name, weight, connectionsMax: connectionsMax ?? UNBOUNDED }];
    });
  }

  of(user: string, database: string, application: string): Share {
    const of = this.#classes.find(([one]) => isOf(one, user, database, application))?.[1] ?? UNCLASSED;
    let known = this.#known.get(of);
    if (known === undefined || known.size >= SHARES_MAX) this.#known.set(of, (known = new Map()));
    let share = known.get(user);
    if (share === undefined) {
      const max = this.#config.users.find(({ name }) => name === user)?.poolMax;
      share = { of, user, userMax: max ?? UNBOUNDED };
      known.set(user, share);
    }
    return share;
  }
}

const isOf = (one: ClassConfig, user: string, database: string, application: string): boolean =>
  matches(one.users, user) && matches(one.databases, database) && matches(one.applications, application);

const matches = (patterns: readonly string[] | null, name: string): boolean =>
  patterns === null || patterns.some((pattern) => matchesOne(pattern, name));

const matchesOne = (pattern: string, name: string): boolean =>
  pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;

/** How much bounded classes and users hold. */
export class Holdings {
  readonly #ofClass = new Map<ShareClass, number>();
  readonly #ofUser = new Map<string, number>();
  /** Where the bounds hold for several workers together; null: for this process alone. */
  readonly #shared: SharedBounds | null;

  constructor(shared: SharedBounds | null = null) {
    this.#shared = shared;
  }

  /** Whether one more is within bounds. */
  allows(share: Share): boolean {
    const { of, user, userMax } = share;
    if (this.#shared !== null) return this.#shared.allows(share);
    if (of.connectionsMax < UNBOUNDED && (this.#ofClass.get(of) ?? 0) >= of.connectionsMax) return false;
    return userMax === UNBOUNDED || (this.#ofUser.get(user) ?? 0) < userMax;
  }

  add(share: Share): void {
    this.#count(share, 1);
  }

  remove(share: Share): void {
    this.#count(share, -1);
  }

  #count(share: Share, by: 1 | -1): void {
    if (this.#shared !== null) return this.#shared.count(share, by);
    const { of, user, userMax } = share;
    if (of.connectionsMax < UNBOUNDED) change(this.#ofClass, of, by);
    if (userMax < UNBOUNDED) change(this.#ofUser, user, by);
  }
}

function change<Key>(counts: Map<Key, number>, key: Key, by: 1 | -1): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}
