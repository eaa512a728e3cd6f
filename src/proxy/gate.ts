/**
 * Who may come in: by which rule a client proves who it is, what is known of it, and where it then finds what it wants.
 *
 *     open(startup, link) -> Authentication -> admit(startup) -> Place
 *
 * Invariants: what a client is told does not tell whether a user exists; nothing is said of databases, and nothing asked
 * of a shard but by `auth.query`, for somebody who has not proved who they are; where something cannot be found out,
 * nobody gets in.
 */
import type { ConsoleRole } from "../admin/console.ts";
import type { Clock, Randomness } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import type { Config, DatabaseConfig, LimitsConfig, PoolMode } from "../config/config.ts";
import type { Log } from "../observe/log.ts";
import { isLoopback } from "./auth/address.ts";
import { type AuthFiles, readAuthFiles } from "./auth/authFiles.ts";
import type { AuthQuery } from "./auth/authQuery.ts";
import { FailureLimit } from "./auth/failureLimit.ts";
import { findRule, type OwnAddress } from "./auth/hbaMatch.ts";
import type { LoginRule } from "./auth/hbaRules.ts";
import { mayBe } from "./auth/identMap.ts";
import type { Files } from "./auth/ruleFile.ts";
import { type KnownUser, UserDirectory } from "./auth/userDirectory.ts";
import { WatchedAuthentication } from "./auth/watchedAuthentication.ts";
import {
  type Authentication,
  type Claimant,
  Md5Authentication,
  PasswordAuthentication,
  ScramAuthentication,
  TrustedAuthentication,
} from "./authentication.ts";
import type { ClientLink } from "./clientLink.ts";

const MOCK_SECRET_BYTES = 32;
/** What stands in place of bytes that are not UTF-8: different names would look the same. */
const REPLACEMENT = "\u{fffd}";

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
const ANY_DATABASE = "*";

export interface GateParts {
  readonly config: Config;
  readonly clock: Clock;
  readonly random: Randomness;
  readonly log: Log;
  readonly files: Files;
  /** Null: no shard is asked about users. */
  readonly query: AuthQuery | null;
  /** The addresses of this machine. */
  ownAddresses(): readonly OwnAddress[];
}

export class Gate {
  readonly clock: Clock;
  readonly #parts: GateParts;
  #config: Config;
  #files: AuthFiles;
  readonly #users: UserDirectory;
  readonly #failures: FailureLimit;
  readonly #mockKey: Uint8Array;

