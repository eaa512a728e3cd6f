// Pure.
/**
 * The comments of a statement, found with the lexical rules of Postgres
 * (https://www.postgresql.org/docs/current/sql-syntax-lexical.html): the same letters in a string, a quoted name or a
 * dollar quote are no comment, comments stand within comments, and a string goes on behind a line break.
 */

export interface Comment {
  readonly start: number;
  readonly end: number;
  /** What is between its marks. */
  readonly body: string;
}

const NAME_PART = /[A-Za-z0-9_$\u0080-\uffff]/;
const DOLLAR_TAG = /\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$/y;
/** Between two parts of one string: white space with a line break in it, line comments included. */
const CONTINUATION = /[ \t\f\v]*(?:--[^\n\r]*)?[\n\r](?:[ \t\f\v\n\r]|--[^\n\r]*[\n\r])*'/y;

/** All comments of `text`, in order; one that is never closed ends with the text. */
export function* commentsOf(text: string): Generator<Comment> {
  for (let at = 0; at < text.length; ) {
    const c = text[at];
    if (c === "-" && text[at + 1] === "-") {
      const end = lineEnd(text, at);
      yield { start: at, end, body: text.slice(at + 2, end) };
      at = end;
    } else if (c === "/" && text[at + 1] === "*") {
      const end = blockEnd(text, at);
      yield { start: at, end, body: text.slice(at + 2, end - 2) };
      at = end;
    } else at = pastToken(text, at);
  }
}

/** `text` with a space in place of each comment, so that whatever is written behind it is no part of one. */
export function withoutComments(text: string): string {
  if (!text.includes("--") && !text.includes("/*")) return text;
  let result = "";
  let from = 0;
  for (const { start, end } of commentsOf(text)) {
    result += `${text.slice(from, start)} `;
    from = end;
  }
  return result + text.slice(from);
}

/** Where what begins at `at`, and is no comment, ends. */
function pastToken(text: string, at: number): number {
  const c = text[at]!;
  if (c === "'") return pastString(text, at);
  if (c === '"') return pastQuoted(text, at, '"', false);
  if (c === "$" && (at === 0 || !NAME_PART.test(text[at - 1]!))) return pastDollarQuote(text, at);
  return at + 1;
}

/** The parts of a continued string are read like its first. */
function pastString(text: string, start: number): number {
  const hasEscapes = isEscapeString(text, start);
  for (let end = pastQuoted(text, start, "'", hasEscapes); ; ) {
    CONTINUATION.lastIndex = end;
    if (!CONTINUATION.test(text)) return end;
    end = pastQuoted(text, CONTINUATION.lastIndex - 1, "'", hasEscapes);
  }
}

/** E'…': a backslash quotes the next character. */
function isEscapeString(text: string, quote: number): boolean {
  const before = text[quote - 1];
  return (before === "e" || before === "E") && !NAME_PART.test(text[quote - 2] ?? " ");
}

function pastQuoted(text: string, start: number, quote: string, hasEscapes: boolean): number {
  for (let at = start + 1; at < text.length; at += 1) {
    if (hasEscapes && text[at] === "\\") at += 1;
    else if (text[at] === quote) {
      if (text[at + 1] !== quote) return at + 1;
      at += 1;
    }
  }
  return text.length;
}

function pastDollarQuote(text: string, start: number): number {
  DOLLAR_TAG.lastIndex = start;
  const tag = DOLLAR_TAG.exec(text)?.[0];
  if (tag === undefined) return start + 1;
  const end = text.indexOf(tag, start + tag.length);
  return end < 0 ? text.length : end + tag.length;
}

function lineEnd(text: string, from: number): number {
  let at = from;
  while (at < text.length && text[at] !== "\n" && text[at] !== "\r") at += 1;
  return at;
}

function blockEnd(text: string, start: number): number {
  let depth = 1;
  for (let at = start + 2; at < text.length - 1; at += 1) {
    if (text[at] === "/" && text[at + 1] === "*") {
      depth += 1;
      at += 1;
    } else if (text[at] === "*" && text[at + 1] === "/") {
      depth -= 1;
      at += 1;
      if (depth === 0) return at + 1;
    }
  }
  return text.length;
}
