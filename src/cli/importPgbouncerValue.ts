// Pure.
/** One value of PgBouncer's as the option of pgxa takes it. */
import { optionAt } from "../config/options.ts";
import { showDuration } from "../config/values.ts";
import type { KeyMapping } from "./importPgbouncerKeys.ts";

export type Converted =
  | { readonly ok: true; readonly text: string; readonly says: string | null }
  | { readonly ok: false; readonly says: string };

const MODES = ["session", "transaction", "statement"];

/** The text for the YAML file; `says`: what had to be changed. */
export function convert({ path, kind }: KeyMapping, value: string): Converted {
  switch (kind) {
    case "count":
    case "bytes":
      return bounded(path, value, 1, String);
    case "seconds":
      return bounded(path, value, 1_000, (ms) => (ms === 0 ? "0" : showDuration(ms)));
    case "mode":
      return MODES.includes(value) ? as(value) : { ok: false, says: "is no pool mode" };
    default:
      return value === "" ? { ok: false, says: "is empty" } : as(value);
  }
}

const as = (text: string, says: string | null = null): Converted => ({ ok: true, text, says });

/** A number within the option's range. PgBouncer's 0 is no limit; where the option knows no such thing it is the highest. */
function bounded(
  path: string | null,
  value: string,
  factor: number,
  show: (amount: number) => string,
): Converted {
  const written = Number(value);
  if (value === "" || !Number.isFinite(written)) return { ok: false, says: "is no number" };
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = optionAt(path ?? "") ?? {};
  const amount = Math.round(written * factor);
  if (amount >= min && amount <= max) return as(show(amount));
  const other = show(amount < min && amount > 0 ? min : max);
  return as(other, `is ${other} in pgxa, which is as near as the option allows.`);
}
