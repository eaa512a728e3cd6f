// Pure.
/**
 * `SELECT pg_cancel_backend(…)` and `SELECT pg_terminate_backend(…)` of a process id that pgxa gave a client: the
 * shard knows no such process, so pgxa does it, and the shard is asked something that answers true.
 *
 * Drivers and tools cancel and end sessions this way, by the process id of the start-up.
 */
import type { BindReader } from "../wire/bindReader.ts";

export type SignalKind = "cancel" | "terminate";

export interface BackendSignal {
  readonly kind: SignalKind;
  /** Null: it is the first parameter; "own": pg_backend_pid(). */
  readonly pid: number | "own" | null;
  readonly column: string;
}

const TEXT_CHARACTERS_MAX = 200;
const ASKED =
  /^\s*select\s+(?:pg_catalog\s*\.\s*)?(pg_(cancel|terminate)_backend)\s*\(\s*(?:\$1|(\d{1,10})|((?:pg_catalog\s*\.\s*)?pg_backend_pid\s*\(\s*\)))\s*(?:::\s*\w+\s*)?\)(?:\s+(?:as\s+)?("(?:[^"]|"")+"|[a-z_][a-z_0-9]*))?\s*;?\s*$/i;

/** What `text` asks for; null if it is something else. */
export function backendSignal(text: string): BackendSignal | null {
  if (text.length > TEXT_CHARACTERS_MAX || !text.includes("_backend")) return null;
  const match = ASKED.exec(text);
  if (match === null) return null;
  const [, name, verb, literal, own, column] = match;
  const kind = verb!.toLowerCase() as SignalKind;
  const pid = literal !== undefined ? Number(literal) : own !== undefined ? "own" : null;
  return { kind, pid, column: column ?? name!.toLowerCase() };
}

/** The statement that answers as if the shard had done it; a client that cancels itself cancels that. */
export function signalStatement({ kind, pid, column }: BackendSignal, isOwn: boolean): string {
  const argument = pid === null ? " + 0 * $1::int4" : "";
  if (isOwn && kind === "cancel") {
    return `SELECT pg_catalog.pg_cancel_backend(pg_catalog.pg_backend_pid()${argument}) AS ${column}`;
  }
  return pid === null ? `SELECT $1::int4 IS NOT NULL AS ${column}` : `SELECT true AS ${column}`;
}

/** The process id that the first parameter of a Bind has; null if it has none. */
export function boundPid(bind: BindReader): number | null {
  if (bind.parameterCount !== 1 || bind.isNull(0)) return null;
  const value = bind.parameter(0);
  if (bind.format(0) === 0) return /^\s*\d{1,10}\s*$/.test(value.toString("latin1")) ? Number(value) : null;
  if (value.length === 4) return value.readInt32BE();
  return value.length === 8 ? Number(value.readBigInt64BE()) : null;
}
