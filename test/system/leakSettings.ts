/** Settings as kinds of session state: by SET and set_config(), at startup, out of sight, and undone. */
import type { Asker, Kind, Who } from "./leakKind.ts";
import { bind, execute, parse, sync } from "./rawClient.ts";

type Values = readonly [a: string, b: string];
const of = (values: Values, who: Who): string => values[who === "a" ? 0 : 1];
const shown = (name: string) => (client: Asker) => client.ask(`SELECT current_setting('${name}', true)`);

/** A setting with the values as the shard shows them, made by `statements`. */
function setting(
  name: string,
  by: string,
  values: Values,
  none: string,
  statements: (value: string) => readonly string[],
): Kind {
  return {
    name: by,
    slot: name,
    none,
    async make(client, who) {
      for (const sql of statements(of(values, who))) await client.ask(sql);
      return of(values, who);
    },
    see: shown(name),
  };
}

/** A setting that its owner sees as little as the others. */
const undone = (kind: Kind): Kind => ({
  ...kind,
  make: async (client, who) => {
    await kind.make(client, who);
    return kind.none;
  },
});

const started = (name: string, by: string, values: Values, none: string, asOption: boolean): Kind => ({
  name: by,
  slot: name,
  none,
  startup: (who) => {
    const value = of(values, who);
    return asOption ? { options: `-c ${name}=${value.replaceAll(" ", "\\ ")}` } : { [name]: value };
  },
  make: async (_client, who) => of(values, who),
  see: shown(name),
});

const set = (name: string, values: Values, none: string): Kind =>
  setting(name, `SET ${name}`, values, none, (value) => [`SET ${name} = ${value}`]);

const quoted = (name: string, values: Values, none: string): Kind =>
  setting(name, `SET ${name}`, values, none, (value) => [`SET ${name} = '${value}'`]);

/** Settings, in all the ways to make them. */
export const SETTINGS: readonly Kind[] = [
  set("search_path", ["information_schema", "pg_catalog"], '"$user", public'),
  quoted("TimeZone", ["Asia/Tokyo", "America/Lima"], "GMT"),
  quoted("DateStyle", ["German, DMY", "SQL, MDY"], "ISO, MDY"),
  quoted("client_encoding", ["LATIN1", "WIN1252"], "UTF8"),
  quoted("statement_timeout", ["11111ms", "22222ms"], "0"),
  quoted("work_mem", ["5MB", "6MB"], "4MB"),
  {
    ...quoted("my.var", ["one \\a", "one of b"], ""),
  },
  quoted("application_name", ["one \\a", 'one "b"'], ""),
  setting("lock_timeout", "set_config()", ["11111ms", "22222ms"], "0", (value) => [
    `SELECT set_config('lock_timeout', '${value}', false)`,
  ]),
  setting("cursor_tuple_fraction", "SET in a DO block", ["0.5", "0.6"], "0.1", (value) => [
    `DO $$ BEGIN SET cursor_tuple_fraction = ${value}; END $$`,
  ]),
  setting("join_collapse_limit", "SET behind a savepoint", ["11", "12"], "8", (value) => [
    "BEGIN; SAVEPOINT one; SET join_collapse_limit = 3; ROLLBACK TO one",
    `SET join_collapse_limit = ${value}`,
    "COMMIT",
  ]),
  setting("geqo_effort", "SET behind other statements", ["7", "8"], "5", (value) => [
    `SELECT 1; SELECT 2; /* and */ SET geqo_effort = ${value}; SELECT 3`,
  ]),
  setting(
    "transaction_isolation",
    "SET SESSION CHARACTERISTICS",
    ["serializable", "repeatable read"],
    "read committed",
    (value) => [`SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL ${value}`],
  ),
  started("application_name", "a startup parameter", ["one", "two"], "", false),
  started("extra_float_digits", "startup options", ["0", "2"], "1", true),
  started("DateStyle", "DateStyle in startup options", ["German, DMY", "SQL, MDY"], "ISO, MDY", true),
  started("my.started", "a custom variable at startup", ["one", "two"], "", false),
  {
    ...started("my.behind", "a custom variable at startup, behind a SET", ["one", "two"], "", false),
    make: async (client, who) => {
      await client.ask("SET commit_siblings = 6");
      return who === "a" ? "one" : "two";
    },
  },
  {
    ...setting("from_collapse_limit", "a named statement that sets, run later", ["11", "12"], "8", () => []),
    async make(client, who) {
      const value = who === "a" ? "11" : "12";
      await client.say(parse("setter", "SELECT set_config('from_collapse_limit', $1, false)"), sync());
      await client.ask("SELECT 1");
      await client.say(bind("setter", [value]), execute(), sync());
      return value;
    },
  },
  {
    ...setting("geqo_threshold", "an unnamed statement that sets, run later", ["11", "13"], "12", () => []),
    async make(client, who) {
      await client.say(parse("", `SET geqo_threshold = ${who === "a" ? 11 : 13}`), sync());
      await client.say(bind(""), execute(), sync());
      return who === "a" ? "11" : "13";
    },
  },
];

/** Settings that are made and undone. */
export const UNDONE: readonly Kind[] = [
  setting("idle_session_timeout", "set_config() rolled back", ["11111ms", "22222ms"], "0", (value) => [
    "BEGIN",
    `SELECT set_config('idle_session_timeout', '${value}', false)`,
    "ROLLBACK",
  ]),
  setting("temp_file_limit", "SET in a failed transaction", ["1111kB", "2222kB"], "-1", (value) => [
    "BEGIN",
    `SET temp_file_limit = '${value}'`,
    "SELECT 1/0",
    "COMMIT",
  ]),
  setting("gin_fuzzy_search_limit", "SET LOCAL", ["11", "12"], "0", (value) => [
    "BEGIN",
    `SET LOCAL gin_fuzzy_search_limit = ${value}`,
    "COMMIT",
  ]),
  setting("seq_page_cost", "RESET", ["11", "12"], "1", (value) => [
    `SET seq_page_cost = ${value}`,
    "RESET seq_page_cost",
  ]),
  setting("random_page_cost", "RESET ALL", ["11", "12"], "4", (value) => [
    `SET random_page_cost = ${value}`,
    "RESET ALL",
  ]),
  setting("cpu_tuple_cost", "DISCARD ALL", ["11", "12"], "0.01", (value) => [
    `SET cpu_tuple_cost = ${value}`,
    "DISCARD ALL",
  ]),
  setting(
    "transaction_isolation",
    "SET TRANSACTION",
    ["serializable", "repeatable read"],
    "read committed",
    (value) => ["BEGIN", `SET TRANSACTION ISOLATION LEVEL ${value}`, "SELECT 1", "COMMIT"],
  ),
].map(undone);
