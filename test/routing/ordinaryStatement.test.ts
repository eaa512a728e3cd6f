import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ABOUT_SESSIONS } from "../../src/proxy/plainStatements.ts";
import { isOrdinary } from "../../src/routing/ordinaryStatement.ts";
import { sessionEffectsMayApply } from "../../src/routing/sessionLook.ts";
import { mayCommit } from "../../src/routing/transactionEnd.ts";

const isOrdinaryText = (text: string): boolean => {
  const bytes = Buffer.from(`??${text}\0??`, "latin1");
  return isOrdinary(bytes, 2, bytes.length - 3);
};
const matters = (text: string): boolean =>
  sessionEffectsMayApply(text) || ABOUT_SESSIONS.test(text) || mayCommit(text);

/** What matters, whole and in pieces, and what stands around it. */
const PIECES = [
  ..."select insert update delete with values from where set reset discard listen unlisten notify load".split(
    " ",
  ),
  ..."declare close prepare transaction deallocate do call create alter drop import commit end begin".split(
    " ",
  ),
  ..."into local global temp temporary temps execute exec to".split(" "),
  ..."set_config pg_temp pg_notify pg_advisory_lock pg_advisory_unlock pg_prepared_statements".split(" "),
  ..."pg_backend_pid pg_cancel_backend _ pg set advisory lock config user_balance t_1".split(" "),
  ...'\'a\' "b" u&"c" $$ 1 ( ) , ; ;; - -- / * /* */ + & = \u00e9 \u00a0'.split(" "),
  ...[" ", "\n", "\t", "\v", "\f", "\r", "  "],
];
const FIRST = [
  "select",
  " SELECT ",
  "insert ",
  "Update ",
  "delete ",
  "with ",
  "\tselect ",
  "",
  "/**/select ",
  "\u00a0set ",
];

describe("an ordinary statement", () => {
  for (const text of [
    "SELECT abalance FROM pgbench_accounts WHERE aid = 4711;",
    "insert into pgbench_history (tid, bid) values (-1, 2)",
    "UPDATE a SET b = 'it''s so', c = c - 1",
    "with t as (select 1) select * from t",
    "  delete from a",
  ]) {
    test(`is: ${text}`, () => assert.equal(isOrdinaryText(text), true));
  }

  for (const text of [
    "set a = 1",
    "select 'a;b'",
    "sel",
    "select set_config('a', 'b', false)",
    "select 1; commit",
    "select 1; ",
    "select * into temp t from a",
    "SELECT * INTO\n TEMPORARY t FROM a",
    "select -- a",
    "select /* a */ 1",
    "select 1\0",
    "end",
    "commit",
    "values (1)",
  ]) {
    test(`is none: ${JSON.stringify(text)}`, () => assert.equal(isOrdinaryText(text), false));
  }

  test("has nothing in it that a closer look would find", () => {
    let ordinary = 0;
    const mixed = fc.array(fc.constantFrom(...PIECES), { maxLength: 8 });
    const joint = fc.constantFrom("", " ");
    const text = fc
      .tuple(fc.constantFrom(...FIRST), mixed, joint, fc.boolean())
      .map(([first, rest, between, isLoud]) => {
        const whole = first + rest.join(between);
        return isLoud ? whole.toUpperCase() : whole;
      });
    fc.assert(
      fc.property(text, (one) => {
        if (!isOrdinaryText(one)) return;
        ordinary += 1;
        assert.equal(matters(one), false, JSON.stringify(one));
      }),
      { numRuns: 20_000 },
    );
    assert.ok(ordinary > 1_000, "it is asked about ordinary ones");
  });
});
