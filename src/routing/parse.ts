// Pure.
/**
 * PostgreSQL's own parser, compiled to WebAssembly (libpg-query). A text becomes its statements, or the fault that
 * the server would give: a syntax error with its position.
 *
 * A text nested so deeply that the parser's stack ends is refused like one that the server finds too complex.
 */
import { loadModule, parseSync } from "libpg-query";
import { Fault } from "../base/fault.ts";
import { type Fields, type Node, nodeOf } from "./syntax.ts";

/** Longer texts are not parsed: several times their size is needed in the parser's memory. */
const TEXT_BYTES_MAX = 16 * 1024 * 1024;
/** Deeper nesting ends the parser's stack; the server's own limit (max_stack_depth) is of this order. */
const NESTING_MAX = 1_000;

export interface ParsedStatement {
  readonly node: Node;
  /** The statement's own text, without what is before and behind it. */
  readonly sql: string;
}

/** Loads the parser; once, before anything is parsed. */
export const loadParser = (): Promise<void> => loadModule();

/** The statements of `text`, none if it is empty; throws a Fault (`route.syntax_error`, `route.unsupported`). */
export function parse(text: string): readonly ParsedStatement[] {
  if (isEmpty(text)) return [];
  if (text.length > TEXT_BYTES_MAX) throw tooComplex(`It has more than ${TEXT_BYTES_MAX} characters.`);
  if (nesting(text) > NESTING_MAX) throw tooComplex(`It is nested more than ${NESTING_MAX} levels deep.`);
  const tree = parseTree(text);
  const statements = Array.isArray(tree.stmts) ? (tree.stmts as Fields[]) : [];
  const bytes = statements.length === 1 ? null : Buffer.from(text);
  return statements.map((statement) => ({
    node: nodeOf(statement.stmt)!,
    sql: bytes === null ? trimmed(text) : slice(bytes, statement),
  }));
}

function parseTree(text: string): Fields {
  try {
    return parseSync(text) as unknown as Fields;
  } catch (error) {
    throw asFault(error, text);
  }
}

function asFault(error: unknown, text: string): Fault {
  const details =
    error instanceof Error ? (error as { sqlDetails?: { cursorPosition?: number } }).sqlDetails : undefined;
  if (details === undefined) return tooComplex("The parser ended without a result.", error);
  const position = (details.cursorPosition ?? -1) + 1;
  return new Fault("route.syntax_error", {
    message: (error as Error).message,
    ...(position > 0 ? { position: Math.min(position, text.length + 1) } : {}),
  });
}

function slice(bytes: Buffer, statement: Fields): string {
  const start = typeof statement.stmt_location === "number" ? statement.stmt_location : 0;
  const length = typeof statement.stmt_len === "number" ? statement.stmt_len : bytes.length - start;
  return bytes.toString("utf8", start, start + length).trim();
}

const trimmed = (text: string): string => text.trim().replace(/;\s*$/, "");

/** Whether there is nothing but space, semicolons and comments; those with a comment the parser decides. */
const isEmpty = (text: string): boolean => /^[\s;]*$/.test(text) || parsesToNothing(text);

function parsesToNothing(text: string): boolean {
  const withoutComments = text.replaceAll(/--[^\n\r]*|\/\*[\s\S]*?\*\//g, "");
  return /^[\s;]*$/.test(withoutComments) && text.length < 10_000;
}

/** The greatest depth of parentheses and brackets, those in strings counted too. */
function nesting(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (let i = 0; i < text.length; i += 1) {
    const c = text.charCodeAt(i);
    if (c === 0x28 || c === 0x5b) deepest = Math.max(deepest, ++depth);
    else if ((c === 0x29 || c === 0x5d) && depth > 0) depth -= 1;
  }
  return deepest;
}

const tooComplex = (detail: string, cause?: unknown): Fault =>
  new Fault("route.unsupported", {
    message: "the statement is too complex to be routed",
    detail,
    hint: "Split it, or send its values as parameters.",
    ...(cause === undefined ? {} : { cause }),
  });
