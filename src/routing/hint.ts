// Pure.
/**
 * Hints in comments: slash-star, `pgxa: shard=east` or `pgxa: key=42`, star-slash, anywhere in the statement; and
 * `pgxa: standby`, alone or behind such a hint and a comma.
 *
 * Only a real comment counts, never the same letters in a string (comments.ts). A hint that is not understood is an
 * error, never ignored.
 */
import { Fault } from "../base/fault.ts";
import { commentsOf } from "./comments.ts";

export type CommentHint =
  | { readonly kind: "shard"; readonly name: string }
  | { readonly kind: "key"; readonly value: string };

const MARK = "pgxa:";
const FORM = /^\s*(shard|key)\s*=\s*(?:'((?:[^']|'')*)'|([^\s',;]+))\s*$/;

/** Stands alone or behind another hint. */
const STANDBY = /(?:^|,)\s*standby\s*(?:=\s*(on|off)\s*)?$/;

/** The hint in the comments of `text`; null if there is none. Throws a Fault for a malformed one, or two that differ. */
export function commentHint(text: string): CommentHint | null {
  let found: CommentHint | null = null;
  for (const body of hintsOf(text)) {
    const rest = body.replace(STANDBY, "");
    if (rest !== body && rest.trim() === "") continue;
    const hint = readHint(rest);
    if (found !== null && !isSame(found, hint)) throw differing();
    found = hint;
  }
  return found;
}

/** Whether `text` asks in its comments for a standby, or (false) for none; null: neither. Throws a Fault for both. */
export function standbyHint(text: string): boolean | null {
  let found: boolean | null = null;
  for (const body of hintsOf(text)) {
    const match = STANDBY.exec(body);
    if (match === null) continue;
    const wants = match[1] !== "off";
    if (found !== null && found !== wants) throw differing();
    found = wants;
  }
  return found;
}

function* hintsOf(text: string): Generator<string> {
  if (!text.includes(MARK)) return;
  for (const { body } of commentsOf(text)) {
    const trimmed = body.trim();
    if (trimmed.startsWith(MARK)) yield trimmed.slice(MARK.length);
  }
}

function readHint(body: string): CommentHint {
  const match = FORM.exec(body);
  if (match === null) throw malformed(`"${body.trim()}" is not understood.`);
  const value = match[2]?.replaceAll("''", "'") ?? match[3]!;
  return match[1] === "shard" ? { kind: "shard", name: value } : { kind: "key", value };
}

const differing = (): Fault => malformed("The statement has two hints that differ.");

const isSame = (a: CommentHint, b: CommentHint): boolean => JSON.stringify(a) === JSON.stringify(b);

const malformed = (detail: string): Fault =>
  new Fault("route.unsupported", {
    message: "invalid routing hint",
    detail,
    hint: "Write /* pgxa: shard=NAME */ or /* pgxa: key=VALUE */, the value in single quotes if it has spaces, or /* pgxa: standby */.",
  });
