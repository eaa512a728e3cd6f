// Pure.
/**
 * The cheapest look of all: whether a statement is one of those that do nothing to the session, read byte by byte where it
 * lies. Most statements are; for them no string is made and no regular expression asked.
 *
 * It errs on one side only. True means one SELECT, INSERT, UPDATE, DELETE or WITH in which nothing stands that
 * `sessionEffectsMayApply()`, `mayCommit()` or a look for what is about sessions would find (a test compares them over
 * texts made of such pieces). Anything like it, within a string too, is left to them.
 */

const SPACE = 0x20;
const AMPERSAND = 0x26;
const STAR = 0x2a;
const MINUS = 0x2d;
const SLASH = 0x2f;
const SEMICOLON = 0x3b;
const UNDERSCORE = 0x5f;
/** Turns a letter's capital into the small one; what is no letter becomes something that is none either. */
const SMALL = 0x20;
const [B, C, D, E, G, I, L, N, O, P, S, T, U, W, X, Y] = Buffer.from("bcdegilnopstuwxy");

/** What each byte is; everything else is 0. */
const PLAIN = 0;
const BLANK = 1;
const SUSPECT = 2;
const KINDS = new Uint8Array(256);
for (const byte of Buffer.from(" \t\n\r\f\v\xa0", "latin1")) KINDS[byte] = BLANK; // the last as JavaScript has it
for (const byte of [0, AMPERSAND, MINUS, SLASH, SEMICOLON, UNDERSCORE, X!, X! - SMALL]) KINDS[byte] = SUSPECT;

/** Whether the text in `buffer[start, end)`, without the NUL that ends it, is an ordinary statement. */
export function isOrdinary(buffer: Uint8Array, start: number, end: number): boolean {
  let at = start;
  while (at < end && buffer[at] === SPACE) at += 1;
  if (!beginsOrdinarily(buffer, at, end)) return false;
  for (; at < end; at += 1) {
    const kind = KINDS[buffer[at]!]!;
    if (kind === PLAIN) continue;
    if (kind === BLANK ? endsInto(buffer, at, end) : mayMatter(buffer, at, end)) return false;
  }
  return true;
}

/** A word of which nothing else begins with the same letters. */
function beginsOrdinarily(buffer: Uint8Array, at: number, end: number): boolean {
  if (end - at < 4) return false;
  const second = buffer[at + 1]! | SMALL;
  const third = buffer[at + 2]! | SMALL;
  switch (buffer[at]! | SMALL) {
    case S:
      return second === E && third === L; // select, and neither set nor security
    case I:
      return second === N && third === S;
    case U:
      return second === P && third === D;
    case D:
      return second === E && third === L;
    case W:
      return second === I && third === T;
    default:
      return false;
  }
}

/** Whether INTO may stand before the space at `at`, and what makes a temporary table behind it. */
function endsInto(buffer: Uint8Array, at: number, end: number): boolean {
  if ((buffer[at - 1]! | SMALL) !== O || (buffer[at - 2]! | SMALL) !== T) return false;
  let next = at + 1;
  while (next < end && KINDS[buffer[next]!] === BLANK) next += 1;
  const letter = (buffer[next] ?? 0) | SMALL;
  return letter === T || letter === L || letter === G;
}

/** Whether the byte at `at` may be part of something that matters. */
function mayMatter(buffer: Uint8Array, at: number, end: number): boolean {
  const before = (buffer[at - 1] ?? 0) | SMALL;
  const next = buffer[at + 1] ?? 0;
  const after = next | SMALL;
  switch (buffer[at]) {
    case UNDERSCORE: // set_config, advisory_lock, advisory_unlock, pg_temp, pg_notify, pg_prepared_s…, …_backend…
      if (after === B) return true;
      if (before === T) return after === C;
      if (before === Y) return after === L || after === U;
      return before === G && (after === T || after === N || after === P);
    case X:
    case X! - SMALL: // execute
      return before === E && after === E;
    case MINUS:
      return next === MINUS;
    case SLASH:
      return next === STAR;
    case SEMICOLON:
      return at !== end - 1;
    default:
      return true;
  }
}
