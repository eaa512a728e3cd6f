/** Where a statement's literals and comments lie, against PostgreSQL's own scanner. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import fc from "fast-check";
import { loadModule, type ScanToken, scanSync } from "libpg-query";
import { PART, StatementScan } from "../../src/routing/statementScan.ts";

before(loadModule);

const KINDS = Object.entries(PART);
const scan = new StatementScan();

/** What is found in `text`, as `kind:text`; null if it is refused. */
function found(text: string): readonly string[] | null {
  if (!scan.scan(text)) return null;
  return Array.from({ length: scan.count }, (_, i) => {
    const kind = KINDS.find(([, value]) => value === scan.kinds[i])![0];
    return `${kind}:${text.slice(scan.starts[i], scan.ends[i])}`;
  });
}

function hashOf(text: string): number {
  assert.ok(scan.scan(text), text);
  return scan.hash;
}

/** The same as PostgreSQL's scanner has it; null if that has an error. */
function asScanned(text: string): readonly string[] | null {
  let tokens: readonly ScanToken[];
  try {
    ({ tokens } = scanSync(text));
  } catch {
    return null;
  }
  const bytes = Buffer.from(text);
  return tokens.flatMap(({ start, end, tokenName }) => {
    const own = bytes.toString("utf8", start, end);
    if (tokenName === "ICONST") return [`integer:${own}`];
    if (tokenName === "FCONST") return [`${/^\d+$/.test(own) ? "bigInteger" : "fraction"}:${own}`];
    if (tokenName === "SCONST") return [/^e/i.test(own) ? `escapeString:${own.slice(1)}` : `string:${own}`];
    return /COMMENT$/.test(tokenName) ? [`comment:${own}`] : [];
  });
}

describe("a scan", () => {
  it("finds literals and comments", () => {
    const text = "SELECT -1, 2.5, .5, 1e5, 3000000000, 'it''s', E'a\\'b', a1, $1 /* /* c */ */ FROM t -- 'x'";
    assert.deepEqual(found(text), [
      "integer:1",
      "fraction:2.5",
      "fraction:.5",
      "fraction:1e5",
      "bigInteger:3000000000",
      "string:'it''s'",
      "escapeString:'a\\'b'",
      "comment:/* /* c */ */",
      "comment:-- 'x'",
    ]);
    assert.deepEqual(found('SELECT "a""1", date\'2024-01-01\', x1, é2 ;; '), ["string:'2024-01-01'"]);
    assert.deepEqual(found(""), []);
  });

  it("gives texts that differ in literals and comments alone one hash, and others another", () => {
    const hash = hashOf("SELECT 1, 'a' FROM t /* 1 */");
    assert.equal(hashOf("SELECT 22, 'it''s' FROM t /* of another request */"), hash);
    for (const other of [
      "SELECT 1, 2 FROM t /* 1 */",
      "SELECT 1.0, 'a' FROM t /* 1 */",
      "SELECT 3000000000, 'a' FROM t /* 1 */",
      "SELECT 1, E'a' FROM t /* 1 */",
      "SELECT 1, 'a' FROM u /* 1 */",
      "SELECT $1, 'a' FROM t /* 1 */",
      'SELECT 1, "a" FROM t /* 1 */',
    ])
      assert.notEqual(hashOf(other), hash, other);
  });

  it("refuses what may be read in another way, or holds a hint", () => {
    for (const text of [
      "SELECT 'a\\'",
      "SELECT 0x1F",
      "SELECT 1_000",
      "SELECT 1..2",
      "SELECT 1.2.3",
      "SELECT 5a",
      "SELECT 1e",
      "SELECT $1a",
      "SELECT 'a'\n'b'",
      "SELECT 'a' -- c\n 'b'",
      "SELECT B'1', X'1', N'a'",
      "SELECT n'a'",
      "SELECT U&'a', 1",
      'SELECT u&"a"',
      "SELECT E'\\u0041', E'\\x41', E'\\101'",
      "SELECT E'\\x41'",
      "SELECT $$a$$",
      "SELECT $a$a$a$",
      "SELECT 'a",
      'SELECT "a',
      "SELECT /* a",
      "SELECT \\",
      "SELECT 1; SELECT 2",
      "SELECT 1 /* pgxa: shard=east */",
      "SELECT 1 -- pgxa: key=1",
    ])
      assert.equal(found(text), null, text);
  });

  it("is bounded", () => {
    assert.equal(found(`SELECT ${"1,".repeat(4_096)}2`), null);
    assert.equal(found(`SELECT ${"1,".repeat(4_000)}2`)?.length, 4_001);
    assert.equal(found(`SELECT '${"a".repeat(300_000)}'`), null);
  });

  it("finds what PostgreSQL's own scanner finds, or refuses", () => {
    const piece = fc.constantFrom(
      ..."' '' \" \\ - -- / /* */ * . .. ; $ $1 $$ $a$ , ( ) [ ] : :: = <> @ | e E n x b u U& _ a a1 é e' E' 1 12 0 1.5 .5 5. 1e5 1e-3 e5 0x1F 1_0 2147483647 2147483648 00000000000000001".split(
        " ",
      ),
      " ",
      "  ",
      "\n",
      "\t",
      "SELECT ",
      " 'it''s' ",
      " E'a\\'b' ",
      " -- c\n",
      " /* c */ ",
    );
    const texts = fc.array(piece, { maxLength: 14 }).map((pieces) => pieces.join(""));
    let understood = 0;
    fc.assert(
      fc.property(texts, (text) => {
        const own = found(text);
        const theirs = own === null ? null : asScanned(text);
        if (own === null || theirs === null) return;
        understood += 1;
        assert.deepEqual(own, theirs, JSON.stringify(text));
      }),
      { numRuns: 5_000 },
    );
    assert.ok(understood > 100, String(understood));
  });
});
