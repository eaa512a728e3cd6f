/** What a text says of the end of its transaction. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { inFailedTransaction, mayChain, mayCommit } from "../../src/routing/transactionEnd.ts";

describe("a text that may commit", () => {
  for (const text of [
    "COMMIT",
    " end work;",
    "commit and chain",
    "PREPARE TRANSACTION 'x'",
    "/* a */ COMMIT",
    "-- a\ncommit",
    "SELECT 1; COMMIT",
    "INSERT INTO a VALUES (';'); END",
    "SELECT 'never closed; COMMIT",
  ])
    it(`is ${JSON.stringify(text)}`, () => assert.equal(mayCommit(text), true));
  for (const text of [
    "ROLLBACK",
    "SELECT 1",
    "SELECT 1;",
    "SELECT 'commit'",
    "UPDATE a SET b = CASE WHEN true THEN 1 END",
    "/* commit */ SELECT 1",
    "SELECT 1; SELECT ';COMMIT'",
    "endless",
    "PREPARE a AS SELECT 1",
  ])
    it(`is not ${JSON.stringify(text)}`, () => assert.equal(mayCommit(text), false));
});

describe("in a failed transaction", () => {
  const cases: readonly (readonly [string, ReturnType<typeof inFailedTransaction>])[] = [
    ["ROLLBACK", "rollback"],
    [" abort work ;", "rollback"],
    ["ROLLBACK AND NO CHAIN", "rollback"],
    ["COMMIT", "commit"],
    ["end transaction;", "commit"],
    ["SELECT 1", "refused"],
    ["(SELECT 1)", "refused"],
    ["ROLLBACK TO a", "other"],
    ["ROLLBACK AND CHAIN", "other"],
    ["ROLLBACK; SELECT 1", "other"],
    ["/* a */ ROLLBACK", "other"],
    ["", "other"],
    [";", "other"],
  ];
  for (const [text, kind] of cases) {
    it(`${JSON.stringify(text)} is ${kind}`, () => assert.equal(inFailedTransaction(text), kind));
  }

  it("what may chain is seen wherever it is", () => {
    assert.equal(mayChain("ROLLBACK AND/**/CHAIN"), true);
    assert.equal(mayChain("ROLLBACK"), false);
  });
});
