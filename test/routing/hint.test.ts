/** Hints in comments, and what is a comment at all. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import fc from "fast-check";
import { Fault } from "../../src/base/fault.ts";
import { commentsOf, withoutComments } from "../../src/routing/comments.ts";
import { type CommentHint, commentHint } from "../../src/routing/hint.ts";
import { loadParser, parse } from "../../src/routing/parse.ts";
import { assertPlans, KEY, newRouter } from "./routingStage.ts";

before(loadParser);

const shard = (name: string): CommentHint => ({ kind: "shard", name });
const key = (value: string): CommentHint => ({ kind: "key", value });

describe("a hint", () => {
  it("is found in a comment anywhere", () => {
    const cases: readonly (readonly [string, CommentHint | null])[] = [
      ["SELECT 1", null],
      ["SELECT 1 /* pgxa: shard=east */", shard("east")],
      ["/*pgxa:shard=east*/ SELECT 1", shard("east")],
      ["SELECT /* pgxa: key = 42 */ 1", key("42")],
      ["SELECT 1 -- pgxa: key=-7", key("-7")],
      ["SELECT 1 -- pgxa: shard=east\r\n, 2", shard("east")],
      ["SELECT 1 /* pgxa: key='it''s 5' */", key("it's 5")],
      ["SELECT 1 /* pgxa: shard=east */ /* pgxa: shard=east */", shard("east")],
      ["SELECT 1 /* about pgxa: shard=east */", null],
      ["SELECT 1 /* outer /* pgxa: shard=east */ */", null],
      ["SELECT a/b /* pgxa: key=1 */", key("1")],
      ["SELECT 1 - -1 /* pgxa: key=1 */", key("1")],
    ];
    for (const [text, expected] of cases) assert.deepEqual(commentHint(text), expected, text);
  });

  it("is not found in what only looks like a comment", () => {
    const inner = "/* pgxa: shard=east */";
    const tag = `$${"a".repeat(90)}$`;
    const texts = [
      `SELECT '${inner}'`,
      `SELECT 'it''s ${inner}'`,
      `SELECT "${inner}" FROM x`,
      `SELECT "a""${inner}"`,
      `SELECT E'a\\' ${inner}'`,
      `SELECT e'\\\\\\' ${inner}'`,
      `SELECT E'a'\n'b\\' ${inner} '`,
      `SELECT E'a' -- x\n  -- y\n 'b\\' ${inner} '`,
      `SELECT $$ ${inner} $$`,
      `SELECT $a$ $$ ${inner} $a$`,
      `SELECT $ä$ ${inner} $ä$`,
      `SELECT ${tag} ${inner} ${tag}`,
      `SELECT 1 -- ${inner}`,
      `SELECT U&'\\0041 ${inner}'`,
    ];
    for (const text of texts) assert.equal(commentHint(text), null, text);
  });

  it("is found behind what only looks like a string", () => {
    const inner = "/* pgxa: shard=east */";
    const texts = [
      `SELECT 'a\\' ${inner}`,
      `SELECT date'2024-01-01' ${inner}`,
      `SELECT $1 ${inner} $1`,
      `SELECT a$b$ ${inner} , a$b$`,
      `SELECT /* ' */ 1 ${inner}`,
      `SELECT 1 -- '\n ${inner}`,
      `SELECT 'a'\n'b' ${inner}`,
      `SELECT E'a' 'b\\' ${inner}`,
    ];
    for (const text of texts) assert.deepEqual(commentHint(text), shard("east"), text);
  });

  it("that is not understood is an error", () => {
    for (const body of [
      "shard",
      "shard=",
      "shards=a",
      "shard=a, key=1",
      "shard=a b",
      "",
      "key=a;b",
      "key='a",
    ]) {
      assert.throws(() => commentHint(`SELECT 1 /* pgxa: ${body} */`), Fault, body);
    }
    assert.throws(() => commentHint("/* pgxa: key=1 */ SELECT /* pgxa: key=2 */ 1"), /invalid routing hint/);
  });

  it("is stronger than the statement's own keys", () => {
    assertPlans(newRouter(), [
      [`SELECT * FROM accounts WHERE id = ${KEY} /* pgxa: shard=south */`, "read =south"],
      ["SELECT * FROM accounts /* pgxa: shard=south */", "write =south"],
      ["DELETE FROM currencies /* pgxa: shard=south */", "write =south"],
      ["SELECT * FROM accounts /* pgxa: shard=nowhere */", "refused route.unknown_shard finally"],
      ["SELECT * FROM accounts /* pgxa: key=1 */", "refused route.unsupported finally"],
      ["SELECT * FROM accounts /* pgxa: here */", "refused route.unsupported finally"],
      ["/* pgxa: shard=south */", "empty"],
    ]);
  });
});

describe("a text without comments", () => {
  it("says the same to the parser", () => {
    const piece = fc.constantFrom(
      "'",
      "''",
      "E'",
      "\\",
      '"',
      "$$",
      "$a$",
      "--",
      "/*",
      "*/",
      "\n",
      " ",
      "a",
      "1",
      ",",
      "/",
      "-",
      "*",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 14 }), (pieces) => {
        const text = `SELECT ${pieces.join("")}`;
        const tree = structure(text);
        if (tree === null) return;
        const bare = withoutComments(text);
        assert.equal(structure(bare), tree, JSON.stringify(text));
        assert.deepEqual([...commentsOf(bare)], [], JSON.stringify(text));
      }),
      { numRuns: 3_000 },
    );
  });
});

/** The statements without their places in the text; null if it does not parse. */
function structure(text: string): string | null {
  try {
    const strip = (name: string, value: unknown) => (/location|stmt_len|sql/.test(name) ? undefined : value);
    return JSON.stringify(parse(text), strip);
  } catch {
    return null;
  }
}
