/** State that cannot be carried: it keeps its client on a server connection until it is gone, is shown, and can be refused. */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import type pg from "pg";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 30_000 };

let stage: Stage;
let one: pg.Client;
let other: pg.Client;

const pins = async (): Promise<readonly Record<string, string>[]> => {
  const console = await stage.connect({ database: "pgxa" });
  const { rows } = await console.query("SHOW PINS");
  await console.end();
  return rows as Record<string, string>[];
};

describe("state that cannot be carried", () => {
  before(async () => {
    stage = await Stage.open({ shards: 1, config: { pool: { max: 1, checkout_timeout: "500ms" } } });
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

  const kinds = [
    { made: "CREATE TEMP TABLE t (a int)", gone: "DROP TABLE t", reason: "temporary table" },
    { made: "SELECT 1 AS a INTO TEMP t", gone: "DISCARD TEMP", reason: "temporary table" },
    {
      made: "CREATE FUNCTION pg_temp.f() RETURNS int RETURN 1",
      gone: "DROP FUNCTION pg_temp.f",
      reason: "temporary table",
    },
    { made: "SELECT pg_advisory_lock(7)", gone: "SELECT pg_advisory_unlock(7)", reason: "advisory lock" },
    {
      made: "SELECT pg_try_advisory_lock(7)",
      gone: "SELECT pg_advisory_unlock_all()",
      reason: "advisory lock",
    },
    { made: "DECLARE c CURSOR WITH HOLD FOR SELECT 1", gone: "CLOSE c", reason: "hold cursor" },
    { made: "DECLARE c CURSOR WITH HOLD FOR SELECT 1", gone: "DISCARD ALL", reason: "hold cursor" },
  ];
  for (const { made, gone, reason } of kinds) {
    test(`${made} keeps the connection until ${gone}`, WAIT, async () => {
      await one.query(made);
      await assert.rejects(other.query("SELECT 1"), { code: "53300" });
      const [pin] = await pins();
      assert.equal(pin!.client, String((one as unknown as { processID: number }).processID));
      assert.equal(pin!.shard, "east");
      assert.equal(pin!.reasons, reason);
      await one.query(gone);
      await other.query("SELECT 1");
      assert.deepEqual(await pins(), []);
    });
  }

  const passing = [
    ["BEGIN", "CREATE TEMP TABLE t (a int)", "ROLLBACK"],
    ["BEGIN", "CREATE TEMP TABLE t (a int) ON COMMIT DROP", "SELECT * FROM t", "COMMIT"],
    ["BEGIN", "SELECT pg_advisory_xact_lock(7)", "COMMIT"],
    ["BEGIN", "DECLARE c CURSOR FOR SELECT 1", "FETCH c", "COMMIT"],
    ["BEGIN", "DECLARE c CURSOR WITH HOLD FOR SELECT 1", "ROLLBACK"],
  ];
  for (const statements of passing) {
    test(`${statements.join("; ")} leaves none`, WAIT, async () => {
      for (const statement of statements) await one.query(statement);
      await other.query("SELECT 1");
      assert.deepEqual(await pins(), []);
    });
  }

  test("LOAD stays as long as the client", WAIT, async () => {
    await one.query("LOAD 'plpgsql'");
    await assert.rejects(other.query("SELECT 1"), { code: "53300" });
    await one.end();
    await other.query("SELECT 1");
  });
});

describe("roles", () => {
  before(async () => {
    stage = await Stage.open({ shards: 1, config: { pool: { max: 1 } } });
    await stage.onShards("CREATE ROLE reader");
  });
  after(() => stage?.stop());
  beforeEach(async () => {
    one = await stage.connect();
    other = await stage.connect();
  });

  const who = async (client: pg.Client): Promise<unknown> =>
    (await client.query("SELECT session_user || '/' || current_user AS who")).rows[0].who;

  for (const [set, as, reset] of [
    ["SET ROLE reader", "postgres/reader", "RESET ROLE"],
    ["SET SESSION AUTHORIZATION reader", "reader/reader", "RESET SESSION AUTHORIZATION"],
    ["SELECT set_config('role', 'reader', false)", "postgres/reader", "DISCARD ALL"],
  ] as const) {
    test(`${set} travels with its client`, WAIT, async () => {
      await one.query(set);
      assert.equal(await who(other), "postgres/postgres");
      assert.equal(await who(one), as);
      await one.query(reset);
      assert.equal(await who(one), "postgres/postgres");
    });
  }

  test("are undone with their transaction", WAIT, async () => {
    await one.query("BEGIN");
    await one.query("SET ROLE reader");
    await one.query("ROLLBACK");
    assert.equal(await who(one), "postgres/postgres");
    await one.query("BEGIN");
    await one.query("SET LOCAL ROLE reader");
    await one.query("COMMIT");
    assert.equal(await who(other), "postgres/postgres");
    assert.equal(await who(one), "postgres/postgres");
  });

  test("can be asked for at start-up", WAIT, async () => {
    const client = await stage.connect({ options: "-c role=reader" });
    assert.equal(await who(client), "postgres/reader");
    assert.equal(await who(one), "postgres/postgres");
  });
});

describe("the process id", () => {
  test("is the one given at start-up", WAIT, async () => {
    stage = await Stage.open({ shards: 1, config: { pool: { max: 1 } } });
    try {
      one = await stage.connect();
      other = await stage.connect();
      for (const client of [one, other, one]) {
        const { processID } = client as unknown as { processID: number };
        assert.deepEqual((await client.query("SELECT pg_backend_pid()")).rows, [
          { pg_backend_pid: processID },
        ]);
        const named = { name: "pid", text: "select pg_catalog.pg_backend_pid() as pid;" };
        assert.deepEqual((await client.query(named)).rows, [{ pid: processID }]);
      }
    } finally {
      await stage.stop();
    }
  });
});

for (const shards of [1, 2]) {
  describe(`pool.pins: refuse, over ${shards} of shards`, () => {
    before(async () => {
      stage = await Stage.open({ shards, config: { pool: { pins: "refuse" } } });
      one = await stage.connect();
    });
    after(() => stage?.stop());
    const onFirst = (sql: string): string => (shards === 1 ? sql : `/* pgxa: shard=east */ ${sql}`);
    const refused = (error: pg.DatabaseError): boolean => {
      assert.equal(error.code, "0A000");
      assert.match(error.message, /would keep the client on its server connection/);
      assert.match(error.hint!, /pool\.mode: session/);
      return true;
    };

    test("says so in the place of the statement", WAIT, async () => {
      await assert.rejects(one.query(onFirst("CREATE TEMP TABLE t (a int)")), refused);
      await assert.rejects(one.query(onFirst("SELECT pg_advisory_lock($1)"), [1]), refused);
      await one.query("SELECT 1");
      const answers = await Promise.allSettled([
        one.query("SELECT 1"),
        one.query(onFirst("CREATE TEMP TABLE t (a int)")),
        one.query(onFirst("CREATE TEMP TABLE t (a int)"), []),
        one.query("SELECT 2"),
      ]);
      const ends = answers.map(({ status }) => status);
      assert.deepEqual(ends, ["fulfilled", "rejected", "rejected", "fulfilled"]);
    });

    test("fails the transaction it is in", WAIT, async () => {
      await one.query("BEGIN");
      await one.query(onFirst("SELECT 1"));
      await assert.rejects(one.query(onFirst("LOAD 'plpgsql'")), refused);
      await assert.rejects(one.query("SELECT 1"), { code: "25P02" });
      await one.query("ROLLBACK");
    });
  });
}
