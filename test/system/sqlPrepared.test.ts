/** SQL's PREPARE, EXECUTE and DEALLOCATE in transaction mode: two clients take turns on one server connection. */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import type pg from "pg";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 30_000 };

let stage: Stage;
let one: pg.Client;
let other: pg.Client;

before(async () => {
  stage = await Stage.open({ shards: 1, config: { pool: { max: 1, checkout_timeout: "1s" } } });
});
after(() => stage?.stop());
beforeEach(async () => {
  one = await stage.connect();
  other = await stage.connect();
});
afterEach(async () => {
  await one.end();
  await other.end();
});

const only = async (client: pg.Client, text: string, values?: unknown[]): Promise<unknown> =>
  Object.values((await client.query(text, values)).rows[0] as object)[0];
const failsWith = (code: string, message: RegExp) => (error: pg.DatabaseError) => {
  assert.equal(error.code, code);
  assert.match(error.message, message);
  return true;
};
const ABSENT = failsWith("26000", /^prepared statement "q" does not exist$/);
const TAKEN = failsWith("42P05", /^prepared statement "q" already exists$/);

describe("statements of SQL's PREPARE", () => {
  test("are each client's own, under the names it gave", WAIT, async () => {
    await one.query("PREPARE q (int) AS SELECT $1 + 1");
    assert.equal(await only(one, "EXECUTE q (1)"), 2);
    await assert.rejects(other.query("EXECUTE q (1)"), ABSENT);
    await other.query("PREPARE q (int) AS SELECT $1 + 100");
    assert.equal(await only(other, "EXECUTE q (1)"), 101);
    assert.equal(await only(one, "EXECUTE q (1)"), 2);
    assert.equal(await only(other, "EXPLAIN (COSTS OFF) EXECUTE q (1)"), "Result");
    await assert.rejects(one.query("PREPARE q AS SELECT 1"), TAKEN);
    assert.equal(await only(one, "EXECUTE q (1)"), 2);
  });

  test("are gone with DEALLOCATE, for the client that said so", WAIT, async () => {
    await one.query("PREPARE q AS SELECT 'one'");
    await other.query("PREPARE q AS SELECT 'other'");
    await one.query("DEALLOCATE q");
    await assert.rejects(one.query("DEALLOCATE q"), ABSENT);
    await assert.rejects(one.query("EXECUTE q"), ABSENT);
    assert.equal(await only(other, "EXECUTE q"), "other");
    await one.query("PREPARE q AS SELECT 'again'");
    await other.query("DEALLOCATE ALL");
    await assert.rejects(other.query("EXECUTE q"), ABSENT);
    assert.equal(await only(one, "EXECUTE q"), "again");
    await one.query("DISCARD ALL");
    await assert.rejects(one.query("EXECUTE q"), ABSENT);
  });

  test(
    "stay when a failed transaction refuses DEALLOCATE, and when one that made them rolls back",
    WAIT,
    async () => {
      await one.query("BEGIN");
      await one.query("PREPARE q AS SELECT 'kept'");
      await assert.rejects(one.query("SELECT 1/0"));
      await assert.rejects(one.query("DEALLOCATE q"), { code: "25P02" });
      await one.query("ROLLBACK");
      await other.query("SELECT 1");
      assert.equal(await only(one, "EXECUTE q"), "kept");
    },
  );

  test("that could not be made are not there", WAIT, async () => {
    await assert.rejects(one.query("PREPARE q AS SELECT * FROM nowhere"), { code: "42P01" });
    await other.query("SELECT 1");
    await assert.rejects(one.query("EXECUTE q"), ABSENT);
    await assert.rejects(one.query("PREPARE pgxa_1 AS SELECT 1"), { code: "0A000" });
  });

  test("come and go by the extended protocol too", WAIT, async () => {
    await one.query("PREPARE q (int) AS SELECT $1 + 1", []);
    await other.query("SELECT 1");
    assert.equal(await only(one, "EXECUTE q (1)", []), 2);
    await other.query("SELECT 1");
    await one.query("DEALLOCATE q", []);
    await assert.rejects(one.query("EXECUTE q (1)", []), ABSENT);
  });

  test("do to the session what they say, whenever they are executed", WAIT, async () => {
    await one.query("PREPARE q AS SELECT set_config('work_mem', '7MB', false)");
    assert.equal(await only(one, "SHOW work_mem"), "4MB");
    await one.query("EXECUTE q");
    assert.equal(await only(other, "SHOW work_mem"), "4MB");
    assert.equal(await only(one, "SHOW work_mem"), "7MB");
  });

  test(
    "made by one query with others keep their client on its connection until they are gone",
    WAIT,
    async () => {
      await one.query("PREPARE q AS SELECT 1; EXECUTE q");
      await assert.rejects(other.query("SELECT 1"), { code: "53300" });
      await one.query("DEALLOCATE ALL");
      await other.query("SELECT 1");
    },
  );
});

