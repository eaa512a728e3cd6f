/** The cheap look at a statement, and what the parser then says it does to the session. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import fc from "fast-check";
import { loadParser } from "../../src/routing/parse.ts";
import { SessionLook, sessionEffectsMayApply } from "../../src/routing/sessionLook.ts";

before(loadParser);

describe("the cheap look", () => {
  it("sees nothing in ordinary statements", () => {
    const texts = [
      "SELECT * FROM accounts WHERE id = $1",
      "UPDATE accounts SET balance = 1 WHERE id = 2",
      "INSERT INTO x (a) VALUES ('a;b')",
      "DELETE FROM x; SELECT 1",
      "/* c */ SELECT 1 -- set x",
      "-- set x\nSELECT 1",
      "BEGIN",
      "COMMIT",
      "SELECT settings, listening FROM x",
      "SELECT 1 FOR UPDATE",
      "INSERT INTO temperature (temp, notify) VALUES (1, true)",
      "INSERT INTO temp VALUES (1)",
      "/* c */ insert\n into temp SELECT temp FROM x",
      "SELECT pg_advisory_xact_lock(1), temporary FROM advisory",
    ];
    for (const text of texts) assert.equal(sessionEffectsMayApply(text), false, text);
  });

  it("sees whatever changes the session", () => {
    const texts = [
      "SET a = 1",
      "\n\t set local a = 1",
      "SELECT 1; RESET ALL",
      "/* /* */ */DISCARD ALL",
      "/*/**/--*/ SET a = 1",
      "--x\nLISTEN c",
      "LOAD 'x'",
      "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
      "PREPARE p AS SELECT 1",
      "DEALLOCATE ALL",
      "DO $$ $$",
      "CALL p()",
      "SELECT Set_Config('a', 'b', false)",
      "SELECT pg_advisory_lock(1)",
      "CREATE TEMP TABLE x ()",
      "CREATE TABLE pg_temp.x ()",
      "SELECT 1 INTO TEMPORARY x",
      "SELECT 1 INTO/**/LOCAL--\nTEMP x",
      "SELECT insert INTO TEMP x",
      "INSERT INTO pg_temp.x VALUES (1)",
      "NOTIFY c",
      "SELECT \"pg_notify\"('c', '')",
      "SELECT U&\"\\0070g_notify\"('c', '')",
      "SELECT pg_try_advisory_lock_shared(1)",
      "SELECT pg_advisory_unlock_all()",
      "EXPLAIN EXECUTE p",
    ];
    for (const text of texts) assert.equal(sessionEffectsMayApply(text), true, text);
  });

  it("sees whatever changes the schema", () => {
    const texts = [
      "CREATE TABLE x (a int)",
      "create unique index on x (a)",
      "SELECT 1; ALTER TABLE x ADD b int",
      "/* c */ DROP TABLE x",
      "IMPORT FOREIGN SCHEMA a FROM SERVER b INTO c",
    ];
    for (const text of texts) assert.equal(sessionEffectsMayApply(text), true, text);
  });

  it("reads any gap between two parts of a string", () => {
    const text = `SELECT 'a'${"\n".repeat(10_000_000)}/**/; SET a.b = 1`;
    assert.equal(sessionEffectsMayApply(text), true);
  });

  // A look that took time in proportion to the square of the text would take minutes.
  it("takes time in proportion to the text", { timeout: 60_000 }, () => {
    const pieces = [" ", "\n", "-", "--\n", "/*", "/**/", ";", "; ", ";--", ";/*", "*", "'", "$$", ";\n"];
    for (const piece of pieces) {
      const text = `${piece.repeat(200_000)}SELECT 1`;
      assert.equal(typeof sessionEffectsMayApply(text), "boolean");
      assert.ok(Array.isArray(new SessionLook().effects(`SET a.b = 1; ${text}`)));
    }
  });
});

