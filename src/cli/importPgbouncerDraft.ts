// Pure.
/**
 * From PgBouncer's settings to pgxa's, and to what has to be said about them.
 *
 * Nothing is guessed: what has no counterpart is named with its line, and where PgBouncer's default is another than
 * pgxa's, PgBouncer's is written down. No value of PgBouncer's files is part of a note, for it may be a secret.
 */
import { optionAt } from "../config/options.ts";
import { DatabaseImport } from "./importPgbouncerDatabases.ts";
import { type Ini, type IniEntry, type ListedUser, readConnectionString } from "./importPgbouncerIni.ts";
import { pgbouncerKey } from "./importPgbouncerKeys.ts";
import { converted, type Note, type Say, takePair } from "./importPgbouncerPairs.ts";
import { type Block, Draft, put } from "./importPgbouncerYaml.ts";

export interface Imported {
  readonly yaml: string;
  readonly notes: readonly Note[];
}

/** What PgBouncer does where nothing is said, and pgxa does otherwise. */
const DEFAULTS: readonly (readonly [path: string, text: string])[] = [
  ["pool.mode", "session"],
  ["pool.checkout_timeout", "2min"],
  ["pool.connect_timeout", "15s"],
  ["limits.clients_max", "100"],
];

/** `users` are those of the auth_file, null if there is none that can be read; `pathOf` makes a file's name absolute. */
export function importSettings(
  ini: Ini,
  users: readonly ListedUser[] | null,
  pathOf: (name: string) => string,
): Imported {
  const draft = new Draft();
  const notes: Note[] = ini.problems.map(({ file, line, says }) => ({
    kind: "none",
    file,
    line,
    what: "",
    says,
  }));
  const say: Say = (kind, { file, line }, what, says) => void notes.push({ kind, file, line, what, says });
  const of = (section: string): readonly IniEntry[] => ini.entries.filter((one) => one.section === section);
  new DatabaseImport(draft, users ?? [], say).take(of("databases"));
  for (const entry of of("pgbouncer")) takeGlobal(draft, entry, say, pathOf);
  capMin(draft);
  for (const [path, text] of DEFAULTS) if (!draft.has(path)) draft.set(path, text, "PgBouncer's default");
  takeUsers(draft, of("users"), users, say);
  for (const entry of of("peers")) {
    say("none", entry, `[peers] ${entry.key}`, "pgxa does not pass cancel requests on to others.");
  }
  for (const entry of ini.entries) {
    if (!["pgbouncer", "databases", "users", "peers"].includes(entry.section)) {
      say("none", entry, entry.key, `stands in [${entry.section}], which PgBouncer does not know.`);
    }
  }
  const head = [
    "Made by pgxa import-pgbouncer. Look through it, put secrets into environment variables, and try it with",
    "  pgxa check --config FILE",
  ];
  return { yaml: draft.render(head), notes };
}

/** PgBouncer takes no more than the pool has. */
function capMin(draft: Draft): void {
  const pool = draft.sections.get("pool");
  const [min, max] = [pool?.get("min"), Number(pool?.get("max")?.text ?? optionAt("pool.max")?.default)];
  if (min !== undefined && Number(min.text) > max) pool?.set("min", { ...min, text: String(max) });
}

function takeGlobal(draft: Draft, entry: IniEntry, say: Say, pathOf: (name: string) => string): void {
  const { key, value } = entry;
  const mapping = pgbouncerKey("pgbouncer", key);
  if (mapping === undefined) return say("none", entry, key, "is no setting of PgBouncer.");
  if (mapping.path === null) return say(mapping.isNeedless ? "needless" : "none", entry, key, mapping.says);
  if (mapping.kind === "special") return SPECIAL[key]!(draft, entry, say);
  if (optionAt(mapping.path) === undefined) {
    if (key === "auth_file") return; // its users are in the YAML file itself
    return say("none", entry, key, `needs ${mapping.path}, which this version does not have.`);
  }
  if (value === "" && mapping.kind !== "count") return; // as good as not there
  const text = converted(mapping, entry, key, value, say);
  if (text === null) return;
  const carried = mapping.kind === "file" ? pathOf(text) : text;
  const ofShard = /^shards\[\]\.(.+)$/.exec(mapping.path)?.[1];
  const shard = draft.lists.get("shards")?.[0];
  if (ofShard === undefined) draft.set(mapping.path, carried);
  else if (shard !== undefined) put(shard, ofShard, carried);
}

type Special = (draft: Draft, entry: IniEntry, say: Say) => void;

const SPECIAL: Readonly<Record<string, Special>> = {
  listen_addr(draft, entry, say) {
    const [first = "", ...others] = entry.value.split(",").map((one) => one.trim());
    if (others.length > 0)
      say("different", entry, entry.key, "pgxa listens on one address: the first is taken.");
    if (first !== "") draft.set("listen.host", first === "*" ? "0.0.0.0" : first);
  },
  auth_type(draft, entry, say) {
    const { value, key } = entry;
    if (optionAt("auth.method")?.choices?.includes(value)) return draft.set("auth.method", value);
    if (value === "any") {
      say("different", entry, key, "is trust in pgxa: a user that is listed in users: has to be named.");
      return draft.set("auth.method", "trust");
    }
    const advice =
      "Clients have to log in by SCRAM-SHA-256, with a clear-text password or a SCRAM secret in users:.";
    say(
      value === "md5" || value === "plain" ? "different" : "none",
      entry,
      key,
      `is scram-sha-256 in pgxa. ${advice}`,
    );
    draft.set("auth.method", "scram-sha-256");
  },
  server_reset_query_always(draft, { value }) {
    if (value === "1") draft.set("pool.reset", "always");
  },
};

/** Users of the list, and those with settings of their own. */
function takeUsers(
  draft: Draft,
  entries: readonly IniEntry[],
  listed: readonly ListedUser[] | null,
  say: Say,
): void {
  const readsFile = optionAt("auth.users_file") !== undefined;
  const known = new Map((readsFile ? [] : (listed ?? [])).map(({ name, secret }) => [name, secret]));
  const settings = new Map(entries.map((entry) => [entry.key, entry]));
  const isTrusted = draft.sections.get("auth")?.get("method")?.text === "trust";
  for (const name of new Set([...known.keys(), ...settings.keys()])) {
    const [entry, secret] = [settings.get(name), known.get(name)];
    const canLogIn = readsFile || isTrusted || (secret !== undefined && secret !== "" && !isMd5(secret));
    if (!canLogIn) {
      const says = "has no clear-text password and no SCRAM secret, and cannot log in: left out.";
      if (entry !== undefined) say("none", entry, `[users] ${name}`, says);
      else draft.leftOut.push(name);
      continue;
    }
    const block = draft.add("users");
    put(block, "name", name);
    if (secret !== undefined && secret !== "" && !isMd5(secret)) put(block, "password", secret);
    if (entry !== undefined) takeUser(block, entry, say);
  }
}

const isMd5 = (secret: string): boolean => /^md5[0-9a-f]{32}$/.test(secret);

function takeUser(block: Block, entry: IniEntry, say: Say): void {
  const pairs = readConnectionString(entry.value);
  if (pairs === null) return say("none", entry, `[users] ${entry.key}`, "is no list of key=value.");
  for (const [key, value] of pairs) takePair(block, "users", entry, key, value, say);
}
