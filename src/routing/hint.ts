// Pure.
/**
 * Hints in comments: slash-star, `pgxa: shard=east` or `pgxa: key=42`, star-slash, anywhere in the statement.
 *
 * Only a real comment counts, never the same letters in a string, a quoted name or a dollar quote; so the text is read
 * with the lexical rules of Postgres (https://www.postgresql.org/docs/current/sql-syntax-lexical.html), comments
 * within comments included. A hint that is not understood is an error, never ignored.
 */
import { Fault } from "../base/fault.ts";

export type CommentHint =
  | { readonly kind: "shard"; readonly name: string }
  | { readonly kind: "key"; readonly value: string };

const MARK = "pgxa:";
const FORM = /^\s*(shard|key)\s*=\s*(?:'((?:[^']|'')*)'|([^\s',;]+))\s*$/;
const NAME_PART = /[A-Za-z0-9_$\u0080-\uffff]/;

/** The hint in the comments of `text`; null if there is none. Throws a Fault for a malformed one, or two that differ. */
export function commentHint(text: string): CommentHint | null {
  if (!text.includes(MARK)) return null;
  let found: CommentHint | null = null;
  for (const comment of comments(text)) {
    const body = comment.trim();
    if (!body.startsWith(MARK)) continue;
    const hint = readHint(body.slice(MARK.length));
    if (found !== null && !isSame(found, hint)) throw malformed("The statement has two hints that differ.");
    found = hint;
  }
  return found;
}

function readHint(body: string): CommentHint {
  const match = FORM.exec(body);
  if (match === null) throw malformed(`"${body.trim()}" is not understood.`);
  const value = match[2]?.replaceAll("''", "'") ?? match[3]!;
  return match[1] === "shard" ? { kind: "shard", name: value } : { kind: "key", value };
}

const isSame = (a: CommentHint, b: CommentHint): boolean => JSON.stringify(a) === JSON.stringify(b);

const malformed = (detail: string): Fault =>
  new Fault("route.unsupported", {
    message: "invalid routing hint",
    detail,
    hint: "Write /* pgxa: shard=NAME */ or /* pgxa: key=VALUE */, the value in single quotes if it has spaces.",
  });

/** The insides of all comments. */
function* comments(text: string): Generator<string> {
  for (let at = 0; at < text.length; ) {
    const two = text.slice(at, at + 2);
    if (two === "--") {
      const end = lineEnd(text, at);
      yield text.slice(at + 2, end);
      at = end;
    } else if (two === "/*") {
      const end = blockEnd(text, at);
      yield text.slice(at + 2, end - 2);
      at = end;
    } else at = pastToken(text, at);
  }
}

/** Where what begins at `at`, and is no comment, ends. */
function pastToken(text: string, at: number): number {
  const c = text[at]!;
  if (c === "'") return pastQuoted(text, at, "'", isEscapeString(text, at));
  if (c === '"') return pastQuoted(text, at, '"', false);
  if (c === "$" && (at === 0 || !NAME_PART.test(text[at - 1]!))) return pastDollarQuote(text, at);
  return at + 1;
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
  const tag = /^\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$/.exec(
    text.slice(start, start + 70),
  )?.[0];
  if (tag === undefined) return start + 1;
  const end = text.indexOf(tag, start + tag.length);
  return end < 0 ? text.length : end + tag.length;
}

function lineEnd(text: string, from: number): number {
  const end = text.slice(from).search(/[\n\r]/);
  return end < 0 ? text.length : from + end;
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
  return text.length + 2; // never closed: the parser says so
}
