// Pure.
/**
 * What is written to the console, in words: split at semicolons, without comments, with quotes understood as in SQL.
 */

export interface Word {
  /** A name as it was written; of a quoted one, or a string, what is between the quotes. */
  readonly text: string;
  readonly kind: "word" | "quoted" | "string" | "sign";
}

export type Statement = readonly Word[];

const TOKEN =
  /\s+|--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|"((?:[^"]|"")*)"|[eE]?'((?:[^']|'')*)'|([\w$.\u0080-\uffff+-]+)|([\s\S])/gy;

/** The statements of `text` that are not empty. */
export function readStatements(text: string): readonly Statement[] {
  const statements: Word[][] = [[]];
  for (const [, quoted, string, word, sign] of text.matchAll(TOKEN)) {
    const current = statements.at(-1)!;
    if (quoted !== undefined) current.push({ text: quoted.replaceAll('""', '"'), kind: "quoted" });
    else if (string !== undefined) current.push({ text: string.replaceAll("''", "'"), kind: "string" });
    else if (word !== undefined) current.push({ text: word, kind: "word" });
    else if (sign === ";") statements.push([]);
    else if (sign !== undefined) current.push({ text: sign, kind: "sign" });
  }
  return statements.filter((statement) => statement.length > 0);
}

/** The statement as a text to compare with: words and signs in capital letters, one blank between. */
export const plainText = (statement: Statement): string =>
  statement.map(({ text, kind }) => (kind === "string" ? "'…'" : text.toUpperCase())).join(" ");
