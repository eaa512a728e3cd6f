// Pure.
/**
 * TypeScript source as far as the rules of the house look at it: without comments and quoted text, and where its
 * functions are. A lexer, no parser; it knows code as the formatter leaves it.
 */

/** `text` with comments, strings, templates and regular expressions turned to blanks; lines stay where they are. */
export function bare(text: string): string {
  let code = "";
  // For each template we are in: how many braces are open in the `${…}` that is being read.
  const templates: number[] = [];
  for (let at = 0; at < text.length; ) {
    const end = quietEnd(text, at, code, templates);
    code += end > at ? blank(text.slice(at, end)) : text[at];
    at = Math.max(end, at + 1);
  }
  return code;
}

const blank = (text: string): string => text.replaceAll(/[^\n]/g, " ");

/** The end of what is quiet at `at`; `at` if that is code. */
function quietEnd(text: string, at: number, before: string, templates: number[]): number {
  const [char, pair] = [text[at]!, text.slice(at, at + 2)];
  if (pair === "//" || pair === "#!") return endOr(text, text.indexOf("\n", at));
  if (pair === "/*") return endOr(text, text.indexOf("*/", at) + 2);
  if (char === '"' || char === "'") return matchEnd(STRING, text, at);
  if (char === "/" && mayBeginRegExp(before)) return matchEnd(REGEXP, text, at);
  if (char === "`") return templateEnd(text, at + 1, templates);
  const depth = templates.at(-1);
  if (depth === undefined || (char !== "{" && char !== "}")) return at;
  if (char === "}" && depth === 0) {
    templates.pop();
    return templateEnd(text, at + 1, templates);
  }
  templates[templates.length - 1] = depth + (char === "{" ? 1 : -1);
  return at;
}

const STRING = /"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'/sy;
const REGEXP = /\/(?:\\.|\[(?:\\.|[^\]\\])*\]|[^/\\[])+\/[a-z]*/sy;

const endOr = (text: string, end: number): number => (end < 2 ? text.length : end);

function matchEnd(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : at + 1;
}

/** From within a template to its end, or to the code in its next `${`. */
function templateEnd(text: string, from: number, templates: number[]): number {
  for (let at = from; at < text.length; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === "`") return at + 1;
    else if (text.startsWith("${", at)) {
      templates.push(0);
      return at + 2;
    }
  }
  return text.length;
}

/** Whether a slash after `before` divides nothing. */
const mayBeginRegExp = (before: string): boolean =>
  /(?:^|[=(,:&|!?[{;+*%~^<>-]|\b(?:return|typeof|case|of|in|await))\s*$/.test(before.slice(-80));

export interface FunctionPlace {
  /** 1-based. */
  readonly line: number;
  readonly lines: number;
  /** The line it begins at. */
  readonly head: string;
}

/** Functions, methods and arrow functions with a block; `code` is bare. */
export function functions(code: string): readonly FunctionPlace[] {
  const places: FunctionPlace[] = [];
  const open: { at: number; isFunction: boolean }[] = [];
  for (const { 0: char, index } of code.matchAll(/[{}]/g)) {
    if (char === "{") open.push({ at: index, isFunction: beginsFunction(code.slice(0, index)) });
    const block = char === "}" ? open.pop() : undefined;
    if (block?.isFunction) places.push(placeOf(code, block.at, index));
  }
  return places;
}

function placeOf(code: string, from: number, to: number): FunctionPlace {
  const lineStart = code.lastIndexOf("\n", from) + 1;
  const [line, lines] = [lineCount(code.slice(0, from)), lineCount(code.slice(from, to + 1))];
  return { line, lines, head: code.slice(lineStart, from) };
}

const lineCount = (text: string): number => text.split("\n").length;

/** Whether the brace after `before` opens the body of a function: after an arrow, or after parameters. */
function beginsFunction(before: string): boolean {
  if (/=>\s*$/.test(before)) return true;
  if (/:\s*$/.test(before)) return false; // a type, or a property's value
  for (let close = before.lastIndexOf(")"); close >= 0; ) {
    const between = before.slice(close + 1);
    const opener = openingOf(before, close);
    if (/^\s*(?::[^;]*)?$/.test(between)) return !BLOCK_WORD.test(before.slice(0, opener));
    if (!/^\s*=>[^;]*$/.test(between)) return false;
    close = before.lastIndexOf(")", opener - 1); // that was a function type within the type of the result
  }
  return false;
}

const BLOCK_WORD = /\b(?:if|for|while|switch|catch|with|await)\s*$/;

/** Where the parenthesis that closes at `close` was opened. */
function openingOf(text: string, close: number): number {
  let depth = 0;
  for (let at = close; at >= 0; at -= 1) {
    if (text[at] === ")") depth += 1;
    if (text[at] === "(") depth -= 1;
    if (depth === 0) return at;
  }
  return 0;
}
