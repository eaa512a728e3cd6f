// Pure.
/**
 * `RESOLVE gtrid COMMIT | ROLLBACK [CONFIRM ['reason']]`: how a transaction in doubt is to end, by an operator's word.
 *
 * Without CONFIRM nothing is done: the answer is what stands where, and what may go wrong.
 */
import { Fault } from "../base/fault.ts";
import { columns, type Row, row } from "./consoleTable.ts";
import type { Statement, Word } from "./consoleText.ts";
import type { Operations, ResolveRequest } from "./operations.ts";

export const RESOLVE_USAGE = "RESOLVE gtrid COMMIT | ROLLBACK [CONFIRM ['reason']]";
export const RESOLVE_SAYS =
  "end a transaction in doubt that pgxa cannot; without CONFIRM, say what that would mean";
export const RESOLVE_COLUMNS = columns("shard:text gid says done:bool");

const OUTCOMES: Readonly<Record<string, ResolveRequest["outcome"]>> = { COMMIT: "commit", ROLLBACK: "abort" };

/** What stands behind RESOLVE; throws a Fault for what it does not take. */
export function readResolve(words: Statement, by: string): ResolveRequest {
  const { gtrid, rest } = readName(words);
  const [verb, confirm, reason, ...more] = rest;
  const outcome = OUTCOMES[upper(verb)];
  const isConfirmed = upper(confirm) === "CONFIRM";
  const isReason = reason === undefined || (reason.kind === "string" && isConfirmed);
  if (outcome === undefined || (confirm !== undefined && !isConfirmed) || !isReason || more.length > 0) {
    throw new Fault("console.unknown_command", {
      message: "wrong argument of RESOLVE",
      hint: `It is ${RESOLVE_USAGE}.`,
    });
  }
  return { gtrid, outcome, isConfirmed, by, reason: reason?.text ?? "" };
}

/** A name in quotes, or without: then it is four words with colons in between. */
function readName(words: Statement): { readonly gtrid: string; readonly rest: Statement } {
  const [first] = words;
  if (first?.kind === "string" || first?.kind === "quoted")
    return { gtrid: first.text, rest: words.slice(1) };
  const signs = [1, 3, 5].every((i) => words[i]?.text === ":");
  const count = signs ? 7 : 1;
  const name = words.slice(0, count).map(({ text }) => text);
  return { gtrid: name.join(""), rest: words.slice(count) };
}

export async function resolveRows(operations: Operations, request: ResolveRequest): Promise<readonly Row[]> {
  const remarks = await operations.resolve(request);
  return remarks.map(({ shard, gid, says, isDone }) => row(shard, gid, says, isDone ?? null));
}

const upper = (word: Word | undefined): string => (word?.kind === "word" ? word.text.toUpperCase() : "");