describe("the effects of a statement", () => {
  it("are those of all its statements", () => {
    const look = new SessionLook();
    const cases: readonly (readonly [string, unknown])[] = [
      ["SELECT 1", []],
      ["SELECT temperature FROM x", []],
      ["SET a.b = 1; SELECT 1", [{ kind: "set", name: "a.b", sql: "SET a.b = 1" }]],
      [
        "SET LOCAL a.b = 1; LISTEN c",
        [
          { kind: "setLocal", sql: "SET LOCAL a.b = 1" },
          { kind: "listen", channel: "c" },
        ],
      ],
      ["DISCARD ALL", [{ kind: "discardAll" }]],
      ["DISCARD PLANS", [{ kind: "unpin" }]],
      ["DEALLOCATE ALL", [{ kind: "deallocateAll" }]],
      ["DEALLOCATE p", [{ kind: "deallocate", name: "p" }]],
      ['PREPARE "P p" AS SELECT 1; SELECT 1', [{ kind: "pin", reason: "prepare" }]],
      [
        "/* c */ PREPARE p AS SELECT 1;",
        [{ kind: "prepare", name: "p", sql: "PREPARE p AS SELECT 1", inner: [] }],
      ],
      [
        "PREPARE p AS SELECT pg_notify('c', '')",
        [
          {
            kind: "prepare",
            name: "p",
            sql: "PREPARE p AS SELECT pg_notify('c', '')",
            inner: [{ kind: "notify" }],
          },
        ],
      ],
      ["EXECUTE p (1)", [{ kind: "execute", name: "p" }]],
      ["EXPLAIN EXECUTE p", [{ kind: "execute", name: "p" }]],
      ["CREATE TABLE t AS EXECUTE p", [{ kind: "schema" }, { kind: "execute", name: "p" }]],
      ["CREATE TEMP TABLE t (a int) ON COMMIT DROP", [{ kind: "temporary" }]],
      ["CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 1", [{ kind: "temporary" }]],
      ["CREATE TEMP TABLE t (a int) ON COMMIT DELETE ROWS", [{ kind: "pin", reason: "temporary table" }]],
      ["DROP TABLE t", [{ kind: "schema" }, { kind: "unpin" }]],
      ["CLOSE ALL", [{ kind: "unpin" }]],
      ["SELECT pg_advisory_unlock(1)", [{ kind: "unpin" }]],
      ["SET ROLE r", [{ kind: "set", name: "role", sql: "SET ROLE r" }]],
      ["CREATE TEMP SEQUENCE s", [{ kind: "pin", reason: "temporary table" }]],
      ["CREATE TYPE pg_temp.t AS (a int)", [{ kind: "pin", reason: "temporary table" }]],
      ["SELECT 1; ALTER TABLE x ADD a int", [{ kind: "schema" }]],
      ["ALTER TABLE x RENAME a TO b", [{ kind: "schema" }]],
      ["CREATE VIEW v AS SELECT 1", [{ kind: "schema" }]],
      ["CREATE INDEX ON x (a)", [{ kind: "schema" }]],
      ["SET not a statement", [{ kind: "set", name: "*", sql: null }]],
      ["SET CONSTRAINTS ALL IMMEDIATE", [{ kind: "setLocal", sql: "SET CONSTRAINTS ALL IMMEDIATE" }]],
    ];
    for (const [text, effects] of cases) assert.deepEqual(look.effects(text), effects, text);
  });

  it("are remembered by text, so many and no more", () => {
    const look = new SessionLook(2);
    const first = look.effects("SET a.b = 1");
    assert.equal(look.effects("SET a.b = 1"), first);
    look.effects("SET a.b = 2");
    look.effects("SET a.b = 3");
    assert.notEqual(look.effects("SET a.b = 1"), first);
    const long = `SET a.b = '${"x".repeat(20_000)}'`;
    assert.notEqual(look.effects(long), look.effects(long));
  });

  it("are the same for a long text, which is looked at by statement", () => {
    const look = new SessionLook();
    const statement = fc.constantFrom(
      "SELECT 1",
      "SELECT '; SET x = 1', 'it''s', E'\\'; NOTIFY c'",
      "SELECT $$; SET x = 1$$ /* ; LISTEN c */ -- ; LISTEN d\n",
      "SET a.b = 'c;d'",
      "/* c */ SET LOCAL a.b = 1",
      "SELECT set_config('a.b', 'c', false)",
      "SELECT \"set_config\"('a.b', 'c', true)",
      "DO $$ BEGIN PERFORM pg_advisory_lock(1); SET a.b = 1; CREATE TEMP TABLE x (); END $$",
      "DO LANGUAGE plpgsql 'BEGIN PERFORM set_config(''a.b'', ''c'', false); END'",
      "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT set_config('a', 'b', false); END",
      "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; NOTIFY c)",
      "CREATE TEMP TABLE x (a int)",
      "SELECT 1 AS temp INTO /* c */ TEMP x",
      "INSERT INTO temp (temp) VALUES ('temp')",
      "INSERT INTO pg_temp.x VALUES (1)",
      "PREPARE p AS SELECT pg_notify('c', '')",
      "EXPLAIN EXECUTE p (';')",
      "DROP TABLE x",
      "",
    );
    const texts = fc
      .array(statement, { maxLength: 6 })
      .map((statements) => statements.join(";").replace(/^;+/, ""));
    fc.assert(
      fc.property(texts, (text) => {
        assert.deepEqual(look.effects(text + " ".repeat(5_000)), look.effects(text));
      }),
      { numRuns: 500 },
    );
  });

  it("are none where words are in strings, or names are only like them", () => {
    const look = new SessionLook();
    const rows = ",(1, 'first; set x to 1; notify c', 'set_config(1)')".repeat(100_000);
    const text = `INSERT INTO temperature (temp, notify) VALUES (1, '', '')${rows}`;
    assert.deepEqual(look.effects(text), []);
    const script = [...Array(2_000).keys()].map((i) => `INSERT INTO temp VALUES (${i}, 'set_config')`);
    assert.deepEqual(look.effects([...script, "SET a.b = 1", ""].join(";\n")), [
      { kind: "set", name: "a.b", sql: "SET a.b = 1" },
    ]);
  });
});
