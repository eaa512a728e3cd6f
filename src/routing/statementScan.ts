// Pure.
/**
 * The literals and comments of a statement, found in one pass with the lexical rules of Postgres
 * (https://www.postgresql.org/docs/current/sql-syntax-lexical.html), and a hash of all the rest: statements that differ
 * in nothing but their literals have one hash, and the same text between them.
 *
 * It makes nothing: where the literals lie is written into arrays that are used again and again.
 *
 * A text is refused if it could be read otherwise than here, by this version of Postgres or another, under these
 * settings or others: backslashes in plain strings, junk behind numbers (`0x1F`, `1_000`, `1..2`), strings of several
 * parts, those with prefixes but E (B, X, N, U&), dollar quotes. So are comments that may hold a hint, several statements, and
 * more than a bounded number of literals. What is refused costs a parse as it did before, and nothing else.
 */

/** What a part of a text is that is not the same in all statements of its kind. */
export const PART = {
  /** Whole, and within 32 bits: the parser makes another kind of constant of greater ones. */
  integer: 1,
  bigInteger: 2,
  /** With a point or an exponent. */
  fraction: 3,
  string: 4,
  /** E'…' */
  escapeString: 5,
  comment: 6,
} as const;

const CHARACTERS_MAX = 256 * 1024;
const PARTS_MAX = 4_096;
const PARTS_AT_FIRST = 64;
const INTEGER_MAX = 0x7fff_ffff;
const REFUSED = -1;
const HASH_SEED = 0x811c_9dc5 | 0;
const HASH_FACTOR = 0x0100_0193;

/** What a character may begin. */
const OTHER = 0;
const WORD = 1;
const DIGIT = 2;
/** A quote, a comment, a number without digits before its point, a parameter: has to be looked at. */
const SPECIAL = 3;

const NUL = 0x00;
const DOUBLE_QUOTE = 0x22;
const DOLLAR = 0x24;
const AMPERSAND = 0x26;
const QUOTE = 0x27;
const STAR = 0x2a;
const PLUS = 0x2b;
const MINUS = 0x2d;
const POINT = 0x2e;
const SLASH = 0x2f;
const ZERO = 0x30;
const NINE = 0x39;
const SEMICOLON = 0x3b;
const BACKSLASH = 0x5c;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
/** The lower case of an ASCII letter. */
const LOWER = 0x20;
const [B, E, N, U, X] = [0x62, 0x65, 0x6e, 0x75, 0x78];

export class StatementScan {
  /** Of the text without its literals and comments, with the kind of each. */
  hash = 0;
  /** How many literals and comments there are. */
  count = 0;
  starts = new Int32Array(PARTS_AT_FIRST);
  ends = new Int32Array(PARTS_AT_FIRST);
  kinds = new Uint8Array(PARTS_AT_FIRST);
  /** The values of those that are `PART.integer`. */
  values = new Int32Array(PARTS_AT_FIRST);
  readonly #classes = classes();
  /** Where a string ended behind which nothing but white space and comments has come. */
  #afterString = false;
  #number: number = PART.integer;
  #value = 0;

