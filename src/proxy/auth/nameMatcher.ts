// Pure.
/** A word of a rule that stands for names: itself, or a regular expression after a slash. */
import type { Word } from "./ruleFile.ts";

export type NameMatcher =
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "regex"; readonly regex: RegExp };

/** PostgreSQL's names are no longer. */
const NAME_BYTES_MAX = 63;
/** Certificates' names may be longer; what is longer than this is no food for an expression that is slow on it. */
const SUBJECT_BYTES_MAX = 256;

/** The matcher of `word`; a text says what is wrong with it. */
export function nameMatcher({ text }: Word): NameMatcher | string {
  if (!text.startsWith("/")) return { kind: "name", name: text };
  try {
    return { kind: "regex", regex: new RegExp(text.slice(1), "u") };
  } catch {
    return `invalid regular expression "${text.slice(1)}"`;
  }
}

export const matchesName = (matcher: NameMatcher, name: string): boolean =>
  matcher.kind === "name" ? matcher.name === name : isShort(name) && matcher.regex.test(name);

export const isShort = (name: string): boolean => Buffer.byteLength(name) <= SUBJECT_BYTES_MAX;

/** Whether `name` may be that of a role or database. */
export const isName = (name: string): boolean => Buffer.byteLength(name) <= NAME_BYTES_MAX;
