// Pure.
/**
 * What drivers and pools send by themselves before a user has said anything: settings, pings, questions about the
 * server. The console answers as a database would that has nothing to do with them.
 */
import type { Column } from "../wire/backendWriters.ts";
import { columns, type Row, row } from "./consoleTable.ts";
import { plainText, type Statement } from "./consoleText.ts";

export interface Probe {
  readonly columns: readonly Column[] | null;
  readonly rows: readonly Row[];
  readonly tag: string;
}

/** What a client of the console is told at login, as far as drivers look at it. */
export const CONSOLE_GREETING: ReadonlyMap<string, string> = new Map([
  ["server_version", "18.0 (pgxa console)"],
  ["server_encoding", "UTF8"],
  ["client_encoding", "UTF8"],
  ["DateStyle", "ISO, MDY"],
  ["IntervalStyle", "postgres"],
  ["TimeZone", "UTC"],
  ["integer_datetimes", "on"],
  ["standard_conforming_strings", "on"],
  ["is_superuser", "off"],
]);

/** Settings that drivers ask for or set, by their names in small letters, and what they are here. */
const SETTINGS: ReadonlyMap<string, string> = new Map([
  ...[...CONSOLE_GREETING].map(([name, value]) => [name.toLowerCase(), value] as const),
  ["application_name", ""],
  ["bytea_output", "hex"],
  ["client_min_messages", "notice"],
  ["default_transaction_isolation", "read committed"],
  ["default_transaction_read_only", "off"],
  ["extra_float_digits", "1"],
  ["idle_in_transaction_session_timeout", "0"],
  ["lock_timeout", "0"],
  ["max_identifier_length", "63"],
  ["row_security", "on"],
  ["search_path", '"$user", public'],
  ["session_authorization", ""],
  ["statement_timeout", "0"],
  ["synchronous_commit", "on"],
  ["transaction_isolation", "read committed"],
  ["transaction_read_only", "off"],
]);

const NO_ROWS: Pick<Probe, "columns" | "rows"> = { columns: null, rows: [] };
const one = (name: string, value: string): Probe => ({
  columns: columns(`${name}:text`),
  rows: [row(value)],
  tag: "SHOW",
});

/** The answers to questions that are a SELECT. */
function select(text: string, user: string): Probe | null {
  const tag = "SELECT 1";
  if (/^SELECT \d+$/.test(text))
    return { columns: columns("?column?:int4"), rows: [row(text.slice(7))], tag };
  const answers: Readonly<Record<string, string>> = {
    VERSION: `PostgreSQL ${SETTINGS.get("server_version")}`,
    CURRENT_DATABASE: "pgxa",
    CURRENT_SCHEMA: "public",
    CURRENT_USER: user,
    SESSION_USER: user,
  };
  const name = /^SELECT (?:PG_CATALOG\.)?(\w+)(?: \( \))?$/.exec(text)?.[1] ?? "";
  const answer = Object.hasOwn(answers, name) ? answers[name] : undefined;
  return answer === undefined ? null : { ...one(name.toLowerCase(), answer), tag };
}

/** Commands that end or forget what the console does not have. */
const FORGETS =
  /^(DISCARD (ALL|PLANS|SEQUENCES|TEMP|TEMPORARY)|DEALLOCATE( PREPARE)? \S+|UNLISTEN \S+|CLOSE ALL)$/;

/** The answer if `statement` is something of that kind. */
export function answerProbe(statement: Statement, user: string): Probe | null {
  const text = plainText(statement);
  const [verb = ""] = text.split(" ", 1);
  if (verb === "SELECT") return select(text, user);
  if (verb === "SHOW") {
    const name = text.slice(5).replaceAll(" ", "_").toLowerCase();
    const alias =
      name === "time_zone"
        ? "timezone"
        : name.replace("transaction_isolation_level", "transaction_isolation");
    const value = SETTINGS.get(alias);
    return value === undefined ? null : one(alias, value);
  }
  if (verb === "SET" && isSessionSetting(text)) return { ...NO_ROWS, tag: "SET" };
  if (verb === "RESET" && statement.length > 1) return { ...NO_ROWS, tag: "RESET" };
  if (FORGETS.test(text)) return { ...NO_ROWS, tag: verb === "DISCARD" ? text : verb };
  return null;
}

/** Whether a SET is about the session and not about pgxa. */
function isSessionSetting(text: string): boolean {
  const rest = text.replace(/^SET (SESSION |LOCAL )?/, "");
  if (/^(TIME ZONE|NAMES|TRANSACTION|CHARACTERISTICS|SESSION CHARACTERISTICS|ROLE) /.test(rest)) return true;
  return SETTINGS.has((rest.split(" ", 1)[0] ?? "").toLowerCase());
}
