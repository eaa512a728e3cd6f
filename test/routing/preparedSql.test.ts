/** SQL's PREPARE and EXECUTE: their plans, and the text that an EXECUTE runs. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { loadParser } from "../../src/routing/parse.ts";
import { fill, templateOf } from "../../src/routing/preparedSql.ts";
import { assertPlans, type Cases, newRouter, ownerOf } from "./routingStage.ts";

before(loadParser);

const check = (cases: Cases): void => assertPlans(newRouter(), cases);

describe("PREPARE", () => {
  it("keeps the query behind its AS", () => {
    check([
      ["PREPARE p AS SELECT 1", "prepare p: SELECT 1"],
      [
        'prepare "as" (int, numeric(10, 2)) as\n  SELECT $1 AS a, $2 AS b;',
        "prepare as: SELECT $1 AS a, $2 AS b",
      ],
      ["PREPARE p/* AS */AS(SELECT ' AS ')", "prepare p: (SELECT ' AS ')"],
      ['PREPARE "x ( as " (text[]) AS VALUES ($1)', "prepare x ( as : VALUES ($1)"],
      ["PREPARE P AS INSERT INTO accounts VALUES ($1)", "prepare p: INSERT INTO accounts VALUES ($1)"],
    ]);
  });

  it("is refused with other statements, and with a hint", () => {
    check([
      ["PREPARE p AS SELECT 1; SELECT 2", "refused route.unsupported finally"],
      ["PREPARE p AS SELECT 1 /* pgxa: shard=east */", "refused route.unsupported finally"],
    ]);
  });
});

describe("EXECUTE", () => {
  it("keeps the texts of its arguments", () => {
    check([
      ["EXECUTE p", "execute p"],
      ['EXECUTE "P" (1)', "execute P | 1"],
      [
        "EXECUTE p (-1, 'a,b)', E'it\\'s, (', $$x,'y$$, NULL)",
        "execute p | -1 | 'a,b)' | E'it\\'s, (' | $$x,'y$$ | NULL",
      ],
      [
        "EXECUTE p (ARRAY[1, 2], (3), row(4, '('), lower('X,Y'), -- five, six\n 7::text)",
        "execute p | ARRAY[1, 2] | (3) | row(4, '(') | lower('X,Y') | 7::text",
      ],
      [
        "EXECUTE p (now(), current_date, interval '1 day')",
        "execute p | now() | current_date | interval '1 day'",
      ],
      ['EXECUTE "a(b" (1)', "execute a(b | 1"],
      ["EXECUTE p ('ä,ö', U&'d\\0061t')", "execute p | 'ä,ö' | U&'d\\0061t'"],
    ]);
  });

  it("is refused with arguments that may change, or would be taken for something of the query", () => {
    check(
      [
        "random()",
        "nextval('s')",
        "owner",
        "accounts.id",
        "$1",
        "(SELECT 1)",
        "sum(1)",
        "own(1)",
        "ARRAY(SELECT 1)",
        "pg_catalog.random()",
        "elsewhere.now()",
        "unnest(ARRAY[1])",
        "1 + random()",
      ].map((argument) => [`EXECUTE p (${argument})`, "refused session.unsupported finally"]),
    );
  });

  it("is refused within other statements", () => {
    check([
      ["EXPLAIN EXECUTE p", "refused route.unsupported"],
      ["CREATE TABLE t AS EXECUTE p", "refused route.unsupported"],
    ]);
  });
});

describe("the text that EXECUTE runs", () => {
  const run = (query: string, ...args: string[]): string =>
    fill(
      templateOf(query),
      args,
      args.map((_, i) => `t${i + 1}`),
    );

  it("has each parameter's argument, cast, and nothing else changed", () => {
    const cases = [
      ["SELECT 1", "SELECT 1"],
      ["SELECT a + $1 FROM x WHERE y=$2", "SELECT a + (CAST((1) AS t1)) FROM x WHERE y=(CAST(('$1') AS t2))"],
      ["SELECT '$1', \"$1\", $$ $1 $$, a$1 FROM x", "SELECT '$1', \"$1\", $$ $1 $$, a$1 FROM x"],
      ["SELECT 'ä', $1+$1 -- $2", "SELECT 'ä', (CAST((1) AS t1))+(CAST((1) AS t1)) -- $2"],
      ["INSERT INTO x VALUES ($2, $1)", "INSERT INTO x VALUES ((CAST(('$1') AS t2)), (CAST((1) AS t1)))"],
      ["INSERT INTO x SELECT $1", "INSERT INTO x SELECT (CAST((1) AS t1))"],
      ["SELECT x FROM x LIMIT $1", "SELECT x FROM x LIMIT (CAST((1) AS t1))"],
    ] as const;
    for (const [query, expected] of cases) assert.equal(run(query, "1", "'$1'"), expected);
  });

  it("leaves columns without a name without one", () => {
    const column = '(SELECT CAST((1) AS t1) AS "?column?")';
    const cases = [
      ["SELECT $1", `SELECT ${column}`],
      ["SELECT ($1), $1 AS a", `SELECT (${column}), (CAST((1) AS t1)) AS a`],
      ["SELECT $1 UNION SELECT $1", `SELECT ${column} UNION SELECT (CAST((1) AS t1))`],
      ["DELETE FROM x RETURNING $1", `DELETE FROM x RETURNING ${column}`],
      ["SELECT (SELECT $1)", `SELECT (SELECT ${column})`],
    ] as const;
    for (const [query, expected] of cases) assert.equal(run(query, "1"), expected);
  });

  it("is routed by its arguments", () => {
    const text = fill(
      templateOf("SELECT $2 FROM accounts WHERE id = $1"),
      ["'7'", "1"],
      ["bigint", "integer"],
    );
    check([[text, `read ${ownerOf("7")}`]]);
    const insert = templateOf("INSERT INTO cards (id) VALUES ($1)");
    check([[fill(insert, ["7"], ["integer"]), `write ${ownerOf("7", "int4")}`]]);
  });
});