describe("statements of the protocol", () => {
  test("share their names with SQL's", WAIT, async () => {
    await one.query({ name: "q", text: "SELECT $1::int", values: [3] });
    await other.query("SELECT 1");
    await assert.rejects(one.query("PREPARE q AS SELECT 1"), TAKEN);
    assert.equal(await only(one, "EXECUTE q (4)"), 4);
    await one.query("DEALLOCATE q");
    await assert.rejects(one.query("EXECUTE q (4)"), ABSENT);
    await other.query("PREPARE q AS SELECT 'sql'");
    await assert.rejects(other.query({ name: "q", text: "SELECT 1" }), TAKEN);
  });

  test("that set something do so each time they run", WAIT, async () => {
    const set = { name: "s", text: "SET work_mem = '7MB'" };
    await one.query(set);
    await one.query("RESET work_mem");
    await one.query(set);
    assert.equal(await only(other, "SHOW work_mem"), "4MB");
    assert.equal(await only(one, "SHOW work_mem"), "7MB");
  });

  test("are no more than the limit allows", WAIT, async () => {
    const limited = await Stage.open({ shards: 1, config: { limits: { statements_max: 2 } } });
    try {
      const client = await limited.connect();
      await client.query({ name: "a", text: "SELECT 1" });
      await client.query("PREPARE b AS SELECT 1");
      await assert.rejects(client.query({ name: "c", text: "SELECT 1" }), { code: "53400" });
      await client.query("DEALLOCATE b");
      await client.query({ name: "c", text: "SELECT 1" });
    } finally {
      await limited.stop();
    }
  });
});

describe("pg_prepared_statements", () => {
  const VIEWS = [
    "SELECT name, statement FROM pg_prepared_statements ORDER BY name",
    "SELECT p.name, p.statement FROM pg_catalog.pg_prepared_statements AS p ORDER BY 1",
    "WITH x AS (SELECT * FROM pg_prepared_statements) SELECT name, statement FROM x ORDER BY name",
  ];

  for (const view of VIEWS) {
    test(`shows a client its own, whatever connection it is on: ${view}`, WAIT, async () => {
      await one.query({ name: "müller", text: "SELECT $1::int", values: [1] });
      await one.query("PREPARE q (int) AS SELECT $1 + 1");
      await other.query({ name: "hers", text: "SELECT 2" });
      const own = [
        { name: "müller", statement: "SELECT $1::int" },
        { name: "q", statement: "PREPARE q (int) AS SELECT $1 + 1" },
      ];
      assert.deepEqual((await one.query(view)).rows, own);
      assert.deepEqual((await one.query(view, [])).rows, own);
      assert.deepEqual((await other.query(view)).rows, [{ name: "hers", statement: "SELECT 2" }]);
      await one.query("DEALLOCATE ALL");
      assert.deepEqual((await one.query(view)).rows, []);
    });
  }

  test("is read anew each time by a statement that was prepared", WAIT, async () => {
    const count = { name: "count", text: "SELECT count(*)::int AS n FROM pg_prepared_statements" };
    assert.deepEqual((await one.query(count)).rows, [{ n: 1 }]);
    await one.query("PREPARE q AS SELECT 1");
    assert.deepEqual((await one.query(count)).rows, [{ n: 2 }]);
    await one.query("DEALLOCATE ALL");
  });

  test(
    "is the shard's own in what is kept for another time, and where no query may stand",
    WAIT,
    async () => {
      await one.query("CREATE VIEW kept AS SELECT * FROM pg_prepared_statements");
      const { rows } = await one.query("SELECT pg_get_viewdef('kept') AS definition");
      assert.doesNotMatch(rows[0].definition, /JOIN/);
      await one.query("TABLE pg_prepared_statements");
      await one.query("SELECT name FROM ONLY pg_prepared_statements");
      await one.query("DROP VIEW kept");
    },
  );

  test("does not keep a query from running when a statement cannot be prepared any more", WAIT, async () => {
    await one.query("CREATE TABLE soon_gone (a int)");
    await one.query({ name: "gone", text: "SELECT a FROM soon_gone" });
    await one.query({ name: "kept", text: "SELECT 1" });
    await other.query("DROP TABLE soon_gone");
    await stage.onShards(
      "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
    );
    const { rows } = await one.query("SELECT count(*) AS n FROM pg_prepared_statements");
    assert.equal(rows.length, 1);
  });
});
