/** What an operator does on the console: nobody's transaction is broken by it unless that was asked for. */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import type pg from "pg";
import { Stage } from "./stage.ts";

const ended = (client: pg.Client): Promise<string | undefined> =>
  new Promise((resolve) => client.once("error", (error: Error & { code?: string }) => resolve(error.code)));

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

for (const shards of [1, 2]) {
  describe(`in front of ${shards === 1 ? "one shard" : "two shards"}`, () => {
    let stage: Stage;
    const admin = (): Promise<pg.Client> => stage.connect({ database: "pgxa" });
    /** One account of each shard. */
    const ids = (): readonly number[] => stage.accounts.map(([id]) => id!);
    const touch = (client: pg.Client, id: number) =>
      client.query("UPDATE accounts SET balance = balance + 0 WHERE id = $1", [id]);
    const connections = async (): Promise<number> => {
      const counts = await stage.onShards<{ count: number }>(
        "SELECT count(*)::int FROM pg_stat_activity WHERE application_name = '' AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
      );
      return counts.flat().reduce((sum, { count }) => sum + count, 0);
    };

    before(async () => {
      stage = await Stage.open({ shards, isOpen: false, config: { console: { admin_users: "postgres" } } });
    });
    after(() => stage.stop());
    beforeEach(async () => {
      await stage.closeProxy();
      await stage.openProxy();
    });

    test("PAUSE waits for transactions, lets none begin, and closes every connection; RESUME goes on", async () => {
      const [boss, busy, other] = [await admin(), await stage.connect(), await stage.connect()];
      await busy.query("BEGIN");
      await touch(busy, ids()[0]!);
      let isPaused = false;
      const paused = boss.query("PAUSE").then(() => (isPaused = true));
      await turn();
      let isServed = false;
      const served = touch(other, ids()[0]!).then(() => (isServed = true));
      await touch(busy, ids().at(-1)!); // on another shard, where there are two
      assert.deepEqual([isPaused, isServed], [false, false]);
      await busy.query("COMMIT");
      await paused;
      const databases = await (await admin()).query("SHOW DATABASES");
      assert.equal(String(databases.rows.find(({ name }) => name === "bank").paused), "1");
      assert.equal(isServed, false);
      while ((await connections()) > 0) await turn();
      await (await admin()).query("RESUME");
      await served;
    });

    test("RESUME during a PAUSE that waits ends the wait with an error", async () => {
      const [boss, busy] = [await admin(), await stage.connect()];
      await busy.query("BEGIN");
      await touch(busy, ids()[0]!);
      const paused = assert.rejects(boss.query("PAUSE"), { code: "55000" });
      await turn();
      await (await admin()).query("RESUME");
      await paused;
      await busy.query("ROLLBACK");
    });

    test("a paused database is named, and one that is not there is no database", async () => {
      const boss = await admin();
      await boss.query("PAUSE bank");
      await boss.query("RESUME bank");
      await assert.rejects(boss.query("RESUME bank"), { code: "55000" });
      await assert.rejects(boss.query("PAUSE nowhere"), { code: "3D000" });
    });

    test("RECONNECT replaces connections as they come back, and WAIT_CLOSE waits for that", async () => {
      const [boss, busy] = [await admin(), await stage.connect()];
      await busy.query("BEGIN");
      await touch(busy, ids()[0]!);
      await boss.query("RECONNECT");
      let isClosed = false;
      const closed = boss.query("WAIT_CLOSE").then(() => (isClosed = true));
      await turn();
      assert.equal(isClosed, false);
      await busy.query("COMMIT");
      await closed;
      await touch(busy, ids()[0]!);
    });

    test("DISABLE lets nobody new in and leaves those who are; ENABLE ends that", async () => {
      const [boss, inside] = [await admin(), await stage.connect()];
      await boss.query("DISABLE bank");
      await touch(inside, ids()[0]!);
      await assert.rejects(stage.connect(), { code: "55000" });
      await boss.query("ENABLE bank");
      await touch(await stage.connect(), ids()[0]!);
    });

    test("KILL ends every client of the database, and pauses it", async () => {
      const [boss, busy] = [await admin(), await stage.connect()];
      await busy.query("BEGIN");
      await touch(busy, ids()[0]!);
      const end = ended(busy);
      await boss.query("KILL bank");
      assert.equal(await end, "57P01");
      await boss.query("RESUME bank");
      await touch(await stage.connect(), ids()[0]!);
    });

    test("KILL_CLIENT ends one client, by the id of SHOW CLIENTS", async () => {
      const [boss, one, other] = [await admin(), await stage.connect(), await stage.connect()];
      const end = ended(one);
      const id = (one as unknown as { processID: number }).processID;
      const { rows } = await boss.query("SHOW CLIENTS");
      assert.ok(rows.some((row) => JSON.stringify(row).includes(String(id))));
      await boss.query(`KILL_CLIENT ${id}`);
      assert.equal(await end, "57P01");
      await touch(other, ids()[0]!);
      await assert.rejects(boss.query("KILL_CLIENT 1"), { code: "42704" });
    });

    test("SUSPEND is refused, with what to do instead", async () => {
      await assert.rejects((await admin()).query("SUSPEND"), { code: "0A000", hint: /PAUSE/ });
    });

    test("SHUTDOWN WAIT_FOR_SERVERS lets transactions end", async () => {
      const [boss, busy, idle] = [await admin(), await stage.connect(), await stage.connect()];
      await busy.query("BEGIN");
      await touch(busy, ids()[0]!);
      const idleEnds = ended(idle);
      await boss.query("SHUTDOWN WAIT_FOR_SERVERS");
      assert.equal(await idleEnds, "57P01");
      const busyEnds = ended(busy);
      await busy.query("COMMIT");
      assert.equal(await busyEnds, "57P01");
    });

    test("ten RELOADs under load change what they say and break no transaction", async () => {
      const boss = await admin();
      const clients = await Promise.all(Array.from({ length: 6 }, () => stage.connect()));
      let isOver = false;
      let transactions = 0;
      const load = clients.map(async (client, i) => {
        while (!isOver) {
          await client.query("BEGIN");
          await touch(client, stage.accounts[0]![i]!);
          await touch(client, stage.accounts.at(-1)![i + 10]!);
          await client.query("COMMIT");
          transactions += 1;
        }
      });
      for (let i = 1; i <= 10; i += 1) {
        const aim = transactions + 10;
        while (transactions < aim) await turn();
        stage.writeConfig({ pool: { max: 5 + i }, users: [{ name: "postgres" }, { name: `user${i}` }] });
        await boss.query("RELOAD");
        const { rows } = await boss.query("SHOW CONFIG");
        assert.equal(rows.find(({ key }) => key === "pool.max").value, String(5 + i));
      }
      isOver = true;
      await Promise.all(load);
      await assert.rejects(stage.connect({ user: "user9" }), { code: "28000" });
      await (await stage.connect({ user: "user10" })).query("SELECT 1");
    });

    test("a RELOAD of a file that is wrong says so and changes nothing", async () => {
      const boss = await admin();
      stage.writeConfig({ pool: { max: "many" } });
      await assert.rejects(boss.query("RELOAD"), /pool.max/);
      const { rows } = await boss.query("SHOW CONFIG");
      assert.equal(rows.find(({ key }) => key === "pool.max").value, "20");
    });

    test("SET changes a live option for the time being, and no other", async () => {
      const boss = await admin();
      await boss.query("SET pool.max = 7");
      const { rows } = await boss.query("SHOW CONFIG");
      assert.equal(rows.find(({ key }) => key === "pool.max").value, "7");
      await assert.rejects(boss.query("SET listen.port = 1"), { code: "55P02" });
      await assert.rejects(boss.query("SET pool.max = many"));
    });
  });
}
