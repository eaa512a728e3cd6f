// Pure.
/**
 * What clients have done, as plain numbers, by database and user.
 *
 * Names come from clients, and so there is a limit to how many are told apart: beyond it all are `OTHER`, together.
 */
import { Buckets } from "./buckets.ts";

/** The name under which the databases or users beyond the limit are counted. */
export const OTHER = "(other)";
const DATABASES_MAX = 100;
const USERS_MAX = 1_000;

/** The numbers that are only added to. */
export interface Totals {
  transactions: number;
  queries: number;
  /** From clients, and to them, after their login and without TLS. */
  receivedBytes: number;
  sentBytes: number;
  /** How often a client was given a server connection. */
  assignments: number;
  transactionMs: number;
  queryMs: number;
  waitMs: number;
  clientParses: number;
  serverParses: number;
  binds: number;
  logins: number;
}

export const noTotals = (): Totals => ({
  transactions: 0,
  queries: 0,
  receivedBytes: 0,
  sentBytes: 0,
  assignments: 0,
  transactionMs: 0,
  queryMs: 0,
  waitMs: 0,
  clientParses: 0,
  serverParses: 0,
  binds: 0,
  logins: 0,
});

export const TOTAL_NAMES = Object.keys(noTotals()) as readonly (keyof Totals)[];

export function addTotals(sum: Totals, more: Totals): Totals {
  for (const name of TOTAL_NAMES) sum[name] += more[name];
  return sum;
}

/** Of one database. */
export class DatabaseTraffic {
  readonly name: string;
  readonly users = new Map<string, UserTraffic>();
  /** Errors that clients were told, by the class of their SQLSTATE: its first two characters. */
  readonly errors = new Map<string, number>();
  readonly query = new Buckets();
  readonly transaction = new Buckets();
  /** How long clients waited that could not be given a server connection at once. */
  readonly wait = new Buckets();

  constructor(name: string) {
    this.name = name;
  }

  get totals(): Totals {
    const sum = noTotals();
    for (const { totals } of this.users.values()) addTotals(sum, totals);
    return sum;
  }

  noteError(sqlstate: string): void {
    const kind = sqlstate.slice(0, 2);
    this.errors.set(kind, (this.errors.get(kind) ?? 0) + 1);
  }
}

/** Of one user in one database. */
export class UserTraffic {
  readonly user: string;
  readonly database: DatabaseTraffic;
  readonly totals = noTotals();

  constructor(user: string, database: DatabaseTraffic) {
    this.user = user;
    this.database = database;
  }
}

export class Traffic {
  readonly #databases = new Map<string, DatabaseTraffic>();
  /** Those who were not let in, by the id of the error; errors of shards together. */
  readonly refusals = new Map<string, number>();
  #users = 0;

  get databases(): IterableIterator<DatabaseTraffic> {
    return this.#databases.values();
  }

  /** Where the clients of `user` in `database` are counted. */
  of(database: string, user: string): UserTraffic {
    const name = this.#databases.has(database) || this.#databases.size < DATABASES_MAX ? database : OTHER;
    let found = this.#databases.get(name);
    if (found === undefined) this.#databases.set(name, (found = new DatabaseTraffic(name)));
    const known = found.users.get(user);
    if (known !== undefined) return known;
    const who = this.#users < USERS_MAX ? user : OTHER;
    const other = found.users.get(who) ?? new UserTraffic(who, found);
    if (!found.users.has(who)) this.#users += 1;
    found.users.set(who, other);
    return other;
  }

  noteRefusal(reason: string): void {
    this.refusals.set(reason, (this.refusals.get(reason) ?? 0) + 1);
  }
}
