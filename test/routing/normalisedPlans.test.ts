/** Plans that statements share which differ in their literals alone. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import fc from "fast-check";
import { loadParser } from "../../src/routing/parse.ts";
import type { Router } from "../../src/routing/router.ts";
import { assertSamePlan, assertSamePlans } from "./otherLiterals.ts";
import { KEY, newRouter, OTHER, SAME, summary } from "./routingStage.ts";

before(loadParser);

/** Whether `second` has its plan from `first`. */
function isShared(first: string, second: string): boolean {
  const router = newRouter();
  assertSamePlan(router, newRouter, first);
  return assertSamePlan(router, newRouter, second);
}

const at = (key: string): string => `SELECT balance FROM accounts WHERE id = ${key}`;

describe("the plan of a statement", () => {
  it("is that of one with other literals", () => {
    for (const [first, second] of [
      [at(KEY), at(SAME)],
      [at(`'${KEY}'`), at(`'${SAME}'`)],
      [`${at(KEY)} AND owner = 'a''b' LIMIT 5`, `${at(KEY)} AND owner = '' LIMIT 7`],
      [
        `SELECT 'é', E'\\n' FROM accounts WHERE id=${KEY}`,
        `SELECT 'ab', E'\\'' FROM accounts WHERE id=${KEY}`,
      ],
      [`/* a */ ${at(KEY)} -- b`, `/* c d */ ${at(SAME)} -- 'e`],
      ["SELECT 1", "SELECT 2"],
      ["SELECT * FROM audit WHERE id = 5", "SELECT * FROM audit WHERE id = 6"],
      [
        `INSERT INTO accounts (id, owner) VALUES (${KEY}, 'a'), (${SAME}, 'b')`,
        `INSERT INTO accounts (id, owner) VALUES (${SAME}, 'c'), (${KEY}, '')`,
      ],
      [
        `UPDATE accounts SET balance = balance - 5 WHERE id = ${KEY}`,
        `UPDATE accounts SET balance = balance - 7 WHERE id = ${SAME}`,
      ],
      [
        "SELECT * FROM days WHERE day = DATE '2024-01-01'",
        "SELECT * FROM days WHERE day = DATE '2024-01-01' ",
      ],
      [
        "UPDATE currencies SET rate = 1.5 WHERE code = 'a'",
        "UPDATE currencies SET rate = 7.25 WHERE code = 'now'",
      ],
      ["SELECT '2024-01-01'::timestamptz", "SELECT '2024-02-02'::timestamptz"],
      // Where a setting says where to, what is refused otherwise is planned as well.
      [
        "SELECT sum(balance) FROM accounts WHERE balance > 5",
        "SELECT sum(balance) FROM accounts WHERE balance > 7",
      ],
    ] as const)
      assert.equal(isShared(first, second), first.trim() !== second.trim(), `${first} | ${second}`);
  });

  it("is made once for each shard that its keys may belong to", () => {
    const router = newRouter();
    const plans = new Set(Array.from({ length: 100 }, (_, i) => router.plan(at(String(i)))));
    assert.equal(plans.size, 3);
    const { hits, normalisedHits, misses, plans: kept } = router.planCache;
    assert.deepEqual(
      { hits, normalisedHits, misses, kept },
      { hits: 97, normalisedHits: 97, misses: 3, kept: 1 },
    );
    assert.equal(summary(router.plan(at("-5"))), summary(newRouter().plan(at("-5"))));
  });

  it("is not that of one from which it differs in more", () => {
    for (const [first, second] of [
      [at("1"), at("1.0")],
      [at("1"), at("'1'")],
      [at("1"), at("-1")],
      [at("1"), at("3000000000")],
      [at("1"), "SELECT balance FROM accounts WHERE Id = 1"],
      [at("1"), `${at("1")} /* pgxa: shard=east */`],
      ["SELECT * FROM audit WHERE id IN (1)", "SELECT * FROM audit WHERE id IN (1, 2)"],
      [at("1"), `${at("1")};${at("1")}`],
    ] as const)
      assert.equal(isShared(first, second), false, `${first} | ${second}`);
  });

  it("is its own where the value of a literal decides it", () => {
    for (const [first, second] of [
      ["SELECT set_config('a.b', '1', true)", "SELECT set_config('a.b', '2', true)"],
      ["SELECT set_config('a.b', '1', false)", "SELECT set_config('search_path', '1', false)"],
      ["SELECT nextval('a')", "SELECT nextval('b')"],
      [
        "UPDATE currencies SET at = '2024-01-01'::timestamptz",
        "UPDATE currencies SET at = 'now'::timestamptz",
      ],
      [
        "UPDATE currencies SET at = 'now'::timestamptz",
        "UPDATE currencies SET at = '2024-01-01'::timestamptz",
      ],
      [at("'1'"), at("'x'")],
      [at("'x'"), at("'1'")],
      ["SELECT * FROM cards WHERE id = '1'", "SELECT * FROM cards WHERE id = '3000000000'"],
      ["SELECT * FROM owners WHERE name = E'a'", "SELECT * FROM owners WHERE name = E'\\x61'"],
      [
        `SELECT * FROM accounts a, transfers t WHERE a.id = ${KEY} AND t.account_id = ${SAME}`,
        `SELECT * FROM accounts a, transfers t WHERE a.id = ${KEY} AND t.account_id = ${OTHER}`,
      ],
      ["SELECT 1::float(24)", "SELECT 1::float(25)"],
      ["SET a.b = 1", "SET a.b = 2"],
      ["PREPARE a AS SELECT 1", "PREPARE a AS SELECT 2"],
      ["EXECUTE a (1)", "EXECUTE a (2)"],
      ["SET a.b TO c /* 1 */", "SET a.b TO c /* 2 */"],
      ["DO 'BEGIN END'", "DO 'BEGIN PERFORM pg_advisory_lock(1); END'"],
    ] as const)
      assert.equal(isShared(first, second), false, `${first} | ${second}`);
  });

  it("is found again when others that look alike were planned in between", () => {
    const router = newRouter();
    const now = "SELECT '2024-01-01'::timestamptz";
    for (const text of [
      "SELECT 'now'::timestamptz",
      now,
      "SELECT 'x'::timestamptz",
      "SELECT 'today'::timestamptz",
    ])
      assertSamePlan(router, newRouter, text);
    assert.ok(assertSamePlan(router, newRouter, "SELECT 'y'::timestamptz"));
  });
});

