/** BEGIN, COMMIT and ROLLBACK where a text says one of them, plainly and alone. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Fault } from "../../src/base/fault.ts";
import { loadParser, parse } from "../../src/routing/parse.ts";
import { mayBegin, mayEnd, plainBegin, plainEnd } from "../../src/routing/plainTransaction.ts";
import type { Plan } from "../../src/routing/plan.ts";
import { planTransaction } from "../../src/routing/transactionPlan.ts";

describe("a plain BEGIN", () => {
  const begins: Readonly<Record<string, readonly [string, string]>> = {
    BEGIN: ["BEGIN", "BEGIN"],
    "begin;": ["BEGIN", "BEGIN"],
    "Begin Work ; ": ["BEGIN", "BEGIN"],
    "BEGIN TRANSACTION": ["BEGIN", "BEGIN"],
    "start\ttransaction": ["START TRANSACTION", "BEGIN"],
    "BEGIN ISOLATION LEVEL READ COMMITTED": ["BEGIN", "BEGIN ISOLATION LEVEL READ COMMITTED"],
    "begin isolation level repeatable read, read only, deferrable;": [
      "BEGIN",
      "BEGIN isolation level repeatable read, read only, deferrable",
    ],
    "START TRANSACTION READ ONLY NOT DEFERRABLE": ["START TRANSACTION", "BEGIN READ ONLY NOT DEFERRABLE"],
  };
  for (const [text, [tag, short]] of Object.entries(begins))
    it(`is ${JSON.stringify(text)}`, () => assert.deepEqual(plainBegin(text), { tag, text: short }));

  for (const text of [
    "",
    "BEGIN; SELECT 1",
    "BEGIN;;",
    "BEGIN /* why */",
    "BEGIN -- why",
    "begin\u00a0work",
    "begin\v",
    "beginning",
    "begin isolation level serializable", // refused by a server in recovery, as is the next
    "begin read write",
    "begin isolation level snapshot",
    "begin read only,",
    "begin , read only",
    "begin read only deferrablenot deferrable",
    "start",
    "start work",
    "commit",
  ])
    it(`is not ${JSON.stringify(text)}`, () => assert.equal(plainBegin(text), null));
});

describe("a plain end", () => {
  const ends: Readonly<Record<string, ReturnType<typeof plainEnd>>> = {
    COMMIT: "commit",
    "commit work;": "commit",
    "END TRANSACTION ;": "commit",
    "commit and no chain": "commit",
    Rollback: "rollback",
    " abort;\n": "rollback",
    "ROLLBACK TRANSACTION AND NO CHAIN": "rollback",
    "commit and chain": null,
    "rollback to savepoint a": null,
    "ROLLBACK TO a": null,
    "commit prepared 'a'": null,
    "commit; begin": null,
    "commit -- so": null,
    "commit\u00a0": null,
    endless: null,
  };
  for (const [text, kind] of Object.entries(ends))
    it(`is ${JSON.stringify(text)}: ${kind}`, () => assert.equal(plainEnd(text), kind));
});

/** Words of transaction control, what stands between them, and what does not belong there. */
const WORDS = [
  ..."begin start commit end rollback abort work transaction and no chain not to prepared".split(" "),
  ..."isolation level read committed uncommitted repeatable serializable only write deferrable".split(" "),
  ...[",", ";", "select 1", "'a'", "/**/", "--", "\u00e9"],
];
const texts = fc
  .array(
    fc.tuple(fc.constantFrom(...WORDS), fc.constantFrom(" ", " ", " ", "\n\t", "", "\u00a0", "\f", "\v")),
    {
      maxLength: 7,
    },
  )
  .map((pieces) => pieces.flat().join(""));

/** What Postgres's own parser makes of a text of one statement of transaction control; null: it is none. */
function planned(text: string): Plan | null {
  try {
    const statements = parse(text);
    const [one] = statements;
    return statements.length === 1 && one!.node.type === "TransactionStmt"
      ? planTransaction(one!.node.fields)
      : null;
  } catch (error) {
    if (error instanceof Fault) return null; // a syntax error, or of two-phase commit
    throw error;
  }
}

describe("what is plain", () => {
  it("is what Postgres's parser understands by it", async () => {
    await loadParser();
    let found = 0;
    fc.assert(
      fc.property(texts, (text) => {
        const [begin, end] = [plainBegin(text), plainEnd(text)];
        if (begin === null && end === null) return;
        found += 1;
        const truth = planned(text);
        if (end !== null) return assert.deepEqual(truth, { kind: end, chain: false });
        const { tag, text: short } = begin!;
        assert.deepEqual(truth, { ...planned(short), tag });
      }),
      { numRuns: 20_000 },
    );
    assert.ok(found > 100, `${found} of them`);
  });

  it("is not missed by the look at its first letters", () => {
    fc.assert(
      fc.property(texts, (text) => {
        const bytes = Buffer.from(`?${text}`, "latin1");
        if (/^\s/.test(text)) return;
        if (plainBegin(text) !== null) assert.ok(mayBegin(bytes, 1, bytes.length));
        if (plainEnd(text) !== null) assert.ok(mayEnd(bytes, 1, bytes.length));
      }),
      { numRuns: 5_000 },
    );
  });

  it("is not looked for in what is long, or nothing", () => {
    const long = Buffer.from(`BEGIN${" ".repeat(200)}`);
    assert.equal(mayBegin(long, 0, long.length), false);
    assert.equal(mayEnd(Buffer.from(`COMMIT${" ".repeat(200)}`), 0, 206), false);
    assert.equal(mayBegin(Buffer.alloc(0), 0, 0), false);
    assert.equal(mayEnd(Buffer.alloc(0), 0, 0), false);
  });
});
