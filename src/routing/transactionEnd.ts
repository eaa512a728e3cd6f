// Pure.
/** What a text says of the end of its transaction, as far as a pooler in front of one shard has to know. */
import { plainEnd } from "./plainTransaction.ts";
import { splitStatements } from "./statementSplit.ts";

const COMMIT = /^\s*(?:commit|end|prepare\s+transaction)\b/i;
const BEGINS_WITH_COMMENT = /^\s*(?:--|\/\*)/;
const CHAIN = /\bchain\b/i;
/** A text that begins with another word is refused in a failed transaction. */
const OTHER_WORD = /^\s*(?!(?:rollback|abort|commit|end)\b)[a-z(]/i;

/** Whether running `text` may commit the transaction; false is sure. */
export function mayCommit(text: string): boolean {
  if (COMMIT.test(text)) return true;
  const semicolon = text.indexOf(";");
  const isOne = semicolon < 0 || !/\S/.test(text.slice(semicolon + 1));
  if (isOne && !BEGINS_WITH_COMMENT.test(text)) return false;
  return splitStatements(text)?.some(({ code }) => COMMIT.test(code)) ?? true;
}

/** Whether a text may ask for a transaction like the one it ends. */
export const mayChain = (text: string): boolean => CHAIN.test(text);

/** What a text is in a failed transaction: the end of it and nothing else, refused, or something to look at closely. */
export function inFailedTransaction(text: string): "rollback" | "commit" | "refused" | "other" {
  return plainEnd(text) ?? (OTHER_WORD.test(text) ? "refused" : "other");
}
