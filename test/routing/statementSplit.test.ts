/** Splitting a text into statements by its letters alone, against Postgres' own parser. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import fc from "fast-check";
import { loadParser, parse } from "../../src/routing/parse.ts";
import { splitStatements } from "../../src/routing/statementSplit.ts";

before(loadParser);

const codes = (text: string): string[] | null => splitStatements(text)?.map(({ code }) => code) ?? null;

describe("a text split into statements", () => {
  it("has neither comments nor what is in strings", () => {
    const cases: readonly (readonly [string, string[] | null])[] = [
      ["", []],
      [" ;; /* ; */ ; --", []],
      ["SELECT 'a;''b', E'\\';' ; SELECT 2", ["SELECT '', E'' ", " SELECT 2"]],
      ["SELECT U&'d\\0061t;', $$;$$, $a$;$$;$a$, a$b$c;", ["SELECT U&'', '', '', a$b$c"]],
      ["SELECT E'a'\n -- ;\n'\\';' /* /* ; */ ; */ + 1", ["SELECT E''   + 1"]],
      ["INSERT INTO \"a;b\" VALUES (')'), ('''')", ["INSERT INTO \"a;b\" VALUES (''), ('')"]],
      [
        "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3",
        ["CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)", " SELECT 3"],
      ],
      // What cannot be told apart by letters.
      ["CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END", null],
      ["SELECT 'a", null],
      ["SELECT $$a", null],
      ['SELECT "a', null],
      ["SELECT E'a\\'", null],
      ["SELECT (1; SELECT 2", null],
      ["SELECT 1); SELECT 2", null],
    ];
    for (const [text, expected] of cases) assert.deepEqual(codes(text), expected, text);
  });

  const content = fc
    .array(
      fc.constantFrom(
        ";",
        "'",
        '"',
        "$",
        "$$",
        "$a$",
        "--",
        "/*",
        "*/",
        "\\",
        "\n",
        "(",
        ")",
        " ",
        "é",
        "😀",
        "x",
      ),
      { maxLength: 6 },
    )
    .map((pieces) => pieces.join(""));
  const string = content.map((text) => `'${text.replaceAll("'", "''")}'`);
  const escapeString = content.map((text) => `E'${text.replaceAll(/[\\']/g, "\\$&")}'`);
  const dollar = fc
    .tuple(content, fc.constantFrom("", "b", "é1"))
    .filter(([text, tag]) => !text.endsWith("$") && !text.includes(`$${tag}$`))
    .map(([text, tag]) => `$${tag}$${text}$${tag}$`);
  const comment = fc.oneof(
    content.map((text) => `--${text.replaceAll("\n", "")}\n`),
    content.map((text) => ` /*${text.replaceAll(/\/\*|\*\/|\/$/g, "")}/*;*/ */ `),
  );
  const gap = fc.oneof(comment, fc.constantFrom(" ", "\n", "\t"));
  const value = fc.oneof(
    string,
    escapeString,
    dollar,
    string.map((text) => `N${text}`),
    content.map((text) => `U&'${text.replaceAll(/\\/g, "").replaceAll("'", "''")}'`),
    fc.tuple(escapeString, gap, content).map(([a, g, b]) => `${a}${g}\n'${b.replaceAll(/[\\']/g, "\\$&")}'`),
    content.map((text) => `1 AS "x${text.replaceAll('"', '""')}"`),
    fc.constantFrom("a$b$c", "(1)", "$1", "1-1", "2/1", "a - - 1"),
  );
  const statement = fc
    .tuple(gap, gap, fc.array(value, { minLength: 1, maxLength: 3 }), gap)
    .map(([a, b, values, c]) => `${a}SELECT${b}\n${values.join(",")}${c}`);
  const script = fc
    .array(fc.oneof({ arbitrary: statement, weight: 3 }, { arbitrary: gap, weight: 1 }), { maxLength: 5 })
    .map((parts) => parts.join(";"));
  const soup = fc
    .array(
      fc.oneof(content, string, escapeString, dollar, comment, fc.constantFrom(";", "SELECT ", "SELECT 1")),
      {
        maxLength: 6,
      },
    )
    .map((parts) => parts.join(""));

  const isLikeTheParser = (text: string): boolean => {
    let parsed: string[];
    try {
      // Empty statements before the only one stay with it there.
      parsed = parse(text).map(({ sql }) => sql.replace(/^[\s;]+/, ""));
    } catch {
      return false;
    }
    const split = splitStatements(text)?.map(({ start, end }) => parse(text.slice(start, end)));
    assert.deepEqual(
      split?.map(([only]) => only?.sql),
      parsed,
    );
    assert.ok(split?.every(({ length }) => length === 1));
    return true;
  };

  it("has the statements that Postgres' parser finds", () => {
    let accepted = 0;
    const check = fc.property(script, (text) => {
      accepted += isLikeTheParser(text) ? 1 : 0;
    });
    fc.assert(check, { numRuns: 2_000 });
    assert.ok(accepted > 1_000, `${accepted} of the texts are valid`);
  });

  it("has them too where a text is valid by chance", () => {
    fc.assert(
      fc.property(soup, (text) => {
        isLikeTheParser(text);
      }),
      { numRuns: 2_000 },
    );
  });
});
