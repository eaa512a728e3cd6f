// Pure.
/**
 * A session in which pgxa asks a shard something on its own account: one statement, and its rows or its error.
 *
 * The error is the shard's answer (`DatabaseError`), after which the session goes on, or says that there was none.
 */
import { DatabaseError } from "pg-protocol";

export type Row = Readonly<Record<string, unknown>>;

export interface ControlSession {
  /** The server that answered last, as `IDENTITY` says it; null before the first answer. */
  readonly server: string | null;
  /** One after the other, in the order of the calls. Opens the session if there is none. */
  query(sql: string, values: readonly unknown[]): Promise<readonly Row[]>;
  /** Nothing is asked from then on. */
  close(): Promise<void>;
}

/** Which server this is, and that it can finish transactions: its identity and timeline; fails on a standby. */
export const IDENTITY =
  "SELECT system_identifier::text || '/' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8) AS server " +
  "FROM pg_catalog.pg_control_system()";

/** Whatever the role's defaults are. A wait for a lock is bounded, for others wait for this session. */
export const CONTROL_SETTINGS =
  "SELECT pg_catalog.set_config('lock_timeout', '1s', false), " +
  "pg_catalog.set_config('default_transaction_isolation', 'read committed', false)";

/** Null if it is not a shard's answer. */
export const sqlstateOf = (error: unknown): string | null =>
  error instanceof DatabaseError ? (error.code ?? null) : null;

/** Whether the shard answered and the session goes on; it ends with class 08 and the shutdowns of class 57. */
export const isAnswer = (error: unknown): boolean => {
  const sqlstate = sqlstateOf(error);
  return sqlstate !== null && !/^(08|57P0)/.test(sqlstate);
};
