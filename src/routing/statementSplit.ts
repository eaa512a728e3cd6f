// Pure.
/**
 * The statements of a long text, found without the parser: by the semicolons that are in no string, quoted name, dollar
 * quote or comment (comments.ts), and in no parentheses (the actions of a rule are in such).
 *
 * The one other place where Postgres has semicolons within a statement is the body of a function in SQL, `BEGIN ATOMIC
 * … END`; a text that has the word is not split. Neither is one that does not end as it should: strings that are never
 * closed, parentheses without their other half. Who asks has then to do without.
 */
import { pastComment, pastToken } from "./comments.ts";

export interface StatementText {
  /** Where it is in the text; the semicolon behind it is not of it. */
  readonly start: number;
  readonly end: number;
  /**
   * Its words: a space for each comment, and nothing in its strings and dollar quotes. Quoted names are as they were:
   * `"set_config"` is a function's name.
   */
  readonly code: string;
}

const BEGIN_ATOMIC = /\bbegin\s+atomic\b/i;
const QUOTE = 0x27;
const DOUBLE_QUOTE = 0x22;
const DOLLAR = 0x24;
const DASH = 0x2d;
const SLASH = 0x2f;
const SEMICOLON = 0x3b;
const OPEN = 0x28;
const CLOSE = 0x29;

/** The statements of `text`, empty ones left out; null if they cannot be told apart. Takes time in proportion to it. */
export function splitStatements(text: string): readonly StatementText[] | null {
  const statements: StatementText[] = [];
  let code = "";
  let start = 0;
  let copied = 0;
  let depth = 0;
  for (let at = 0; at <= text.length; ) {
    const c = at < text.length ? text.charCodeAt(at) : SEMICOLON;
    if (c === QUOTE || c === DOLLAR || c === DASH || c === SLASH || c === DOUBLE_QUOTE) {
      const comment = pastComment(text, at);
      const next = comment > at ? comment : pastToken(text, at);
      if (next > at + 1 && c !== DOUBLE_QUOTE) {
        code += text.slice(copied, at) + (comment > at ? " " : "''");
        copied = next;
      }
      at = next;
      continue;
    }
    if (c === OPEN) depth += 1;
    else if (c === CLOSE) depth -= 1;
    else if (c === SEMICOLON && depth === 0) {
      code += text.slice(copied, at);
      if (/\S/.test(code)) statements.push({ start, end: at, code });
      code = "";
      start = copied = at + 1;
    }
    at += 1;
  }
  const isWhole = start > text.length;
  return isWhole && !statements.some(({ code }) => BEGIN_ATOMIC.test(code)) ? statements : null;
}