  /** Scans `text`; false if it is refused, and what is found then means nothing. */
  scan(text: string): boolean {
    const { length } = text;
    if (length > CHARACTERS_MAX) return false;
    const known = this.#classes;
    let hash = HASH_SEED;
    this.count = 0;
    this.#afterString = false;
    for (let at = 0; at < length; ) {
      let c = text.charCodeAt(at);
      const kind = c < 0x80 ? known[c]! : WORD;
      if (kind === OTHER) {
        if (c > 0x20) this.#afterString = false;
        hash = Math.imul(hash ^ c, HASH_FACTOR);
        at += 1;
        continue;
      }
      if (kind === WORD) {
        const start = at;
        do {
          hash = Math.imul(hash ^ c, HASH_FACTOR);
          at += 1;
          c = at < length ? text.charCodeAt(at) : NUL;
        } while (c >= 0x80 || c === DOLLAR || known[c] === WORD || known[c] === DIGIT);
        if (at === start + 1 && isPrefix(text, start)) return false;
        this.#afterString = false;
        continue;
      }
      const before = this.count;
      const next = kind === DIGIT ? this.#numeral(text, at) : this.#special(text, at, c);
      if (next === REFUSED) return false;
      if (this.count > before) hash = Math.imul(hash ^ this.kinds[before]!, HASH_FACTOR);
      else for (let i = at; i < next; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), HASH_FACTOR);
      at = next;
    }
    this.hash = hash;
    return true;
  }

  // --- what is the same in all statements of a kind ---

  #special(text: string, at: number, c: number): number {
    const next = at + 1 < text.length ? text.charCodeAt(at + 1) : NUL;
    switch (c) {
      case QUOTE:
        return this.#string(text, at);
      case MINUS:
        if (next === MINUS) return this.#lineComment(text, at);
        break;
      case SLASH:
        if (next === STAR) return this.#blockComment(text, at);
        break;
      case POINT:
        if (next === POINT) return REFUSED;
        if (next >= ZERO && next <= NINE) return this.#numeral(text, at);
        break;
      case DOUBLE_QUOTE:
        return this.#quotedName(text, at);
      case DOLLAR:
        return this.#parameter(text, at);
      case SEMICOLON:
        return this.#isEnd(text, at + 1) ? at + 1 : REFUSED;
      default:
        return REFUSED; // a backslash, or a zero byte
    }
    this.#afterString = false;
    return at + 1;
  }

  #quotedName(text: string, start: number): number {
    this.#afterString = false;
    for (let at = start + 1; ; at += 2) {
      at = text.indexOf('"', at);
      if (at < 0) return REFUSED;
      if (text.charCodeAt(at + 1) !== DOUBLE_QUOTE) return at + 1;
    }
  }

  #parameter(text: string, start: number): number {
    this.#afterString = false;
    const end = pastDigits(text, start + 1);
    return end === start + 1 || this.#isWordAt(text, end) ? REFUSED : end;
  }

  /** Whether nothing but white space and semicolons comes from `at` on. */
  #isEnd(text: string, at: number): boolean {
    for (let i = at; i < text.length; i += 1) {
      const c = text.charCodeAt(i);
      if (c > 0x20 && c !== SEMICOLON) return false;
    }
    return true;
  }

  #isWordAt(text: string, at: number): boolean {
    if (at >= text.length) return false;
    const c = text.charCodeAt(at);
    return c >= 0x80 || c === DOLLAR || this.#classes[c] === WORD || this.#classes[c] === DIGIT;
  }

  // --- literals and comments ---

  #add(start: number, end: number, kind: number, value = 0): number {
    const { count } = this;
    if (count === PARTS_MAX) return REFUSED;
    if (count === this.starts.length) this.#grow();
    this.starts[count] = start;
    this.ends[count] = end;
    this.kinds[count] = kind;
    this.values[count] = value;
    this.count = count + 1;
    return end;
  }

  #grow(): void {
    const size = 2 * this.starts.length;
    const { starts, ends, kinds, values } = this;
    this.starts = new Int32Array(size);
    this.ends = new Int32Array(size);
    this.kinds = new Uint8Array(size);
    this.values = new Int32Array(size);
    this.starts.set(starts);
    this.ends.set(ends);
    this.kinds.set(kinds);
    this.values.set(values);
  }

  #numeral(text: string, start: number): number {
    this.#afterString = false;
    const end = this.#pastNumeral(text, start);
    if (this.#isWordAt(text, end) || text.charCodeAt(end) === POINT) return REFUSED;
    return this.#add(start, end, this.#number, this.#value);
  }

  #pastNumeral(text: string, start: number): number {
    let value = 0;
    let at = start;
    for (; at < text.length; at += 1) {
      const digit = text.charCodeAt(at) - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    this.#number = value <= INTEGER_MAX ? PART.integer : PART.bigInteger;
    this.#value = value <= INTEGER_MAX ? value : 0;
    if (text.charCodeAt(at) === POINT) {
      this.#number = PART.fraction;
      at = pastDigits(text, at + 1);
    }
    if ((text.charCodeAt(at) | LOWER) !== E) return at;
    const sign = text.charCodeAt(at + 1);
    const from = sign === PLUS || sign === MINUS ? at + 2 : at + 1;
    const end = pastDigits(text, from);
    if (end === from) return at; // and the letter is junk
    this.#number = PART.fraction;
    return end;
  }

  /** The letter in front of an E'…' has been taken for a name. */
  #string(text: string, start: number): number {
    if (this.#afterString) return REFUSED;
    const hasEscapes = start > 0 && this.#isEscape(text, start - 1);
    for (let at = start + 1; at < text.length; at += 1) {
      const c = text.charCodeAt(at);
      if (c === BACKSLASH) {
        at += 1;
        if (!hasEscapes || isCode(text.charCodeAt(at))) return REFUSED;
      } else if (c === QUOTE) {
        if (text.charCodeAt(at + 1) !== QUOTE) {
          this.#afterString = true;
          return this.#add(start, at + 1, hasEscapes ? PART.escapeString : PART.string);
        }
        at += 1;
      } else if (c === NUL) return REFUSED;
    }
    return REFUSED;
  }

  #isEscape(text: string, at: number): boolean {
    return (text.charCodeAt(at) | LOWER) === E && (at === 0 || !this.#isWordAt(text, at - 1));
  }

  #lineComment(text: string, start: number): number {
    let at = start + 2;
    for (; at < text.length; at += 1) {
      const c = text.charCodeAt(at);
      if (c === LINE_FEED || c === CARRIAGE_RETURN) break;
    }
    return this.#comment(text, start, at);
  }

  #blockComment(text: string, start: number): number {
    let depth = 1;
    for (let at = start + 2; at < text.length - 1; at += 1) {
      const c = text.charCodeAt(at);
      const next = text.charCodeAt(at + 1);
      if (c === SLASH && next === STAR) {
        depth += 1;
        at += 1;
      } else if (c === STAR && next === SLASH) {
        depth -= 1;
        at += 1;
        if (depth === 0) return this.#comment(text, start, at + 1);
      }
    }
    return REFUSED;
  }

  #comment(text: string, start: number, end: number): number {
    return text.slice(start, end).includes("pgxa") ? REFUSED : this.#add(start, end, PART.comment);
  }
}

