/** Statements about the session and the transaction, several statements in one text, and what is refused. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { loadParser } from "../../src/routing/parse.ts";
import { assertPlans, type Cases, KEY, newRouter, OTHER, ownerOf, SAME } from "./routingStage.ts";

const router = newRouter();
const home = ownerOf(KEY);
const check = (cases: Cases): void => assertPlans(router, cases);

before(loadParser);

describe("transaction control", () => {
  it("is told apart with its characteristics", () => {
    check([
      ["BEGIN", "BEGIN"],
      ["begin work;", "BEGIN"],
      ["START TRANSACTION", "START TRANSACTION"],
      ["BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN ISOLATION LEVEL REPEATABLE READ"],
      [
        "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE",
        "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE",
      ],
      ["START TRANSACTION READ WRITE NOT DEFERRABLE", "START TRANSACTION READ WRITE, NOT DEFERRABLE"],
      ["COMMIT", "commit"],
      ["END", "commit"],
      ["COMMIT AND CHAIN", "commit chain"],
      ["ROLLBACK", "rollback"],
      ["ABORT AND CHAIN", "rollback chain"],
      ["SAVEPOINT a", "savepoint a"],
      ['SAVEPOINT "A b"', "savepoint A b"],
      ["RELEASE a", "release a"],
      ["ROLLBACK TO SAVEPOINT a", "rollbackTo a"],
      ["SET TRANSACTION READ ONLY", "setTransaction READ ONLY"],
    ]);
  });

  it("leaves two-phase commit to pgxa", () => {
    check([
      ["PREPARE TRANSACTION 'x'", "refused session.unsupported finally"],
      ["COMMIT PREPARED 'x'", "refused session.unsupported finally"],
      ["ROLLBACK PREPARED 'x' /* pgxa: shard=east */", "refused session.unsupported finally"],
      ["SET TRANSACTION SNAPSHOT 'x'", "refused session.unsupported finally"],
    ]);
  });
});

describe("settings", () => {
  it("travel with the client", () => {
    check([
      ["SET work_mem = '1MB'", "SET: [set work_mem by SET work_mem = '1MB']"],
      ["SET SESSION Work_Mem TO DEFAULT", "SET: [set work_mem]"],
      ["SET TIME ZONE 'UTC'", "SET: [set timezone by SET TIME ZONE 'UTC']"],
      ["RESET work_mem", "RESET: [set work_mem]"],
      ["RESET ALL", "RESET: [reset all]"],
      ["DISCARD ALL", "DISCARD ALL: [discard all]"],
      ["SET LOCAL work_mem = 5", "SET: [local SET LOCAL work_mem = 5]"],
      ["SET CONSTRAINTS ALL DEFERRED", "SET: [local SET CONSTRAINTS ALL DEFERRED]"],
      [
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET: [set session characteristics by SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY]",
      ],
      ["SHOW work_mem", "read any"],
      ["SHOW ALL", "read any"],
      ["DISCARD TEMP", "refused route.unsupported"],
    ]);
  });

  it("can have another statement written behind them", () => {
    check([
      ["SET LOCAL a.b = 1 -- why", "SET: [local SET LOCAL a.b = 1]"],
      ["/* x */ SET LOCAL a.b = 1 ; -- why", "SET: [local SET LOCAL a.b = 1]"],
      ["SET a.b = '--' /* /* */ */;;", "SET: [set a.b by SET a.b = '--']"],
    ]);
  });

  it("of pgxa are answered by pgxa", () => {
    check([
      ["SET pgxa.shard = 'east'", "hint pgxa.shard = east"],
      ["SET pgxa.shard TO east", "hint pgxa.shard = east"],
      ["SET LOCAL pgxa.key = 42", "hint pgxa.key = 42 local"],
      ["SET pgxa.key = -7", "hint pgxa.key = -7"],
      ["SET pgxa.key = 99999999999", "hint pgxa.key = 99999999999"],
      ["SET PGXA.Key = '2024-01-01'", "hint pgxa.key = 2024-01-01"],
      ["SET pgxa.shard = ''", "hint pgxa.shard = null"],
      ["RESET pgxa.shard", "hint pgxa.shard = null"],
      ["SET pgxa.key TO DEFAULT", "hint pgxa.key = null"],
      ["SHOW pgxa.key", "show pgxa.key"],
      ["SET pgxa.shard = a, b", "refused session.unsupported finally"],
      ["SET pgxa.shards = 'east'", "refused route.unknown_setting finally"],
      ["RESET pgxa.shards", "refused route.unknown_setting finally"],
      ["SHOW pgxa.shards", "refused route.unknown_setting finally"],
    ]);
  });

  it("that would change how a statement is read are refused", () => {
    check([
      ["SET standard_conforming_strings = off", "refused session.unsupported finally"],
      [
        "SET standard_conforming_strings = on",
        "SET: [set standard_conforming_strings by SET standard_conforming_strings = on]",
      ],
      ["SET client_encoding = 'latin1'", "refused session.unsupported finally"],
      ["SET NAMES 'WIN1252'", "refused session.unsupported finally"],
      ["SET client_encoding = 'utf-8'", "SET: [set client_encoding by SET client_encoding = 'utf-8']"],
      ["RESET client_encoding", "RESET: [set client_encoding]"],
    ]);
  });

  it("of the role travel like others", () => {
    check([
      ["SET ROLE x", "SET: [set role by SET ROLE x]"],
      ["SET SESSION AUTHORIZATION x", "SET: [set session_authorization by SET SESSION AUTHORIZATION x]"],
      ["RESET ROLE", "RESET: [set role]"],
    ]);
  });
});

