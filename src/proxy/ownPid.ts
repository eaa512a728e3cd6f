// Pure.
/**
 * `SELECT pg_backend_pid()`: a client is told the process id that it was given at start-up, by which it knows its own
 * notifications and others cancel it. Anywhere else in a statement the function is the server's own, which is right
 * for what is compared with the server's tables.
 */

const ASKED =
  /^\s*select\s+(?:pg_catalog\s*\.\s*)?pg_backend_pid\s*\(\s*\)(?:\s+(?:as\s+)?("(?:[^"]|"")+"|[a-z_][a-z_0-9]*))?\s*;?\s*$/i;
const TEXT_CHARACTERS_MAX = 200;

/** The name of the column, quoted if need be, if `text` asks for the process id and nothing else; else null. */
export function pidColumn(text: string): string | null {
  if (text.length > TEXT_CHARACTERS_MAX || !text.includes("_backend_pid")) return null;
  const match = ASKED.exec(text);
  return match === null ? null : (match[1] ?? "pg_backend_pid");
}

/** The statement that answers it. */
export const pidStatement = (pid: number, column: string): string => `SELECT ${pid} AS ${column}`;
