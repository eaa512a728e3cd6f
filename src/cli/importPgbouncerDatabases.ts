// Pure.
/**
 * PgBouncer's [databases] as one shard with databases. One pgxa is in front of one server, as one role: what is
 * elsewhere, or somebody else, needs another.
 */
import { type IniEntry, type ListedUser, readConnectionString } from "./importPgbouncerIni.ts";
import { type Say, takePair } from "./importPgbouncerPairs.ts";
import { type Draft, put, putVariable } from "./importPgbouncerYaml.ts";

interface Database {
  readonly entry: IniEntry;
  readonly pairs: ReadonlyMap<string, string>;
}

/** Where clients go who name a database that only `*` stands for. */
const DATABASE_OF_ALL = "postgres";

export class DatabaseImport {
  readonly #draft: Draft;
  readonly #users: readonly ListedUser[];
  readonly #say: Say;

  constructor(draft: Draft, users: readonly ListedUser[], say: Say) {
    this.#draft = draft;
    this.#users = users;
    this.#say = say;
  }

  take(entries: readonly IniEntry[]): void {
    const databases = entries.flatMap((entry): Database[] => {
      const pairs = readConnectionString(entry.value);
      if (pairs !== null) return [{ entry, pairs }];
      this.#say("none", entry, `[databases] ${entry.key}`, "is no connection string.");
      return [];
    });
    const main = databases.find(({ entry }) => entry.key !== "*") ?? databases[0];
    if (main === undefined) {
      put(this.#draft.root, "database", DATABASE_OF_ALL);
      const block = this.#draft.add("shards");
      put(block, "name", "main");
      putVariable(block, "host", "SHARD_HOST", null, "there was no database to take it from");
      putVariable(block, "user", "SHARD_USER", null);
      return;
    }
    this.#takeShard(main);
    for (const database of databases) this.#takeDatabase(database, main);
  }

  #takeShard({ entry, pairs }: Database): void {
    const name = entry.key === "*" ? DATABASE_OF_ALL : entry.key;
    put(this.#draft.root, "database", name);
    const block = this.#draft.add("shards");
    put(block, "name", "main", "its name in errors and in SHOW; any will do");
    put(block, "host", this.#host(entry, pairs.get("host")));
    put(block, "port", pairs.get("port") ?? "5432");
    put(block, "database", pairs.get("dbname") ?? name);
    this.#takeRole(entry, pairs);
  }

  #host(entry: IniEntry, host = ""): string {
    const [first = "", ...others] = host.split(",").map((one) => one.trim());
    const what = `[databases] ${entry.key} host`;
    if (others.length > 0) this.#say("different", entry, what, "a shard has one host: the first is taken.");
    if (first !== "" && !/^[/@]/.test(first)) return first;
    this.#say("different", entry, what, "is a Unix socket; pgxa connects to 127.0.0.1 by TCP.");
    return "127.0.0.1";
  }

  #takeRole(entry: IniEntry, pairs: ReadonlyMap<string, string>): void {
    const block = this.#draft.lists.get("shards")![0]!;
    const user = pairs.get("user");
    if (user === undefined) {
      const says = "is not given: PgBouncer logs in as each client's own user, pgxa as one role for all.";
      this.#say(
        "different",
        entry,
        `[databases] ${entry.key} user`,
        `${says} Set SHARD_USER and SHARD_PASSWORD.`,
      );
      putVariable(block, "user", "SHARD_USER", null, "the role pgxa logs in as, for all clients");
      putVariable(block, "password", "SHARD_PASSWORD", "");
      return;
    }
    put(block, "user", user);
    const listed = this.#users.find(({ name }) => name === user)?.secret ?? "";
    const isClear = listed !== "" && !/^(SCRAM-SHA-256\$|md5[0-9a-f]{32}$)/.test(listed);
    const password = pairs.get("password") ?? (isClear ? listed : undefined);
    if (password === undefined) putVariable(block, "password", "SHARD_PASSWORD", "");
    else put(block, "password", password);
  }

  #takeDatabase({ entry, pairs }: Database, main: Database): void {
    const place = (of: ReadonlyMap<string, string>): string =>
      JSON.stringify([of.get("host") ?? "", of.get("port") ?? "5432", of.get("user") ?? ""]);
    if (place(pairs) !== place(main.pairs)) {
      const says = `is on another server, or another role, than ${main.entry.key}: it needs a pgxa of its own.`;
      return this.#say("none", entry, `[databases] ${entry.key}`, says);
    }
    const block = this.#draft.add("databases");
    put(block, "name", entry.key);
    for (const [key, value] of pairs) takePair(block, "databases", entry, key, value, this.#say);
  }
}
