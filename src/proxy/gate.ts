/**
 * Who may come in: database, user, and how they prove who they are.
 *
 * A clear-text password of the configuration is turned into a SCRAM secret once, at start; after that nothing here
 * knows it. A user who does not exist goes through the same exchange as one with a wrong password.
 */
import type { ConsoleRole } from "../admin/console.ts";
import type { Clock, Randomness } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import type { Config, DatabaseConfig, LimitsConfig, PoolMode } from "../config/config.ts";
import { buildScramSecret, parseScramSecret, type ScramSecret } from "../wire/scramSecret.ts";
import { type Authentication, ScramAuthentication, TRUSTED } from "./authentication.ts";

const ITERATIONS = 4_096;
const SALT_BYTES = 16;
const MOCK_SECRET_BYTES = 32;

export const CONSOLE_DATABASE = "pgxa";
/** What programs made for PgBouncer call it. */
const CONSOLE_NAMES: readonly string[] = [CONSOLE_DATABASE, "pgbouncer"];

/** The console, or a database as its configuration has it, named as the client named it, and in which mode. */
export type Place =
  | { readonly kind: "console"; readonly role: ConsoleRole }
  | {
      readonly kind: "database";
      readonly name: string;
      readonly on: DatabaseConfig;
      readonly mode: PoolMode;
    };
const CONSOLE: Place = { kind: "console", role: "admin" };
const ANY_DATABASE = "*";

export class Gate {
  readonly limits: LimitsConfig;
  readonly clock: Clock;
  readonly #config: Config;
  readonly #random: Randomness;
  readonly #secrets = new Map<string, ScramSecret | null>();
  readonly #mockSecret: Uint8Array;

  constructor(config: Config, clock: Clock, random: Randomness) {
    this.limits = config.limits;
    this.clock = clock;
    this.#config = config;
    this.#random = random;
    this.#mockSecret = random.bytes(MOCK_SECRET_BYTES);
    for (const { name, password } of config.users) {
      this.#secrets.set(name, password === undefined ? null : this.#secretOf(password));
    }
  }

  /** How this client proves who it is. Throws a Fault for one that may not come in whatever it proves. */
  open(startup: ReadonlyMap<string, string>, remoteAddress: string): Authentication {
    const user = startup.get("user") ?? "";
    if (isReplication(startup.get("replication"))) throw new Fault("login.replication");
    const trusts = this.#trusts(remoteAddress);
    if (trusts && this.#config.users.length > 0 && !this.#secrets.has(user)) {
      throw new Fault("login.not_permitted", { message: `role "${user}" does not exist` });
    }
    if (trusts) return TRUSTED;
    return new ScramAuthentication(user, this.#secrets.get(user) ?? null, this.#mockSecret, this.#random);
  }

  /** Where one who has proved who it is finds what it asks for; throws a Fault if nowhere. */
  admit(startup: ReadonlyMap<string, string>): Place {
    const user = startup.get("user") ?? "";
    const name = startup.get("database") || user;
    const { databases, pool } = this.#config;
    const listed = databases.find((database) => database.name === name);
    if (listed === undefined && CONSOLE_NAMES.includes(name)) return CONSOLE;
    const on = listed ?? databases.find((database) => database.name === ANY_DATABASE);
    if (on === undefined || name === ANY_DATABASE) {
      throw new Fault("login.no_database", { message: `database "${name}" does not exist` });
    }
    const mode = this.#config.users.find((one) => one.name === user)?.mode ?? on.mode ?? pool.mode;
    return { kind: "database", name, on, mode };
  }

  #trusts(remoteAddress: string): boolean {
    const { method, trustLoopback } = this.#config.auth;
    return method === "trust" || (trustLoopback && isLoopback(remoteAddress));
  }

  #secretOf(password: string): ScramSecret {
    return (
      parseScramSecret(password) ?? buildScramSecret(password, this.#random.bytes(SALT_BYTES), ITERATIONS)
    );
  }
}

const isLoopback = (address: string): boolean =>
  address === "::1" || address.startsWith("127.") || address.startsWith("::ffff:127.");

/** https://www.postgresql.org/docs/current/protocol-replication.html: a boolean, or `database`. */
const isReplication = (value: string | undefined): boolean =>
  value !== undefined && !/^(f|false|no|off|0)$/i.test(value);
