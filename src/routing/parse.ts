// Pure.
/**
 * PostgreSQL's own parser, compiled to WebAssembly (libpg-query). A text becomes its statements, or the fault that
 * the server would give: a syntax error with its position.
 *
 * A text nested so deeply that the parser's stack ends is refused like one that the server finds too complex.
 */
import { Fault } from "../base/fault.ts";
import { withoutComments } from "./comments.ts";
import { ParserInstances } from "./parserInstance.ts";
import { type Fields, type Node, nodeOf } from "./syntax.ts";

/** Longer texts are not parsed: several times their size is needed in the parser's memory. */
const TEXT_CHARACTERS_MAX = 16 * 1024 * 1024;
/** Deeper nesting ends the parser's stack; the server's own limit (max_stack_depth) is of this order. */
const NESTING_MAX = 1_000;

export interface ParsedStatement {
  readonly node: Node;
  /** The statement's own text, without comments or what is before and behind it: another may be written behind. */
  readonly sql: string;
}

/** The parser's code for this process; it keeps nothing of what it has parsed. */
const PARSER = { instances: new ParserInstances() } as const;

/** Loads the parser; before anything is parsed. */
export const loadParser = (): Promise<void> => PARSER.instances.load();

/** False for the moment between a crash of the parser and its next instance: what is refused then is not for ever. */
export const isParserReady = (): boolean => PARSER.instances.isReady;

/** The statements of `text`, none if it is empty; throws a Fault (`route.syntax_error`, `route.unsupported`). */
export function parse(text: string): readonly ParsedStatement[] {
  if (/^[\s;]*$/.test(text)) return [];
  if (text.length > TEXT_CHARACTERS_MAX)
    throw tooComplex(`It has more than ${TEXT_CHARACTERS_MAX} characters.`);
  if (nesting(text) > NESTING_MAX) throw tooComplex(`It is nested more than ${NESTING_MAX} levels deep.`);
  const tree = parseTree(text);
  const statements = Array.isArray(tree.stmts) ? (tree.stmts as Fields[]) : [];
  const bytes = statements.length === 1 ? null : Buffer.from(text);
  return statements.map((statement) => ({
    node: nodeOf(statement.stmt)!,
    sql: bare(bytes === null ? text : slice(bytes, statement)),
  }));
}

function parseTree(text: string): Fields {
  const answer = PARSER.instances.parse(text);
  switch (answer.kind) {
    case "tree":
      return answer.tree as Fields;
    case "error":
      throw new Fault("route.syntax_error", {
        message: answer.message,
        ...(answer.position < 0 ? {} : { position: answer.position + 1 }),
      });
    case "crash":
      throw tooComplex("The parser ended without a result.", answer.cause);
    case "absent":
      throw new Fault("route.unsupported", {
        message: "the statement cannot be parsed now",
        detail: "A statement before it was too complex for the parser, which is being made anew.",
        hint: "Send the statement again.",
      });
  }
}

function slice(bytes: Buffer, statement: Fields): string {
  const start = typeof statement.stmt_location === "number" ? statement.stmt_location : 0;
  const length = typeof statement.stmt_len === "number" ? statement.stmt_len : bytes.length - start;
  return bytes.toString("utf8", start, start + length);
}

function bare(text: string): string {
  const plain = withoutComments(text);
  let end = plain.length;
  while (end > 0 && /[\s;]/.test(plain[end - 1]!)) end -= 1;
  return plain.slice(0, end).trimStart();
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