describe("plans by normalised text", () => {
  it("are kept within their number, and what is used stays", () => {
    const router = newRouter(10);
    for (let i = 0; i < 200; i += 1) {
      router.plan(`SELECT a${i} FROM accounts WHERE id = ${KEY}`);
      router.plan(at(KEY));
    }
    assert.ok(router.cached <= 22, String(router.cached));
    assert.equal(router.planCache.misses, 201);
  });

  it("are those of planning each text by itself, whatever it is", () => {
    const router: Router = newRouter(500);
    const literal = fc.constantFrom(
      ..."1|2|3|4|5|-1|- 2|0|2147483648|-9223372036854775808|1.5|'1'|'2'|'x'|''|'now'|E'a'|E'\\n'|'2024-01-01'|$1|null|true|'it''s'|date '2024-01-01'|'now'::timestamptz|'5'::int8|5::int4|(7)|nextval('s')|set_config('a','b',true)|1::float(24)|'a'::varchar(5)|interval '1' day|- /* c */ 3|-- c\n 4|'a' 'b'|'é'".split(
        "|",
      ),
    );
    const table = fc.constantFrom(
      "accounts",
      "transfers",
      "owners",
      "rates",
      "days",
      "currencies",
      "audit",
      "nothing",
    );
    const key = fc.constantFrom("id", "account_id", "name", "amount", "day", "x");
    const condition = fc
      .tuple(key, fc.constantFrom("=", ">", "IN"), literal, literal)
      .map(([name, by, a, b]) => (by === "IN" ? `${name} IN (${a})` : `${name} ${by} ${a} AND x <> ${b}`));
    const text = fc.oneof(
      fc.tuple(table, condition, literal).map(([t, c, l]) => `SELECT ${l}, x FROM ${t} WHERE ${c}`),
      fc.tuple(table, condition, literal).map(([t, c, l]) => `UPDATE ${t} SET x = ${l} WHERE ${c}`),
      fc.tuple(table, condition).map(([t, c]) => `DELETE FROM ${t} WHERE ${c} RETURNING 1;`),
      fc
        .tuple(table, key, literal, literal)
        .map(([t, k, a, b]) => `INSERT INTO ${t} (${k}, y) VALUES (${a}, ${b})`),
      fc
        .tuple(table, condition)
        .map(([t, c]) => `WITH q AS (SELECT 1 FROM ${t} WHERE ${c}) SELECT 'é', 2 FROM q`),
      fc
        .tuple(table, table, condition)
        .map(([a, b, c]) => `SELECT 1 FROM ${a} a JOIN ${b} b USING (id) WHERE a.${c}`),
    );
    let shared = 0;
    fc.assert(
      fc.property(text, (each) => {
        shared += assertSamePlans(router, newRouter, each, 4);
      }),
      { numRuns: 300 },
    );
    assert.ok(shared > 30, String(shared));
  });

  it("are right for statements like each other", () => {
    const shared = assertSamePlans(
      newRouter(),
      newRouter,
      "SELECT 'a', -5, 2.5 FROM accounts a JOIN transfers t ON a.id = t.account_id WHERE a.id = - 5 AND t.at > '2024-01-01'::timestamptz",
      60,
    );
    assert.ok(shared > 20, String(shared));
  });
});
