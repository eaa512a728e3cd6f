/**
 * LISTEN and NOTIFY without a server connection for each who listens: one session on the shard hears for all, and comes
 * back when it is lost.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";
import { Listener, pidOf } from "./channelListener.ts";
import { Stage } from "./stage.ts";

const POOL_MAX = 2;
const WAIT = { timeout: 30_000 };
const CHANNEL = "ping";

for (const shards of [1, 2]) {
  describe(`notifications over ${shards === 1 ? "one shard" : `${shards} shards`}`, () => {
    let stage: Stage;
    let opened: pg.Client[] = [];

    before(async () => {
      stage = await Stage.open({ shards, config: { pool: { max: POOL_MAX } } });
    });
    after(() => stage?.stop());
    beforeEach(() => {
      opened = [];
    });
    afterEach(() => Promise.all(opened.map((client) => client.end())));

    const connect = async (): Promise<pg.Client> => {
      const client = await stage.connect();
      opened.push(client);
      return client;
    };
    const listen = async (sql = `LISTEN ${CHANNEL}`): Promise<Listener> => {
      const listener = new Listener(await connect());
      await listener.client.query(sql);
      return listener;
    };
    const notify = (client: pg.Client, payload: string, channel = CHANNEL) =>
      client.query(`NOTIFY "${channel}", '${payload}'`);

    test("reach more listeners than there are server connections", WAIT, async () => {
      const listeners = await Promise.all(Array.from({ length: 10 * POOL_MAX }, () => listen()));
      await notify(await connect(), "one");
      for (const listener of listeners) await listener.hears("one");
    });

    test("bear the process id that the notifying client was given, and its own too", WAIT, async () => {
      const listener = await listen();
      const other = await connect();
      await notify(other, "from another");
      await notify(listener.client, "from itself");
      await listener.hears("from another", "from itself");
      assert.deepEqual(
        listener.heard.map(({ pid }) => pid),
        [pidOf(other), pidOf(listener.client)],
      );
    });

    test("come for the channel's exact name, whatever is in it", WAIT, async () => {
      const quoted = await listen(`LISTEN "Zürich ""7"""`);
      const plain = await listen("LISTEN PING");
      const client = await connect();
      await client.query(`NOTIFY "Zürich ""7""", 'schön'`);
      await notify(client, "lower case");
      await quoted.hears("schön");
      await plain.hears("lower case");
      assert.equal(quoted.heard[0]!.channel, 'Zürich "7"');
    });

    test("wait for the end of the listener's transaction, and for that of the notifier", WAIT, async () => {
      const listener = await listen();
      const bystander = await listen();
      const client = await connect();
      await listener.client.query("BEGIN");
      await notify(client, "meanwhile");
      await bystander.hears("meanwhile"); // so the session that listens has passed it on
      assert.deepEqual(listener.payloads, []);
      await listener.client.query("COMMIT");
      await listener.hears("meanwhile");
      await client.query("BEGIN");
      await notify(client, "undone");
      await client.query("ROLLBACK");
      await notify(client, "done");
      await listener.hears("meanwhile", "done");
    });

    test("come through pg_notify with parameters", WAIT, async () => {
      const listener = await listen();
      const hint = shards === 1 ? "" : "/* pgxa: shard=east */ ";
      await (await connect()).query(`${hint}SELECT pg_notify($1, $2)`, [CHANNEL, "by function"]);
      await listener.hears("by function");
    });

    test("come no more after UNLISTEN, UNLISTEN * and DISCARD ALL", WAIT, async () => {
      const enders = [`UNLISTEN ${CHANNEL}`, "UNLISTEN *", "DISCARD ALL"];
      const listeners = await Promise.all(enders.map(() => listen()));
      for (const [i, sql] of enders.entries()) await listeners[i]!.client.query(sql);
      const witness = await listen();
      await notify(await connect(), "late");
      await witness.hears("late");
      for (const { payloads } of listeners) assert.deepEqual(payloads, []);
    });

    // Over several shards they come by the session that listens, and may come after an UNLISTEN behind them.
    const inPlace = { ...WAIT, skip: shards > 1 };
    test(
      "of one's own come each once, however many and however often one listens anew",
      inPlace,
      async () => {
        const own = await listen();
        await own.client.query("SELECT 1");
        const many = Array.from({ length: 2_000 }, (_, i) => `${i} ${"x".repeat(6_000)}`);
        await own.client.query(
          `SELECT pg_notify('${CHANNEL}', i || ' ' || repeat('x', 6000)) FROM generate_series(0, 1999) AS i`,
        );
        await own.hears(...many);
        for (let i = 0; i < 20; i += 1) {
          own.heard.length = 0;
          await notify(own.client, "again");
          await own.client.query(`UNLISTEN ${CHANNEL}`);
          await own.client.query(`LISTEN ${CHANNEL}`);
          await notify(await connect(), "again");
          await own.hears("again", "again");
        }
      },
    );

    test("are listened to by statements of the extended protocol as well", WAIT, async () => {
      const listener = new Listener(await connect());
      await listener.client.query({ name: "listen", text: `LISTEN ${CHANNEL}` });
      await notify(await connect(), "extended");
      await listener.hears("extended");
    });

    test(
      "do not reach a client that never listened, over a connection on which another did",
      WAIT,
      async () => {
        const bystander = new Listener(await connect());
        const listener = await listen();
        for (let i = 0; i < 3 * POOL_MAX; i++) await bystander.client.query("SELECT 1");
        await notify(await connect(), "private");
        await listener.hears("private");
        assert.deepEqual(bystander.payloads, []);
      },
    );

    test("come again when the session that listens was lost", WAIT, async () => {
      const listener = await listen();
      const control = await stage.shards[0]!.connect();
      const sql = "FROM pg_stat_activity WHERE application_name = 'pgxa notifications'";
      await control.query(`SELECT pg_terminate_backend(pid, 5000) ${sql}`);
      const client = await connect();
      for (let i = 0; i < 100 && listener.heard.length === 0; i++) {
        await notify(client, "back");
        await delay(50);
      }
      assert.equal(listener.payloads[0], "back");
      await control.end();
    });
  });
}
