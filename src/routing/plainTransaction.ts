// Pure.
/**
 * BEGIN, COMMIT and ROLLBACK where a text says one of them, plainly and alone.
 *
 * What is said in any other way (with a comment, a chain, a second statement) is null here, and a shard is asked.
 * https://www.postgresql.org/docs/current/sql-begin.html
 */

/** White space as every version of Postgres has it, which is less than JavaScript's. */
const S = "[ \\t\\r\\n\\f]";
const AND_NO_MORE = `${S}*;?${S}*$`;
/** The characteristics that no server refuses; one in recovery has neither SERIALIZABLE nor READ WRITE. */
const MODE = `(?:isolation${S}+level${S}+(?:read${S}+(?:un)?committed|repeatable${S}+read)|read${S}+only|(?:not${S}+)?deferrable)`;
const MODES = `${S}+${MODE}(?:(?:${S}*,${S}*|${S}+)${MODE})*`;
const BEGIN = new RegExp(
  `^${S}*(?:begin(?:${S}+(?:work|transaction))?|(start)${S}+transaction)(${MODES})?${AND_NO_MORE}`,
  "i",
);
const END = new RegExp(
  `^${S}*(?:(commit|end)|rollback|abort)(?:${S}+(?:work|transaction))?(?:${S}+and${S}+no${S}+chain)?${AND_NO_MORE}`,
  "i",
);

/** A text that begins a transaction. */
export interface Begin {
  /** With which a shard would answer it. */
  readonly tag: "BEGIN" | "START TRANSACTION";
  /** The same in the fewest words. */
  readonly text: string;
}

const BEGIN_ALONE: Begin = { tag: "BEGIN", text: "BEGIN" };

/** How a text begins a transaction. */
export function plainBegin(text: string): Begin | null {
  const found = BEGIN.exec(text);
  if (found === null) return null;
  const [, isStart, modes] = found;
  if (isStart === undefined && modes === undefined) return BEGIN_ALONE;
  return { tag: isStart === undefined ? "BEGIN" : "START TRANSACTION", text: `BEGIN${modes ?? ""}` };
}

/** How a text ends its transaction. */
export function plainEnd(text: string): "commit" | "rollback" | null {
  const found = END.exec(text);
  if (found === null) return null;
  return found[1] === undefined ? "rollback" : "commit";
}

/** What a text that is longer is not. */
const BYTES_MAX = 128;
const SMALL = 0x20;
const [A, B, C, E, R, T] = Buffer.from("abcert");

/** Whether `plainBegin` is worth asking of `buffer[start, end)`; of what begins with a space it is not. */
export const mayBegin = (buffer: Uint8Array, start: number, end: number): boolean =>
  end - start <= BYTES_MAX && ((buffer[start]! | SMALL) === B || ((buffer[start + 1] ?? 0) | SMALL) === T);

/** The same of `plainEnd`. */
export function mayEnd(buffer: Uint8Array, start: number, end: number): boolean {
  const letter = buffer[start]! | SMALL;
  return end - start <= BYTES_MAX && (letter === C || letter === E || letter === R || letter === A);
}
