/** What a text, and what a session has set, say of reads from standbys. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { settingsOf } from "../../src/pool/settings.ts";
import { standbyHint } from "../../src/routing/hint.ts";
import { loadParser } from "../../src/routing/parse.ts";
import { readBoolean, StandbyLook, sessionWish } from "../../src/routing/standbyLook.ts";

before(loadParser);

const on = settingsOf([["pgxa.standby", "on"]]);

describe("what may be read from a standby", () => {
  const wants = (text: string, settings = "", reads: "hinted" | "read_only" = "read_only"): boolean =>
    new StandbyLook(reads).wants(text, settings);

  it("is a READ ONLY transaction", () => {
    for (const text of [
      "BEGIN READ ONLY",
      "begin work isolation level repeatable read read only",
      "start transaction read only, deferrable",
      "-- a comment\nBEGIN READ ONLY",
      "BEGIN READ ONLY; SELECT 1; COMMIT",
      "BEGIN READ ONLY; SAVEPOINT s; SELECT 1",
    ]) {
      assert.ok(wants(text), text);
      assert.ok(!wants(text, "", "hinted"), text);
    }
  });

  it("is no other transaction, nor several", () => {
    for (const text of [
      "BEGIN",
      "BEGIN READ WRITE",
      "BEGIN; SET TRANSACTION READ ONLY",
      "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
      "BEGIN READ ONLY; COMMIT; BEGIN",
      "BEGIN READ ONLY; COMMIT AND CHAIN",
      "SELECT 1; BEGIN READ ONLY",
      "BEGIN READ ONLY; SELECT nextval('n')",
      "BEGIN READ ONLY; CREATE TEMP TABLE t (id int)",
      "BEGIN READ ONLY; PREPARE TRANSACTION 'x'",
      "SELECT 'BEGIN READ ONLY'",
      "BEGIN READ ONLY oops",
      "",
    ]) {
      assert.ok(!wants(text), text);
    }
  });

  it("is a statement with a hint, unless it needs the primary", () => {
    assert.ok(wants("SELECT 1 /* pgxa: standby */"));
    assert.ok(wants("SELECT 1 /* pgxa: standby */", "", "hinted"));
    assert.ok(wants("INSERT INTO t VALUES (1) /* pgxa: standby */")); // which the standby refuses itself
    for (const text of [
      "SELECT 1",
      "SELECT 1 /* pgxa: standby=off */",
      "SELECT '/* pgxa: standby */'",
      "SELECT nextval('n') /* pgxa: standby */",
      "SELECT pg_advisory_xact_lock(1) /* pgxa: standby */",
      "SELECT 1 FROM t FOR NO KEY UPDATE /* pgxa: standby */",
      "LISTEN a /* pgxa: standby */",
      "SET a.b = 1 /* pgxa: standby */",
      "COMMIT /* pgxa: standby */",
      "SELECT 1 /* pgxa: standby */ /* pgxa: standby=off */",
    ]) {
      assert.ok(!wants(text), text);
    }
  });

  it("is what a session with pgxa.standby begins, and nothing if that is off", () => {
    const off = settingsOf([["pgxa.standby", "off"]]);
    for (const text of ["SELECT 1", "BEGIN", "BEGIN READ ONLY"]) {
      assert.ok(wants(text, on), text);
      assert.ok(!wants(text, off), text);
    }
    assert.ok(!wants("BEGIN READ WRITE", on));
    assert.ok(!wants("SELECT 1 /* pgxa: standby=off */", on));
    assert.ok(wants("SELECT 1 /* pgxa: standby */", off), "a hint in the text is stronger");
    assert.ok(!wants("SELECT 1", settingsOf([["app.note", "set_config('pgxa.standby', 'on', false)"]])));
  });

  it("goes by what a session has as its transactions' defaults", () => {
    const readOnly = settingsOf([["default_transaction_read_only", "on"]]);
    assert.ok(wants("BEGIN", readOnly));
    assert.ok(!wants("BEGIN READ WRITE", readOnly));
    assert.ok(!wants("SELECT 1", readOnly));
    const serializable = settingsOf([["default_transaction_isolation", "serializable"]]);
    assert.ok(!wants("BEGIN READ ONLY", serializable));
    assert.ok(wants("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY", serializable));
    assert.ok(!wants("SELECT 1 /* pgxa: standby */", serializable));
  });

  it("is not asked for by a setting that was reset", () => {
    assert.equal(sessionWish(settingsOf([["pgxa.standby", ""]])).standby, null);
    assert.deepEqual(["on", "TRUE", "y", "1", "off", "of", "f", "0", "", "o", "maybe"].map(readBoolean), [
      true,
      true,
      true,
      true,
      false,
      false,
      false,
      false,
      null,
      null,
      null,
    ]);
  });
});

describe("a hint at standbys", () => {
  it("stands alone, or behind another", () => {
    for (const body of [
      "standby",
      "standby=on",
      " standby = on ",
      "shard=east, standby",
      "key='a, b',standby=on",
    ])
      assert.equal(standbyHint(`SELECT 1 /* pgxa: ${body} */`), true, body);
    assert.equal(standbyHint("SELECT 1 /* pgxa: shard=east, standby=off */"), false);
    for (const body of [
      "shard=standby",
      "key=standby",
      "key='a, standby'",
      "standbys",
      "key='a, standby=on'",
    ])
      assert.equal(standbyHint(`SELECT 1 /* pgxa: ${body} */`), null, body);
  });
});
