/** INSERT, writes of reference tables, and functions that matter for where a statement may run. */
import { before, describe, it } from "node:test";
import { loadParser } from "../../src/routing/parse.ts";
import { assertPlans, type Cases, KEY, newRouter, OTHER, ownerOf, SAME } from "./routingStage.ts";

const router = newRouter();
const home = ownerOf(KEY);
const check = (cases: Cases): void => assertPlans(router, cases);

before(loadParser);

describe("INSERT", () => {
  it("goes where the keys of its rows say", () => {
    check([
      [`INSERT INTO accounts (id, owner) VALUES (${KEY}, 'x')`, `write ${home}`],
      [`INSERT INTO accounts (owner, id) VALUES ('x', ${KEY})`, `write ${home}`],
      ["INSERT INTO accounts (owner, id) VALUES ($1, $2) RETURNING id", "write $2:int8"],
      [`INSERT INTO accounts (id) VALUES (${KEY}), (${SAME})`, `write ${home}`],
      ["INSERT INTO accounts (id) VALUES ($1), ($2), ($1)", "write $1:int8+$2:int8"],
      [`INSERT INTO accounts (id) VALUES ('${KEY}'::bigint)`, `write ${home}`],
      [`INSERT INTO accounts (id) OVERRIDING SYSTEM VALUE VALUES (${KEY})`, `write ${home}`],
      [`INSERT INTO accounts AS a (id) VALUES (${KEY}) ON CONFLICT DO NOTHING`, `write ${home}`],
      [
        `INSERT INTO accounts (id) VALUES (${KEY}) ON CONFLICT (id) DO UPDATE SET balance = excluded.balance`,
        `write ${home}`,
      ],
      [`INSERT INTO accounts (id, n) VALUES (${KEY}, (SELECT n FROM currencies LIMIT 1))`, `write ${home}`],
    ]);
  });

  it("is refused when the key of a row is not plain", () => {
    check([
      [`INSERT INTO accounts VALUES (${KEY})`, "refused route.no_key"],
      ["INSERT INTO accounts DEFAULT VALUES", "refused route.no_key"],
      ["INSERT INTO accounts (owner) VALUES ('x')", "refused route.no_key"],
      ["INSERT INTO accounts (id) VALUES (DEFAULT)", "refused route.no_key"],
      ["INSERT INTO accounts (id) VALUES (NULL)", "refused route.null_key"],
      ["INSERT INTO accounts (id) VALUES (1 + 1)", "refused route.no_key"],
      ["INSERT INTO accounts (id) VALUES ('x')", "refused route.bad_key"],
      ["INSERT INTO accounts (owner, id) VALUES (1)", "refused route.no_key"],
      [`INSERT INTO accounts (id) VALUES (${KEY}), (${OTHER})`, "refused route.many_shards"],
      ["INSERT INTO accounts (id) SELECT id FROM cards WHERE id = 1", "refused route.no_key"],
      ["INSERT INTO accounts (id) VALUES (1) UNION VALUES (2)", "refused route.no_key"],
      [`INSERT INTO accounts (id) OVERRIDING USER VALUE VALUES (${KEY})`, "refused route.no_key"],
    ]);
  });
});

describe("the shard key of a row", () => {
  it("is never changed, hint or not", () => {
    check([
      [`UPDATE accounts SET id = 2 WHERE id = ${KEY}`, "refused route.key_update finally"],
      [`UPDATE accounts SET (balance, id) = (1, 2) WHERE id = ${KEY}`, "refused route.key_update finally"],
      [
        `INSERT INTO accounts (id) VALUES (${KEY}) ON CONFLICT (id) DO UPDATE SET id = 4`,
        "refused route.key_update finally",
      ],
      [
        `UPDATE accounts SET id = 2 WHERE id = ${KEY} /* pgxa: shard=east */`,
        "refused route.key_update finally",
      ],
    ]);
  });
});

