/** Every kind of session state that Postgres has, one table. */
import type { Asker, Kind, Who } from "./leakKind.ts";
import { SETTINGS, UNDONE } from "./leakSettings.ts";
import { bind, execute, parse, sync } from "./rawClient.ts";

/** What every shard has before the first client. */
export const LEAK_SCHEMA = `
  CREATE ROLE leak_a; CREATE ROLE leak_b;
  SELECT lo_from_bytea(4242, 'a large object');`;

const role = (who: Who): string => `leak_${who}`;
const currentUser = (client: Asker): Promise<string> => client.ask("SELECT current_user");

const ROLES: readonly Kind[] = [
  {
    name: "SET ROLE",
    slot: "role",
    none: "postgres",
    make: async (client, who) => {
      await client.ask(`SET ROLE ${role(who)}`);
      return role(who);
    },
    see: currentUser,
  },
  {
    name: "SET SESSION AUTHORIZATION",
    slot: "role",
    none: "postgres",
    make: async (client, who) => {
      await client.ask(`SET SESSION AUTHORIZATION ${role(who)}`);
      return role(who);
    },
    see: currentUser,
  },
  {
    name: "set_config('role')",
    slot: "role",
    none: "postgres",
    make: async (client, who) => {
      await client.ask(`SELECT set_config('role', '${role(who)}', false)`);
      return role(who);
    },
    see: currentUser,
  },
  {
    name: "the role of startup options",
    slot: "role",
    none: "postgres",
    startup: (who) => ({ options: `-c role=${role(who)}` }),
    make: async (_client, who) => role(who),
    see: currentUser,
  },
];

const text = (who: Who): string => `of ${who}`;

const STATEMENTS: readonly Kind[] = [
  {
    name: "a named statement",
    slot: "named statement",
    none: "!26000",
    make: async (client, who) => {
      await client.say(parse("mine", `SELECT '${text(who)}'`), sync());
      return text(who);
    },
    see: (client) => client.say(bind("mine"), execute(), sync()),
  },
  {
    name: "a named statement, discarded",
    slot: "discarded statement",
    none: "!26000",
    make: async (client, who) => {
      await client.say(parse("discarded", `SELECT '${text(who)}'`), sync());
      await client.ask("DISCARD ALL");
      return "!26000";
    },
    see: (client) => client.say(bind("discarded"), execute(), sync()),
  },
  {
    name: "SQL PREPARE",
    slot: "prepared",
    none: "!26000",
    make: async (client, who) => {
      await client.ask(`PREPARE leak_prepared AS SELECT '${text(who)}'`);
      return text(who);
    },
    see: (client) => client.ask("EXECUTE leak_prepared"),
  },
  {
    name: "the unnamed statement",
    slot: "unnamed statement",
    isBrief: true,
    none: "!26000",
    make: async (client, who) => {
      await client.say(parse("", `SELECT '${text(who)}'`), sync());
      return text(who);
    },
    see: (client) => client.say(bind(""), execute(), sync()),
  },
  {
    name: "a portal",
    slot: "portal",
    holds: true,
    none: "!34000",
    make: async (client, who) => {
      await client.ask("BEGIN");
      const rows = `SELECT '${text(who)}' FROM generate_series(1, 100)`;
      await client.say(parse("", rows), bind("", [], "leak_portal"), sync());
      return text(who);
    },
    see: (client) => client.say(execute("leak_portal", 1), sync()),
  },
  {
    name: "a cursor",
    slot: "cursor",
    holds: true,
    none: "!34000",
    make: async (client, who) => {
      await client.ask(`BEGIN; DECLARE leak_cursor SCROLL CURSOR FOR SELECT '${text(who)}'`);
      return text(who);
    },
    see: (client) => client.ask("FETCH FIRST FROM leak_cursor"),
  },
  {
    name: "a cursor WITH HOLD",
    slot: "held cursor",
    holds: true,
    none: "!34000",
    make: async (client, who) => {
      await client.ask(`DECLARE leak_held SCROLL CURSOR WITH HOLD FOR SELECT '${text(who)}'`);
      return text(who);
    },
    see: (client) => client.ask("FETCH FIRST FROM leak_held"),
  },
];

