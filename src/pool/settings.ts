/**
 * Settings that travel with a client from server connection to server connection.
 *
 * What a client has set is asked of the shard itself (`pg_settings`, source `session`) after a statement that may
 * have changed it; so a rollback, a savepoint or a function that calls set_config() need no second bookkeeping
 * here. Another connection is brought to the same state by RESET ALL and one set_config() for each.
 *
 * The canonical form is the SQL that brings a fresh connection there; equal text means equal settings.
 */
import { Fault } from "../base/fault.ts";
import type { ServerConnection } from "./serverConnection.ts";
import { ShardError } from "./shardError.ts";

/** A client that has set nothing. */
export const NO_SETTINGS = "";

const UNION = " UNION ALL";
const CAPTURE =
  "SELECT name, setting FROM pg_catalog.pg_settings WHERE source = 'session' " +
  `AND name !~ '^transaction_' AND name <> 'is_superuser'${UNION} SELECT name, ` +
  "pg_catalog.current_setting(name) FROM (VALUES ('session_authorization'), ('role')) AS role (name)";

/** Who one is decides what else one may set; so these come last. */
const ROLES = ["session_authorization", "role"];
const NO_ROLE = "none";
const RESET_ROLES = "RESET SESSION AUTHORIZATION; RESET ROLE; ";
/** `name` of ROLES in the canonical form; a value that looks like it costs two statements more. */
const SETS_ROLE = /set_config\('(?:session_authorization|role)'/;

/** `text` as a literal, whatever standard_conforming_strings says. */
export const literal = (text: string): string =>
  text.includes("\\")
    ? ` E'${text.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`
    : `'${text.replaceAll("'", "''")}'`;

/** The canonical form of settings by name; the last value of a name, in whatever case, counts. */
export function settingsOf(entries: Iterable<readonly [name: string, value: string]>): string {
  const values = new Map<string, string>();
  for (const [name, value] of entries) values.set(name.toLowerCase(), value);
  const calls = [...values]
    .sort(([a], [b]) => ROLES.indexOf(a) - ROLES.indexOf(b) || (a < b ? -1 : 1))
    .map(([name, value]) => `pg_catalog.set_config(${literal(name)}, ${literal(value)}, false)`);
  return calls.length === 0 ? NO_SETTINGS : `SELECT ${calls.join(", ")}`;
}

/**
 * What is set on `connection` now, by name; null when the shard did not say. `custom`: the names of an application's
 * own settings, such as `app.tenant`, which no list of the shard's has.
 */
export async function captureSettings(
  connection: ServerConnection,
  custom: readonly string[],
  timeoutMs: number,
): Promise<readonly (readonly [name: string, value: string])[] | null> {
  const asked = custom.map(
    (name) => `${UNION} SELECT ${literal(name)}, pg_catalog.current_setting(${literal(name)}, true)`,
  );
  const reply = await connection.run(CAPTURE + asked.join(""), timeoutMs);
  if (reply.kind !== "complete") return null;
  const entries = reply.rows.flatMap(([name, value]) =>
    name && value !== null ? [[name, value!] as const] : [],
  );
  return entries.filter(([name, value]) => {
    if (name === "role") return value !== NO_ROLE;
    return name !== "session_authorization" || value !== connection.user;
  });
}

/**
 * Brings `connection` to `settings`; outside a transaction only. Throws the shard's refusal (`ShardError`), or
 * `pool.connection_lost`.
 */
export async function applySettings(
  connection: ServerConnection,
  settings: string,
  timeoutMs: number,
): Promise<void> {
  const mayHaveRole = connection.settings === null || SETS_ROLE.test(connection.settings);
  const reset = mayHaveRole ? `${RESET_ROLES}RESET ALL` : "RESET ALL";
  const sql = settings === NO_SETTINGS ? reset : `${reset}; ${settings}`;
  connection.settings = null;
  const reply = await connection.run(sql, timeoutMs);
  if (reply.kind === "lost")
    throw new Fault("pool.connection_lost", { detail: `Shard "${connection.shard}": ${reply.reason}.` });
  if (reply.kind === "error") throw new ShardError(reply.error);
  connection.settings = settings;
}