  /** Throws a Fault (`config.invalid`) if something is wrong with the files that `auth` names. */
  constructor(parts: GateParts) {
    const { config, clock, random, log, files, query } = parts;
    this.clock = clock;
    this.#parts = parts;
    this.#config = config;
    this.#files = readAuthFiles(config.auth, files);
    this.#mockKey = Uint8Array.from(random.bytes(MOCK_SECRET_BYTES));
    const { usersFile } = config.auth;
    const { users: listed } = this.#files;
    const mockKey = this.#mockKey;
    this.#users = new UserDirectory({
      users: config.users,
      usersFile,
      listed,
      files,
      query,
      clock,
      log,
      mockKey,
    });
    this.#failures = new FailureLimit(config.auth, clock);
  }

  get limits(): LimitsConfig {
    return this.#config.limits;
  }

  /** Takes a new configuration, and reads the files anew; throws a Fault, and stays as it was, if one is wrong. */
  reconfigure(config: Config): void {
    this.#files = readAuthFiles(config.auth, this.#parts.files);
    this.#config = config;
    this.#users.reconfigure(config.users, config.auth, this.#files.users);
    this.#failures.reconfigure(config.auth);
  }

  async close(): Promise<void> {
    await this.#parts.query?.close();
  }

  /**
   * How this client proves who it is: at once, unless somebody else has to be asked. Throws, or rejects with, a Fault for
   * one that may not come in whatever it proves.
   */
  open(startup: ReadonlyMap<string, string>, link: ClientLink): Authentication | Promise<Authentication> {
    const user = startup.get("user") ?? "";
    const database = startup.get("database") || user;
    if (isReplication(startup.get("replication"))) throw new Fault("login.replication");
    if (user.includes(REPLACEMENT) || database.includes(REPLACEMENT)) throw new Fault("login.invalid_name");
    if (this.#failures.isReached(link)) throw new Fault("login.too_many_failures");
    const rule = this.#ruleFor(link, user, database);
    this.#checkCertificate(rule, link, user);
    if (rule.method === "password") this.#checkSafe(link);
    if (rule.method === "peer") return this.#openForPeer(rule, link, user);
    const known = this.#users.find(user);
    if (!(known instanceof Promise)) return this.#authentication(rule, link, user, known);
    return known.then((found) => this.#authentication(rule, link, user, found));
  }

  async #openForPeer(rule: LoginRule, link: ClientLink, user: string): Promise<Authentication> {
    await this.#checkPeer(rule, link, user);
    return this.#authentication(rule, link, user, await this.#users.find(user));
  }

  #authentication(rule: LoginRule, link: ClientLink, user: string, known: KnownUser | null): Authentication {
    if (rule.method === "trust" || rule.method === "cert" || rule.method === "peer") {
      if (known !== null || !this.#users.isComplete) return new TrustedAuthentication(user);
      throw new Fault("login.not_permitted", { message: `role "${user}" does not exist` });
    }
    const claimant: Claimant = { user, secret: known?.secret ?? null };
    const exchange = this.#exchange(rule, claimant, link);
    const { log } = this.#parts;
    return new WatchedAuthentication(exchange, {
      isHeard: () => !this.#failures.isReached(link),
      onFailed: () => {
        this.#failures.note(link);
        this.#users.forget(user);
        log.info("auth.failed", { user, address: link.remoteAddress, reason: reasonOf(known) });
      },
    });
  }

  /** Where one who has proved who it is finds what it asks for; throws a Fault if nowhere. */
  admit(startup: ReadonlyMap<string, string>): Place {
    const user = startup.get("user") ?? "";
    const name = startup.get("database") || user;
    const { databases, pool, users } = this.#config;
    const listed = databases.find((database) => database.name === name);
    if (listed === undefined && CONSOLE_NAMES.includes(name)) return this.#console(user, name);
    const on = listed ?? databases.find((database) => database.name === ANY_DATABASE);
    if (on === undefined || name === ANY_DATABASE) {
      throw new Fault("login.no_database", { message: `database "${name}" does not exist` });
    }
    const mode = users.find((one) => one.name === user)?.mode ?? on.mode ?? pool.mode;
    return { kind: "database", name, on, mode };
  }

  #console(user: string, database: string): Place {
    const { adminUsers, statsUsers } = this.#config.console;
    if (adminUsers.includes(user)) return { kind: "console", role: "admin" };
    if (statsUsers.includes(user)) return { kind: "console", role: "stats" };
    const message = `user "${user}" may not use the console "${database}"`;
    throw new Fault("login.no_console", { message });
  }

  #ruleFor(link: ClientLink, user: string, database: string): LoginRule {
    const { method, trustLoopback } = this.#config.auth;
    const plain = (plainMethod: LoginRule["method"]): LoginRule => ({
      method: plainMethod,
      map: null,
      clientCertificate: null,
    });
    if (method !== "hba") {
      const isTrusted = trustLoopback && link.kind === "tcp" && isLoopback(link.remoteAddress);
      return plain(isTrusted ? "trust" : method);
    }
    const { kind, remoteAddress: address, tls } = link;
    const caller = { kind, address, hasTls: tls !== null, user, database };
    const rule = findRule(this.#files.hba, caller, this.#parts.ownAddresses);
    const who =
      `host "${kind === "unix" ? "[local]" : address}", user "${user}", database "${database}", ` +
      (tls === null ? "no encryption" : "SSL encryption");
    if (rule === null) throw new Fault("login.no_rule", { message: `no pg_hba.conf entry for ${who}` });
    if (rule.method !== "reject") return rule;
    throw new Fault("login.rejected", { message: `pg_hba.conf rejects connection for ${who}` });
  }

  #checkCertificate({ method, map, clientCertificate }: LoginRule, { tls }: ClientLink, user: string): void {
    if (method !== "cert" && clientCertificate === null) return;
    const certificate = tls?.certificate ?? null;
    if (certificate === null) throw new Fault("login.no_certificate");
    if (method !== "cert" && clientCertificate === "verify-ca") return;
    const name = certificate.commonName;
    if (name !== "" && mayBe(this.#files.ident, map, name, user)) return;
    throw new Fault("login.foreign_certificate", {
      message: `certificate authentication failed for user "${user}"`,
    });
  }

  async #checkPeer({ map }: LoginRule, link: ClientLink, user: string): Promise<void> {
    const name = link.kind === "unix" ? await link.peerUser() : null;
    if (name !== null && name !== "" && mayBe(this.#files.ident, map, name, user)) return;
    throw new Fault("login.wrong_peer", { message: `Peer authentication failed for user "${user}"` });
  }

  #checkSafe({ kind, tls, remoteAddress }: ClientLink): void {
    const isSafe = kind === "unix" || tls !== null || isLoopback(remoteAddress);
    if (!isSafe && !this.#config.auth.allowClearText) throw new Fault("login.clear_text");
  }

  /** With md5, who has a SCRAM secret uses that, as in PostgreSQL. */
  #exchange({ method }: LoginRule, claimant: Claimant, { tls }: ClientLink): Authentication {
    const { random } = this.#parts;
    if (method === "password") return new PasswordAuthentication(claimant, this.#mockKey);
    const { secret } = claimant;
    const isMd5 = secret === null ? this.#users.isMostlyMd5 : secret.kind !== "scram";
    if (method === "md5" && isMd5) return new Md5Authentication(claimant, random);
    return new ScramAuthentication(claimant, this.#mockKey, random, tls?.endPointHash ?? null);
  }
}

const reasonOf = (known: KnownUser | null): string =>
  known === null ? "no such user" : (known.why ?? "wrong password");

/** https://www.postgresql.org/docs/current/protocol-replication.html: a boolean, or `database`. */
const isReplication = (value: string | undefined): boolean =>
  value !== undefined && !/^(f|false|no|off|0)$/i.test(value);