const temporary = (name: string, table: string, statements: (value: string) => readonly string[]): Kind => ({
  name,
  slot: table,
  holds: true,
  none: "!42P01",
  make: async (client, who) => {
    for (const sql of statements(text(who))) await client.ask(sql);
    return text(who);
  },
  see: (client) => client.ask(`SELECT v FROM ${table}`),
});

/** What the client's own backend has locked. */
const locks = (client: Asker): Promise<string> =>
  client.ask(
    "SELECT string_agg(objid::text, ' ') FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
  );

const locked = (name: string, sql: (key: string) => string): Kind => ({
  name,
  slot: "advisory lock",
  holds: true,
  none: "",
  make: async (client, who) => {
    const key = who === "a" ? "17" : "18";
    await client.ask(sql(key));
    return key;
  },
  see: locks,
});

const OBJECTS: readonly Kind[] = [
  temporary("a temporary table", "leak_t", (value) => [`CREATE TEMP TABLE leak_t AS SELECT '${value}' AS v`]),
  temporary("a temporary table by search_path", "leak_path_t", (value) => [
    "SET search_path = pg_temp, public",
    `CREATE TABLE leak_path_t AS SELECT '${value}' AS v`,
    "RESET search_path",
  ]),
  temporary("a temporary table made in a DO block", "leak_do_t", (value) => [
    `DO $$ BEGIN CREATE TEMP TABLE leak_do_t AS SELECT '${value}' AS v; END $$`,
  ]),
  locked("an advisory lock", (key) => `SELECT pg_advisory_lock(${key})`),
  {
    ...locked(
      "an advisory lock taken in a DO block",
      (key) => `DO $$ BEGIN PERFORM pg_advisory_lock(${key}); END $$`,
    ),
  },
  {
    name: "LISTEN",
    slot: "channel",
    none: "nothing",
    make: async (client, who) => {
      await client.ask("LISTEN leak_channel");
      await client.ask(`LISTEN leak_channel_${who}`);
      return "heard";
    },
    see: hears,
  },
  {
    name: "a large object's descriptor",
    slot: "descriptor",
    holds: true,
    none: "!42704",
    make: async (client, who) => {
      const at = who === "a" ? "3" : "5";
      await client.ask("BEGIN");
      await client.ask("SELECT lo_open(4242, 262144)");
      await client.ask(`SELECT lo_lseek(0, ${at}, 0)`);
      return at;
    },
    see: (client) => client.ask("SELECT lo_tell(0)"),
  },
  {
    name: "a savepoint",
    slot: "savepoint",
    holds: true,
    none: "!25P01",
    make: async (client, who) => {
      await client.ask(`BEGIN; SET LOCAL my.point = '${text(who)}'; SAVEPOINT leak_point`);
      return text(who);
    },
    see: async (client) => {
      const back = await client.ask("ROLLBACK TO SAVEPOINT leak_point");
      if (back === "!3B001") return "!25P01"; // in a block of its own that has no such savepoint
      return back === "" ? client.ask("SELECT current_setting('my.point')") : back;
    },
  },
];

/** Whether what is notified reaches who notifies; an owner waits for it. */
async function hears(client: Asker, isOwner: boolean): Promise<string> {
  const heardBefore = client.notified.length;
  const listening = await client.ask("SELECT string_agg(name, ' ') FROM pg_listening_channels() AS name");
  if (client.status === "T") return "nothing"; // it would hear once the transaction is over
  await client.ask("NOTIFY leak_channel, 'x'");
  for (let i = 0; i < (isOwner ? 5_000 : 3); i += 1) {
    await client.ask("SELECT 1");
    if (client.notified.length > heardBefore) return "heard";
  }
  return listening === "" ? "nothing" : `listens to ${listening}`;
}

export const KINDS: readonly Kind[] = [...SETTINGS, ...UNDONE, ...ROLES, ...STATEMENTS, ...OBJECTS];
