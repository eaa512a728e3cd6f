/** Settings in transaction mode: they are their client's, on whatever server connection, and nobody else's. */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import type pg from "pg";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 30_000 };

for (const shards of [1, 2]) {
  describe(`over ${shards === 1 ? "one shard" : `${shards} shards`}`, () => {
    let stage: Stage;
    let one: pg.Client;
    let other: pg.Client;

    before(async () => {
      stage = await Stage.open({ shards, config: { pool: { max: 1 } } });
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

    const onFirst = (sql: string): string => (shards === 1 ? sql : `/* pgxa: shard=east */ ${sql}`);
    const show = async (client: pg.Client, name: string): Promise<string | null> =>
      (await client.query(onFirst("SELECT current_setting($1, true) AS value"), [name])).rows[0].value;

    const ways: readonly (readonly [what: string, set: (client: pg.Client) => Promise<unknown>])[] = [
      ["SET", (client) => client.query("SET app.tenant = 'one'")],
      ["SET in the extended protocol", (client) => client.query("SET app.tenant = 'one'", [])],
      ["set_config()", (client) => client.query(onFirst("SELECT set_config('app.tenant', 'one', false)"))],
      [
        "set_config() of a parameter",
        (client) => client.query(onFirst("SELECT set_config($1, $2, false)"), ["app.tenant", "one"]),
      ],
      [
        "a block",
        (client) =>
          client.query(onFirst("DO $$ BEGIN PERFORM set_config('app.tenant', 'one', false); END $$")),
      ],
      ["a named statement, again", setAgain],
    ];
    for (const [what, set] of ways) {
      test(`an application's own setting made by ${what}`, WAIT, async () => {
        await set(one);
        assert.ok(["", null].includes(await show(other, "app.tenant")));
        await other.query("SET app.tenant = 'other'");
        assert.equal(await show(one, "app.tenant"), "one");
        assert.equal(await show(other, "app.tenant"), "other");
        await one.query("RESET app.tenant");
        assert.equal(await show(other, "app.tenant"), "other");
        assert.equal(await show(one, "app.tenant"), "");
      });
    }

    test("is as it was after a rollback", WAIT, async () => {
      await one.query("SET app.tenant = 'before'");
      await one.query("BEGIN");
      await one.query("SET app.tenant = 'within'");
      assert.equal(await show(one, "app.tenant"), "within");
      await one.query("ROLLBACK");
      await show(other, "app.tenant");
      assert.equal(await show(one, "app.tenant"), "before");
    });

    const STARTUP = { options: "-c app.tenant=start -c work_mem=6MB" };

    test("of the startup packet comes back with RESET, RESET ALL and DISCARD ALL", WAIT, async () => {
      const client = await stage.connect(STARTUP);
      const read = async () => [await show(client, "work_mem"), await show(client, "app.tenant")];
      assert.deepEqual(await read(), ["6MB", "start"]);
      for (const reset of ["RESET work_mem", "RESET ALL", "DISCARD ALL"]) {
        await client.query("SET work_mem = '7MB'");
        await show(other, "work_mem");
        assert.deepEqual(await read(), ["7MB", "start"]);
        await client.query(reset);
        assert.deepEqual(await read(), ["6MB", "start"], reset);
      }
      assert.equal(await show(other, "work_mem"), "4MB");
      await client.end();
    });

    test("a name that is computed keeps its client on its connection", WAIT, async () => {
      await one.query(onFirst("SELECT set_config('app.' || 'tenant', 'one', false)"));
      const console = await stage.connect({ database: "pgxa" });
      const { rows } = await console.query("SHOW PINS");
      assert.equal(rows[0].reasons, "setting");
      assert.equal(await show(one, "app.tenant"), "one");
    });
  });
}

async function setAgain(client: pg.Client): Promise<void> {
  const set = { name: "set", text: "SET app.tenant = 'one'" };
  await client.query(set);
  await client.query("RESET app.tenant");
  await client.query(set);
}

test("in session mode the startup packet's values come back too", WAIT, async () => {
  const stage = await Stage.open({ shards: 1, config: { pool: { mode: "session" } } });
  try {
    const client = await stage.connect({ options: "-c work_mem=6MB -c TimeZone=Asia/Tokyo" });
    await client.query("SET work_mem = '7MB'");
    await client.query("RESET ALL");
    assert.equal((await client.query("SHOW work_mem")).rows[0].work_mem, "6MB");
    assert.equal((await client.query("SHOW timezone")).rows[0].TimeZone, "Asia/Tokyo");
  } finally {
    await stage.stop();
  }
});

test("with pool.reset: always nothing stays that no statement told of", WAIT, async () => {
  const stage = await Stage.open({ shards: 1, config: { pool: { reset: "always", max: 1 } } });
  try {
    const [one, other] = [await stage.connect(), await stage.connect()];
    await stage.onShards(`
      CREATE SEQUENCE counting;
      CREATE FUNCTION secretly() RETURNS void LANGUAGE plpgsql AS $$
      BEGIN
        PERFORM set_config('work_mem', '7MB', false), set_config('app.tenant', 'one', false);
        PERFORM pg_advisory_lock(7), nextval('counting');
        CREATE TEMP TABLE secret (a int);
      END $$`);
    await one.query("SET statement_timeout = '9s'");
    await one.query("SELECT secretly()");
    const { rows } = await other.query(
      "SELECT current_setting('work_mem') AS mem, current_setting('app.tenant', true) AS tenant, to_regclass('secret') AS secret",
    );
    assert.deepEqual(rows, [{ mem: "4MB", tenant: "", secret: null }]);
    await assert.rejects(other.query("SELECT lastval()"), { code: "55000" });
    const locks = await stage.onShards("SELECT FROM pg_locks WHERE locktype = 'advisory'");
    assert.equal(locks[0]!.length, 0);
    assert.equal((await one.query("SHOW statement_timeout")).rows[0].statement_timeout, "9s");
  } finally {
    await stage.stop();
  }
});
