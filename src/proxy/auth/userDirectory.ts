/**
 * Where users and what is known of their passwords come from: the configuration, then the users file, then the shard.
 *
 * The first that knows the user decides, but for a user of the configuration without a password, about whom the others
 * are asked. The users file is read again when it has changed; if something is wrong with it then, what it held before
 * stays, and the log says so.
 */
import type { Clock } from "../../base/environment.ts";
import type { AuthConfig, UserConfig } from "../../config/config.ts";
import type { Log } from "../../observe/log.ts";
import { hmac } from "../../wire/scramKeys.ts";
import { describeProblem, usersIn } from "./authFiles.ts";
import type { AuthQuery, UserRow } from "./authQuery.ts";
import { versionOf } from "./diskFiles.ts";
import type { Files } from "./ruleFile.ts";
import { readSecret, SALT_BYTES, type Secret } from "./secret.ts";

export interface KnownUser {
  /** Null: no password is right. */
  readonly secret: Secret | null;
  /** Why not, for the log. */
  readonly why: "no password" | "password expired" | null;
}

export interface UserDirectoryParts {
  readonly users: readonly UserConfig[];
  readonly usersFile: string | undefined;
  readonly listed: ReadonlyMap<string, string>;
  readonly files: Files;
  readonly query: AuthQuery | null;
  readonly clock: Clock;
  readonly log: Log;
  /** Salts are made of it and of the user's name, like those of users who do not exist. */
  readonly mockKey: Uint8Array;
}

/** The users file is looked at no more often. */
const LOOK_MS = 500;

export class UserDirectory {
  readonly #parts: UserDirectoryParts;
  #users: readonly UserConfig[];
  #usersFile: string | undefined;
  #listed: ReadonlyMap<string, string>;
  #version: string | null;
  #lookedMs: number;
  /** Secrets that have been read, by user: each is made ready once. */
  readonly #secrets = new Map<string, { readonly text: string; readonly secret: Secret | null }>();

  constructor(parts: UserDirectoryParts) {
    this.#parts = parts;
    this.#users = parts.users;
    this.#usersFile = parts.usersFile;
    this.#listed = parts.listed;
    this.#version = parts.usersFile === undefined ? null : versionOf(parts.usersFile);
    this.#lookedMs = parts.clock.monotonicMs();
  }

  /** Takes what a reload has read. */
  reconfigure(users: readonly UserConfig[], auth: AuthConfig, listed: ReadonlyMap<string, string>): void {
    this.#users = users;
    this.#usersFile = auth.usersFile;
    this.#listed = listed;
    this.#version = auth.usersFile === undefined ? null : versionOf(auth.usersFile);
    this.#secrets.clear();
    if (auth.query !== null) this.#parts.query?.reconfigure(auth.query);
  }

  /** Whether it is known who the users are: then nobody else gets in, even where nothing is to be proved. */
  get isComplete(): boolean {
    return this.#users.length > 0 || this.#usersFile !== undefined || this.#parts.query !== null;
  }

  /** Whether more of the users that are known here have secrets for md5 than for SCRAM: so strangers seem to have. */
  get isMostlyMd5(): boolean {
    const texts = [...this.#users.flatMap(({ password }) => password ?? []), ...this.#listed.values()];
    const scrams = texts.filter((text) => text.startsWith("SCRAM-SHA-256$")).length;
    return scrams * 2 < texts.length;
  }

  /** What is known of `user`; null: there is none. Rejects with a Fault if a shard has to be asked and cannot be. */
  find(user: string): KnownUser | null | Promise<KnownUser | null> {
    this.#look();
    const own = this.#users.find(({ name }) => name === user);
    const text = own?.password ?? this.#listed.get(user);
    if (text !== undefined) return this.#known(user, text);
    const { query } = this.#parts;
    if (query !== null) return query.find(user).then((row) => this.#ofRow(user, own !== undefined, row));
    return this.#ofRow(user, own !== undefined, null);
  }

  /** Of what a shard has said; `isListed`: the configuration has the user. */
  #ofRow(user: string, isListed: boolean, row: UserRow | null): KnownUser | null {
    if (row === null) return isListed ? this.#known(user, "") : null;
    if (row.validUntilMs !== null && row.validUntilMs <= this.#parts.clock.wallMs())
      return { secret: null, why: "password expired" };
    return this.#known(user, row.secret ?? "");
  }

  /** What is known of `user` may be old: a login has failed. */
  forget(user: string): void {
    this.#parts.query?.forget(user);
  }

  #known(user: string, text: string): KnownUser {
    let read = this.#secrets.get(user);
    if (read?.text !== text) {
      read = { text, secret: readSecret(text, () => this.#saltOf(user)) };
      this.#remember(user, read);
    }
    return { secret: read.secret, why: read.secret === null ? "no password" : null };
  }

  #remember(user: string, read: { readonly text: string; readonly secret: Secret | null }): void {
    const [oldest] = this.#secrets.keys();
    if (this.#secrets.size >= SECRETS_MAX && oldest !== undefined) this.#secrets.delete(oldest);
    this.#secrets.set(user, read);
  }

  #saltOf(user: string): Uint8Array {
    return hmac(this.#parts.mockKey, user).subarray(0, SALT_BYTES);
  }

  #look(): void {
    const { clock, log, files } = this.#parts;
    const path = this.#usersFile;
    if (path === undefined || clock.monotonicMs() - this.#lookedMs < LOOK_MS) return;
    this.#lookedMs = clock.monotonicMs();
    const version = versionOf(path);
    if (version === this.#version) return;
    this.#version = version;
    const { users, problems } = usersIn(path, files);
    if (problems.length === 0) this.#listed = users;
    else log.error("auth.users_file_failed", { problems: problems.map(describeProblem) });
  }
}

/** How many secrets are kept ready. */
const SECRETS_MAX = 10_000;
