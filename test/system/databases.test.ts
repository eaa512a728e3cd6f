/** Several databases in front of one shard, and how long the clients of each, and each user's, keep a connection. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type pg from "pg";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 30_000 };

let stage: Stage;

before(async () => {
  stage = await Stage.open({
    shards: 1,
    config: {
      pool: { max: 1, checkout_timeout: "500ms" },
      databases: [
        { name: "bank", mode: "session" },
        { name: "other", database: "postgres" },
        { name: "single", database: "bank", mode: "statement" },
        { name: "*" },
      ],
      users: [{ name: "postgres" }, { name: "patient", mode: "transaction" }],
    },
  });
});
after(() => stage?.stop());

const databaseOf = async (client: pg.Client): Promise<string> =>
  (await client.query("SELECT current_database() AS name")).rows[0].name;

describe("a client finds the database", () => {
  for (const [named, found] of [
    ["bank", "bank"],
    ["other", "postgres"],
    ["single", "bank"],
    ["template1", "template1"],
  ] as const) {
    test(`${found} under the name ${named}`, WAIT, async () => {
      const client = await stage.connect({ database: named });
      assert.equal(await databaseOf(client), found);
      await client.end();
    });
  }

  test("that does not exist refused with the shard's own SQLSTATE", WAIT, async () => {
    for (const database of ["nowhere", "*"]) {
      await assert.rejects(stage.connect({ database }), { code: "3D000", message: /does not exist/ });
    }
  });

  test("with a pool of its own", WAIT, async () => {
    const [one, other] = [
      await stage.connect({ database: "other" }),
      await stage.connect({ database: "single" }),
    ];
    await one.query("BEGIN");
    await one.query("SELECT 1");
    await other.query("SELECT 1");
    await one.query("COMMIT");
  });
});

describe("the mode is", () => {
  test("that of the database", WAIT, async () => {
    const keeps = await stage.connect();
    await keeps.query("SELECT 1");
    const waits = await stage.connect();
    await assert.rejects(waits.query("SELECT 1"), { code: "53300" });
    await keeps.end();
    await waits.query("SELECT 1");
    await waits.end();
    const single = await stage.connect({ database: "single" });
    await single.query("BEGIN").catch(() => {}); // answered before pgxa sees that a block is open
    await assert.rejects(single.query("SELECT 1"));
  });

  test("that of the user before it", WAIT, async () => {
    const first = await stage.connect({ user: "patient" });
    const second = await stage.connect({ user: "patient" });
    for (const client of [first, second, first]) await client.query("SELECT 1");
    const single = await stage.connect({ user: "patient", database: "single" });
    for (const sql of ["BEGIN", "SELECT 1", "COMMIT"]) await single.query(sql);
  });

  test("pool.mode elsewhere", WAIT, async () => {
    const first = await stage.connect({ database: "other" });
    const second = await stage.connect({ database: "other" });
    for (const client of [first, second, first]) await client.query("SELECT 1");
  });
});