/** Whether the letter at `at` belongs to what comes behind it: B, N or X and a string, U and what has code points. */
function isPrefix(text: string, at: number): boolean {
  const letter = text.charCodeAt(at) | LOWER;
  const next = text.charCodeAt(at + 1);
  if (letter === U) return next === AMPERSAND;
  return next === QUOTE && (letter === B || letter === N || letter === X);
}

/** Whether behind a backslash it begins the code of a character, which may be none. */
const isCode = (c: number): boolean => (c >= ZERO && c <= NINE) || (c | LOWER) === U || (c | LOWER) === X;

function pastDigits(text: string, start: number): number {
  let at = start;
  for (; at < text.length; at += 1) {
    const c = text.charCodeAt(at);
    if (c < ZERO || c > NINE) break;
  }
  return at;
}

function classes(): Uint8Array {
  const found = new Uint8Array(0x80);
  for (let c = 0; c < found.length; c += 1) {
    if (/[A-Za-z_]/.test(String.fromCharCode(c))) found[c] = WORD;
    else if (c >= ZERO && c <= NINE) found[c] = DIGIT;
  }
  for (const c of [QUOTE, DOUBLE_QUOTE, DOLLAR, MINUS, SLASH, POINT, SEMICOLON, BACKSLASH, NUL])
    found[c] = SPECIAL;
  return found;
}
