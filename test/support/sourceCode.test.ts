// biome-ignore-all lint/suspicious/noTemplateCurlyInString: code in strings
/** The lexer that the rules of the house are checked with. */
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, it } from "node:test";
import { bare, functions } from "./sourceCode.ts";

describe("bare code", () => {
  const CASES: readonly (readonly [what: string, text: string, expected: string])[] = [
    ["line comments", "a; // b {\nc", "a;       \nc"],
    ["block comments", "a /* { \n } */ b", "a      \n      b"],
    ["strings", `a("{ // \\" ", '}')`, "a(          ,    )"],
    ["templates, but not the code in them", "a(`x { ${b({ c })} }`) + d", "a(       b({ c })    ) + d"],
    ["templates within templates", "`${a(`${b}`)}` + c", "   a(   b  )   + c"],
    ["regular expressions", 'x = /[/"]{2}/g; y', "x =           ; y"],
    ["no divisions", "a / b; c(d) / 2 / e", "a / b; c(d) / 2 / e"],
  ];
  for (const [what, text, expected] of CASES) {
    it(`is without ${what}`, () => assert.equal(bare(text), expected));
  }

  it("has as many braces opened as closed in every file here", () => {
    const root = resolve(import.meta.dirname, "../..");
    for (const file of globSync("{src,test,bench,examples}/**/*.ts", { cwd: root })) {
      const text = readFileSync(resolve(root, file), "utf8");
      const code = bare(text);
      assert.equal(code.length, text.length, file);
      assert.equal(code.match(/\{/g)?.length, code.match(/\}/g)?.length, file);
    }
  });
});

describe("functions", () => {
  const found = (text: string): string[] =>
    functions(bare(text)).map(({ line, lines }) => `${line}+${lines}`);

  const CASES: readonly (readonly [what: string, text: string, expected: string[]])[] = [
    ["a function", "export async function f(a = {}): Promise<() => void> {\n\n}", ["1+3"]],
    ["a function with parameters on several lines", "function f(\n  { a }: { a: X },\n) {\n}", ["3+2"]],
    ["a function that returns an object type", "function f(): { a: X } {\n}", ["1+2"]],
    ["a method", "class A {\n  async #m(): Promise<void> {\n  }\n}", ["2+2"]],
    ["a getter", "class A {\n  get m(): X {\n  }\n}", ["2+2"]],
    ["an arrow function", "const f = ({ a }: A): B => {\n};", ["1+2"]],
    ["an arrow function that is passed", "f(a, async () => {\n});", ["1+2"]],
    [
      "no blocks",
      "if (a) {\n} else {\n}\nfor (const x of f()) {\n}\ntry {\n} catch (e) {\n}\nswitch (a) {\n}",
      [],
    ],
    [
      "no object or type",
      "const a = f(b, { c });\nconst d: { e: X } = (g) ? { h } : { i };\ninterface J {\n}",
      [],
    ],
  ];
  for (const [what, text, expected] of CASES)
    it(`are ${what}`, () => assert.deepEqual(found(text), expected));
});
