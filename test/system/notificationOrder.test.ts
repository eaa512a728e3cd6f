/**
 * The order of notifications is that of the commits, as with Postgres, although a client's own come from its server
 * connection and all others from the session that listens for all clients, which may be faster or slower.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import type pg from "pg";
import { Listener, pidOf } from "./channelListener.ts";
import { HubForwarder } from "./hubForwarder.ts";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 60_000 };
const MODES = ["transaction", "session"] as const;

for (const mode of MODES) {
  describe(`the order of notifications in ${mode} mode`, () => {
    let stage: Stage;
    let forwarder: HubForwarder;
    /** Listens on the shard itself. */
    let witness: Listener;
    const opened: pg.Client[] = [];

    before(async () => {
      stage = await Stage.open({ shards: 1, isOpen: false });
      const shard = stage.shards[0]!;
      forwarder = await HubForwarder.open(shard);
      const { id, host, database, user } = shard;
      const shards = [{ name: id, host, port: forwarder.port, database, user }];
      await stage.openProxy({ shards, pool: { mode, max: 8 } });
      witness = new Listener(await shard.connect());
      await witness.client.query("LISTEN ping");
      await witness.client.query(
        `CREATE FUNCTION tell(what text) RETURNS void LANGUAGE sql AS $$ SELECT pg_notify('ping', what) $$`,
      );
    });
    afterEach(async () => {
      forwarder.release();
      await Promise.all(opened.splice(0).map((client) => client.end()));
      await witness.client.query("SELECT 1"); // it has heard all of this test before the answer
      witness.heard.length = 0;
    });
    after(async () => {
      await witness?.client.end();
      await stage?.stop();
      await forwarder?.close();
    });

    const connect = async (): Promise<pg.Client> => {
      const client = await stage.connect();
      opened.push(client);
      return client;
    };
    const listen = async (): Promise<Listener> => {
      const listener = new Listener(await connect());
      await listener.client.query("LISTEN ping");
      return listener;
    };
    const notify = (client: pg.Client, payload: string) => client.query(`NOTIFY ping, '${payload}'`);

    test("another's comes before a client's own later one though the hub is slow", WAIT, async () => {
      const [listener, other] = [await listen(), await connect()];
      forwarder.hold();
      await notify(other, "from another");
      const own = notify(listener.client, "from itself");
      await witness.hears("from another", "from itself");
      forwarder.release();
      await own;
      await listener.hears("from another", "from itself");
      assert.deepEqual(
        listener.heard.map(({ pid }) => pid),
        [pidOf(other), pidOf(listener.client)],
      );
    });

    test("another's that waited for a client's COMMIT comes before those of that COMMIT", WAIT, async () => {
      const [listener, bystander, other] = [await listen(), await listen(), await connect()];
      await listener.client.query("BEGIN");
      await notify(other, "meanwhile");
      await bystander.hears("meanwhile"); // so the hub has passed it on
      await notify(listener.client, "one");
      await notify(listener.client, "two");
      assert.deepEqual(listener.payloads, []);
      await listener.client.query("COMMIT");
      assert.deepEqual(listener.payloads, ["meanwhile", "one", "two"]);
    });

    test("one's own come before the answer though the hub is slow", WAIT, async () => {
      const listener = await listen();
      forwarder.hold();
      const own = listener.client.query("NOTIFY ping, 'one'; NOTIFY ping, 'two'");
      await witness.hears("one", "two");
      forwarder.release();
      await own;
      assert.deepEqual(listener.payloads, ["one", "two"]);
    });

    test("one's own come, once, though the hub's session is lost before it hears them", WAIT, async () => {
      const listener = await listen();
      forwarder.hold();
      const own = notify(listener.client, "own");
      await witness.hears("own");
      forwarder.cut();
      await own;
      assert.deepEqual(listener.payloads, ["own"]);
      for (const other = await connect(); listener.heard.length < 2; ) await notify(other, "back");
      assert.equal(listener.payloads[1], "back");
    });

    test("one's own come after a rollback to a savepoint that undid an earlier one", WAIT, async () => {
      const listener = await listen();
      await listener.client.query("BEGIN");
      await listener.client.query("SAVEPOINT before");
      await notify(listener.client, "undone");
      await listener.client.query("ROLLBACK TO before");
      await notify(listener.client, "done");
      await listener.client.query("COMMIT");
      await listener.hears("done");
    });

    test("what a function of the client's notifies comes once", WAIT, async () => {
      const [listener, other] = [await listen(), await connect()];
      await listener.client.query("SELECT tell('by a function')");
      await notify(other, "last");
      await listener.hears("by a function", "last");
    });
  });
}
