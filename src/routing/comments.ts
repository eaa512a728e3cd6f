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
/** What a comment, string, quoted name or dollar quote begins with. */
const MARK = /--|\/\*|['"$]/g;

/** All comments of `text`, in order; one that is never closed ends with the text. */
export function* commentsOf(text: string): Generator<Comment> {
  for (let at = nextMark(text, 0); at < text.length; ) {
    const end = pastComment(text, at);
    if (end === at) at = nextMark(text, pastToken(text, at));
    else {
      const isLine = text[at] === "-";
      yield { start: at, end, body: text.slice(at + 2, isLine ? end : end - 2) };
      at = nextMark(text, end);
    }
  }
}

/** False if what a comment begins with is nowhere in `text`. */
export const mayHaveComments = (text: string): boolean => text.includes("--") || text.includes("/*");

/** `text` with a space in place of each comment, so that whatever is written behind it is no part of one. */
export function withoutComments(text: string): string {
  if (!mayHaveComments(text)) return text;
  let result = "";
  let from = 0;
  for (const { start, end } of commentsOf(text)) {
    result += `${text.slice(from, start)} `;
    from = end;
  }
  return result + text.slice(from);
}

/**
 * Where the string, quoted name or dollar quote ends that begins at `at`; the next character if none begins there, and
 * beyond the text's end if it is never closed.
 */
export function pastToken(text: string, at: number): number {
  const c = text[at]!;
  if (c === "'") return pastString(text, at);
  if (c === '"') return pastQuoted(text, at, '"');
  if (c === "$" && (at === 0 || !NAME_PART.test(text[at - 1]!))) return pastDollarQuote(text, at);
  return at + 1;
}

/** Where the comment ends that begins at `at`, `at` itself if none does. */
export function pastComment(text: string, at: number): number {
  if (text[at] === "-" && text[at + 1] === "-") return lineEnd(text, at);
  return text[at] === "/" && text[at + 1] === "*" ? blockEnd(text, at) : at;
}

/** The parts of a continued string are read like its first. */
function pastString(text: string, start: number): number {
  const hasEscapes = isEscapeString(text, start);
  for (let at = start; ; ) {
    const end = hasEscapes ? pastEscaped(text, at) : pastQuoted(text, at, "'");
    const next = nextPart(text, end);
    if (next < 0) return end;
    at = next;
  }
}

/**
 * Where the string that ends before `from` goes on: behind white space with a line break in it, line comments included;
 * -1 if it does not. (A regular expression would run out of stack in a long gap.)
 */
function nextPart(text: string, from: number): number {
  let hasBreak = false;
  for (let at = from; ; ) {
    const c = text[at];
    if (c === "'") return hasBreak ? at : -1;
    if (c === "-" && text[at + 1] === "-") at = lineEnd(text, at);
    else if (c === undefined || !" \t\f\v\n\r".includes(c)) return -1;
    else {
      hasBreak ||= c === "\n" || c === "\r";
      at += 1;
    }
  }
}

/** E'…': a backslash quotes the next character. */
function isEscapeString(text: string, quote: number): boolean {
  const before = text[quote - 1];
  return (before === "e" || before === "E") && !NAME_PART.test(text[quote - 2] ?? " ");
}

/** A quote that is doubled goes on; what is between them is passed over without a look at each character. */
function pastQuoted(text: string, start: number, quote: string): number {
  for (let at = start + 1; ; ) {
    const end = text.indexOf(quote, at);
    if (end < 0) return text.length + 1;
    if (text[end + 1] !== quote) return end + 1;
    at = end + 2;
  }
}

function pastEscaped(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === "'") {
      if (text[at + 1] !== "'") return at + 1;
      at += 1;
    }
  }
  return text.length + 1;
}

function pastDollarQuote(text: string, start: number): number {
  DOLLAR_TAG.lastIndex = start;
  const tag = DOLLAR_TAG.exec(text)?.[0];
  if (tag === undefined) return start + 1;
  const end = text.indexOf(tag, start + tag.length);
  return end < 0 ? text.length + 1 : end + tag.length;
}

function nextMark(text: string, from: number): number {
  MARK.lastIndex = from;
  if (!MARK.test(text)) return text.length;
  return text[MARK.lastIndex - 1] === "-" || text[MARK.lastIndex - 1] === "*"
    ? MARK.lastIndex - 2
    : MARK.lastIndex - 1;
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