describe("statements that are of no single shard", () => {
  const places: Cases = [
    ["TRUNCATE accounts", "[x]"],
    ["COPY accounts FROM STDIN", "[x]"],
    ["LOCK TABLE accounts", "[x]"],
    ["MERGE INTO accounts a USING currencies c ON a.id = 1 WHEN MATCHED THEN DELETE", "[x]"],
    ["CREATE TABLE x (a int)", "[schema]"],
    ["ALTER TABLE accounts ADD x int", "[schema]"],
    ["CREATE INDEX i ON accounts (id)", "[schema]"],
    ["CREATE INDEX CONCURRENTLY i ON accounts (id)", "[schema] outside"],
    ["DROP INDEX CONCURRENTLY i", "[schema] [unpin] outside"],
    ["DROP INDEX i", "[schema] [unpin]"],
    ["REINDEX TABLE accounts", "[x]"],
    ["REINDEX TABLE CONCURRENTLY accounts", "outside"],
    ["REINDEX SCHEMA public", "outside"],
    ["VACUUM accounts", "outside"],
    ["ANALYZE accounts", "[x]"],
    ["CLUSTER", "outside"],
    ["CLUSTER accounts", "[x]"],
    ["CREATE DATABASE x", "[schema] outside"],
    ["ALTER SYSTEM SET work_mem = 1", "[schema] outside"],
    ["CREATE TEMP TABLE x (a int)", "[pin temporary table]"],
    ["CREATE TABLE pg_temp.x (a int)", "[pin temporary table]"],
    ["CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "[pin temporary table]"],
    ["CREATE TEMP TABLE x AS SELECT 1", "[pin temporary table]"],
    ["CREATE TEMP VIEW x AS SELECT 1", "[pin temporary table]"],
    ["SELECT 1 INTO TEMP x", "[pin temporary table]"],
    ["SELECT * INTO x FROM accounts WHERE id = 1", "[schema]"],
    ["CALL p()", "[set *]"],
    ["DO 'BEGIN END'", "[set *]"],
    ["LOAD 'x'", "[pin load]"],
    ["FETCH 5 FROM c", "[x]"],
    ["MOVE c", "[x]"],
    ["CLOSE c", "[unpin]"],
    ["EXPLAIN EXECUTE x", "[execute x]"],
    ["EXPLAIN ANALYZE CREATE TABLE x AS SELECT * FROM accounts", "[x]"],
    ["EXPLAIN ANALYZE MERGE INTO accounts a USING currencies c ON a.id = 1 WHEN MATCHED THEN DELETE", "[x]"],
  ];

  it("are refused", () => check(places.map(([statement]) => [statement, "refused route.unsupported"])));

  it("go where a hint says", () =>
    check(
      places.map(([statement, extra]) => [
        `${statement} /* pgxa: shard=east */`,
        `write =east${extra === "[x]" ? "" : ` ${extra}`}`,
      ]),
    ));

  it("of prepared statements are about the client's own", () => {
    check([
      ["DEALLOCATE ALL", "deallocate all"],
      ['DEALLOCATE "P"', "deallocate P"],
    ]);
  });

  it("notifications are the first shard's", () => {
    check([
      ["LISTEN c", "write default [listen c]"],
      ["UNLISTEN *", "write default [unlisten *]"],
      ["NOTIFY c, 'x'", "write default [notify]"],
    ]);
  });
});

describe("several statements in one text", () => {
  it("go together to one shard", () => {
    check([
      ["", "empty"],
      [" ;; ", "empty"],
      ["-- nothing\n/* at all */", "empty"],
      ["SELECT 1;", "read any"],
      ["SELECT 1; SELECT 2", "read any"],
      [`SELECT 1; UPDATE accounts SET balance = 0 WHERE id = ${KEY}`, `write ${home}`],
      [`DELETE FROM accounts WHERE id = ${KEY}; DELETE FROM cards WHERE id = ${SAME};`, `write ${home}`],
      ["SELECT * FROM jobs; SELECT * FROM accounts WHERE id = $1", "read south+$1:int8"],
      ["SELECT nextval('s'); SELECT 1", "write default"],
      ["DELETE FROM currencies; DELETE FROM countries", "write all"],
      ["SELECT * FROM accounts; DELETE FROM x /* pgxa: shard=east */", "write =east"],
      ["SET work_mem = 1; SELECT 1 /* pgxa: shard=east */", "write =east [set work_mem by SET work_mem = 1]"],
    ]);
  });

  it("are refused otherwise", () => {
    check([
      [
        `DELETE FROM accounts WHERE id = ${KEY}; DELETE FROM accounts WHERE id = ${OTHER}`,
        "refused route.unsupported finally",
      ],
      ["DELETE FROM currencies; SELECT 1", "refused route.unsupported finally"],
      ["BEGIN; SELECT 1", "refused route.unsupported finally"],
      ["SELECT 1; COMMIT", "refused route.unsupported finally"],
      ["SET work_mem = 1; SELECT 1", "refused route.unsupported finally"],
      ["SELECT 1; SELECT * FROM accounts", "refused route.no_key finally"],
      ["BEGIN; SELECT 1 /* pgxa: shard=east */", "refused route.unsupported finally"],
    ]);
  });

  it("keep what is the first shard's on the first shard", () => {
    const plan = router.plan("SELECT pg_advisory_xact_lock(1); SELECT * FROM accounts WHERE id = $1");
    assert.equal(plan.kind === "statement" && plan.target.kind, "keys");
    check([["SELECT pg_advisory_xact_lock(1); SELECT * FROM accounts WHERE id = $1", "write $1:int8+north"]]);
  });
});