describe("a write of a reference table", () => {
  it("goes to every shard", () => {
    check([
      ["INSERT INTO currencies VALUES ('EUR', 2)", "write all"],
      ["INSERT INTO currencies (code) VALUES ($1) ON CONFLICT DO NOTHING", "write all"],
      ["UPDATE currencies SET name = upper(name) RETURNING *", "write all"],
      ["DELETE FROM currencies WHERE code IN (SELECT code FROM countries)", "write all"],
      ["EXPLAIN UPDATE currencies SET name = ''", "write default"],
      ["WITH d AS (DELETE FROM currencies RETURNING *) SELECT * FROM d", "write all"],
    ]);
  });

  it("is refused when shards could come to differ", () => {
    const volatile = [
      "now()",
      "random()",
      "gen_random_uuid()",
      "clock_timestamp()",
      "nextval('s')",
      "my_function()",
      "other.upper('x')",
      "CURRENT_TIMESTAMP",
      "CURRENT_USER",
      "'now'::timestamptz",
      "date 'today'",
      "(SELECT code FROM countries LIMIT 1)",
      "(SELECT DISTINCT ON (a) code FROM countries)",
      "(SELECT code FROM countries TABLESAMPLE SYSTEM (5))",
      "(SELECT 1 UNION SELECT 2 OFFSET 1)",
    ];
    check(volatile.map((value) => [`UPDATE currencies SET name = ${value}`, "refused route.unsupported"]));
    check([
      [`INSERT INTO currencies SELECT * FROM accounts WHERE id = ${KEY}`, "refused route.unsupported"],
      ["INSERT INTO currencies SELECT * FROM audit", "refused route.unsupported"],
      ["INSERT INTO currencies SELECT relname FROM pg_class", "refused route.unsupported"],
      ["EXPLAIN ANALYZE UPDATE currencies SET name = ''", "refused route.unsupported"],
      ["EXPLAIN (ANALYZE) DELETE FROM currencies", "refused route.unsupported"],
    ]);
  });

  it("is read anywhere, and locked where its writes begin", () => {
    check([
      ["SELECT * FROM currencies", "read any"],
      ["SELECT * FROM currencies, countries", "read any"],
      ["SELECT * FROM currencies FOR SHARE", "write default"],
      ["SELECT * FROM currencies, pg_class", "read default"],
    ]);
  });
});

describe("functions", () => {
  it("say where a statement without tables runs", () => {
    check([
      ["SELECT 1", "read any"],
      ["SELECT $1::int, upper('x'), now(), version()", "read any"],
      ["SELECT pg_catalog.upper('x')", "read any"],
      ["VALUES (1), (2)", "read any"],
      ["SELECT * FROM generate_series(1, 3)", "read any"],
      ["SELECT nextval('s')", "write default"],
      ["SELECT currval('s')", "write default"],
      ["SELECT pg_advisory_lock(1)", "write default [pin advisory lock]"],
      ["SELECT pg_try_advisory_lock_shared(1)", "write default [pin advisory lock]"],
      ["SELECT pg_advisory_xact_lock(1)", "write default"],
      ["SELECT pg_notify('c', 'x')", "write default [notify]"],
      ["SELECT pg_get_constraintdef(1)", "read default"],
      ["SELECT has_table_privilege('x', 'select')", "read default"],
      ["SELECT pg_relation_size('x')", "read default"],
      ["SELECT jsonb_agg(1)", "read any"],
    ]);
  });

  it("that are not known have no place without a table or a hint", () => {
    check([
      ["SELECT my_function()", "refused route.unsupported"],
      ["SELECT * FROM my_function()", "refused route.unsupported"],
      ["SELECT my_function(code) FROM currencies", "refused route.unsupported"],
      ["SELECT other.count(code) FROM currencies", "refused route.unsupported"],
      ["SELECT my_function(oid) FROM pg_class", "write default"],
      ["SELECT my_function(1) FROM audit", "write =east"],
      ["SELECT my_function() /* pgxa: shard=south */", "write =south"],
    ]);
  });

  it("of the first shard do not run among the rows of another", () => {
    check([
      [`INSERT INTO accounts (id, n) VALUES (${KEY}, nextval('s'))`, "refused route.unsupported"],
      [`SELECT pg_advisory_xact_lock(1) FROM accounts WHERE id = ${KEY}`, "refused route.unsupported"],
      ["SELECT nextval('audit_id_seq') FROM audit", "write =east"],
    ]);
  });

  it("set_config() is a setting", () => {
    check([
      ["SELECT set_config('a.b', 'c', false)", "read any [set a.b]"],
      ["SELECT set_config('a.b', $1, false)", "read any [set a.b]"],
      [
        "SELECT set_config('a.b', 'c', true)",
        "read any [local SELECT pg_catalog.set_config('a.b', 'c', true)]",
      ],
      [
        "SELECT set_config('a.b', 'it''s\\', true)",
        "read any [local SELECT pg_catalog.set_config('a.b',  E'it''s\\\\', true)]",
      ],
      ["SELECT set_config('a.b', $1, true)", "read any [set *]"],
      ["SELECT set_config('pgxa.shard', 'east', false)", "refused route.unknown_setting finally"],
      ["SELECT set_config('client_encoding', 'latin1', false)", "refused session.unsupported finally"],
    ]);
  });
});
