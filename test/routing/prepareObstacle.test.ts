/** What the text of a statement says of PREPARE TRANSACTION. That Postgres agrees is test/system/obstacles.test.ts. */
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { loadParser, parse } from "../../src/routing/parse.ts";
import { type AboutPreparing, aboutPreparing } from "../../src/routing/prepareObstacle.ts";
import { newRouter } from "./routingStage.ts";

before(loadParser);

/** `temporary object (t), makes t`, and so on. */
function summary({ obstacles, relations, makes, drops, closes }: AboutPreparing): string {
  const list = (what: string, names: readonly (string | null)[] = []): string[] =>
    names.length === 0 ? [] : [`${what} ${names.map((name) => name ?? "all").join(" ")}`];
  return [
    ...(obstacles ?? []).map(({ kind, isByParse }) => (isByParse ? `${kind} by parse` : kind)),
    ...list("names", relations),
    ...list("makes", makes),
    ...list("drops", drops),
    ...list("closes", closes),
  ].join(", ");
}

const CASES: readonly (readonly [text: string, said: string])[] = [
  // ordinary statements
  ["SELECT 1", ""],
  ["SELECT * FROM accounts WHERE id = 1", "names accounts"],
  ["SELECT * FROM public.accounts", ""],
  ["UPDATE accounts SET balance = 0 WHERE id IN (SELECT id FROM owners)", "names accounts owners"],
  ["INSERT INTO t VALUES (1)", "names t"],
  ["DELETE FROM t USING u WHERE t.a = u.a", "names t u"],
  ["MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE", "names t u"],
  ["WITH t AS (SELECT 1) SELECT * FROM t, u", "names u"],
  ["TRUNCATE t, s.u", "names t"],
  ["COPY t FROM STDIN", "names t"],
  ["LOCK t", "names t"],
  ["ALTER TABLE t ADD b int", "names t"],
  ["CREATE TABLE t (a int)", ""],
  ["CREATE TABLE t (LIKE u)", "names u"],
  ["CREATE INDEX ON t (a)", "names t"],
  ["CREATE VIEW v AS SELECT * FROM t", "names t"],
  ["SELECT nextval('Seq')", "names seq"],
  ["SELECT nextval($1)", ""],
  ["SELECT pg_advisory_lock(1), pg_advisory_xact_lock(1)", ""],
  ["DO $$ BEGIN NOTIFY x; END $$", ""],
  ["CALL p()", ""],
  // temporary objects
  ["CREATE TEMP TABLE t (a int)", "temporary object, makes t"],
  ["CREATE TEMPORARY TABLE t (a int) ON COMMIT DELETE ROWS", "temporary object, makes t"],
  ["CREATE TEMP TABLE t (a int) ON COMMIT DROP", "temporary object"],
  ["CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 1", "temporary object"],
  ["CREATE TEMP TABLE t AS SELECT * FROM u", "temporary object, names u, makes t"],
  ["SELECT 1 AS a INTO TEMP t", "temporary object, makes t"],
  ["CREATE TABLE pg_temp.t (a int)", "temporary object, makes t"],
  ["CREATE TEMP VIEW v AS SELECT 1", "temporary object, makes v"],
  ["CREATE TEMP SEQUENCE s", "temporary object, makes s"],
  ["CREATE TYPE pg_temp.c AS (a int)", "temporary object, makes c"],
  ["CREATE TYPE pg_temp.e AS ENUM ('a')", "temporary object"],
  ["CREATE DOMAIN pg_temp.d AS int", "temporary object"],
  ["CREATE FUNCTION pg_temp.f() RETURNS int RETURN 1", "temporary object"],
  ["DROP FUNCTION pg_temp.f", "temporary object"],
  ["SELECT pg_temp.f()", ""],
  ["SELECT * FROM pg_temp.t", "temporary object by parse, names t"],
  ["INSERT INTO pg_temp.t VALUES (1)", "temporary object by parse, names t"],
  ["DROP TABLE t, s.u, pg_temp.v", "temporary object, names t v, drops t v"],
  ["DROP FUNCTION f", ""],
  ["DROP TRIGGER x ON t", ""],
  ["COMMENT ON TABLE t IS 'x'", "names t"],
  ["DISCARD TEMP", "temporary object, drops all"],
  ["DISCARD PLANS", ""],
  ["EXPLAIN SELECT * FROM t", "names t"],
  ["EXPLAIN CREATE TEMP TABLE t AS SELECT 1", ""],
  ["EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1", "temporary object, makes t"],
  // cursors
  ["DECLARE c CURSOR FOR SELECT 1", ""],
  ["DECLARE c CURSOR WITH HOLD FOR SELECT * FROM t", "hold cursor, names t"],
  ["CLOSE c", "closes c"],
  ["CLOSE ALL", "closes all"],
  ["DECLARE c CURSOR WITH HOLD FOR SELECT 1; CLOSE c", "closes c"],
  ["CLOSE c; DECLARE c CURSOR WITH HOLD FOR SELECT 1", "hold cursor, closes c"],
  // notifications
  ["LISTEN c", "notification"],
  ["UNLISTEN *", "notification"],
  ["NOTIFY c, 'payload'", "notification"],
  ["SELECT pg_notify('c', $1)", "notification"],
  ["SELECT pg_catalog.pg_notify(a, b) FROM t", "notification, names t"],
  ["EXPLAIN SELECT pg_notify('c', '')", ""],
  ["EXPLAIN ANALYZE SELECT pg_notify('c', '')", "notification"],
  // snapshots
  ["SELECT pg_export_snapshot()", "exported snapshot"],
];

test("a text says which of it is an obstacle to PREPARE, and what it names", () => {
  for (const [text, said] of CASES) assert.equal(summary(aboutPreparing(parse(text))), said, text);
});

test("a plan knows the obstacles of all statements of its text, hinted or not, and of refused ones if they are hinted", () => {
  const router = newRouter();
  const kinds = (text: string): readonly string[] | undefined => {
    const plan = router.plan(text);
    const of = plan.kind === "refused" ? plan.hinted : plan.kind === "statement" ? plan : null;
    return of?.obstacles?.map(({ kind }) => kind);
  };
  assert.deepEqual(kinds("NOTIFY c"), ["notification"]);
  assert.deepEqual(kinds("CREATE TEMP TABLE t (a int)"), ["temporary object"]);
  assert.deepEqual(kinds("/* pgxa: shard=east */ NOTIFY c; DECLARE c CURSOR WITH HOLD FOR SELECT 1"), [
    "notification",
    "hold cursor",
  ]);
  assert.equal(kinds("UPDATE accounts SET balance = 0 WHERE id = 1"), undefined);
});
