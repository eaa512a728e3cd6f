/** What becomes of clients and statements that take too long, in front of one shard and of two. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type pg from "pg";
import { bind, errorField, execute, message, parse, query, RawClient, sync, typesOf } from "./rawClient.ts";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 60_000 };

/** Of each user, what is limited is in its name. */
const USERS = [
  { name: "postgres" },
  { name: "idle", client_idle_timeout: "200ms" },
  { name: "idle_in_transaction", idle_in_transaction_timeout: "200ms" },
  { name: "transaction", transaction_timeout: "1s" },
  { name: "statement", statement_timeout: "500ms" },
];

/** The SQLSTATE with which the session ends. */
const end = (client: pg.Client): Promise<string | undefined> =>
  new Promise((resolve) => client.once("error", (error: Error & { code?: string }) => resolve(error.code)));

const rejectsWith = (code: string, message?: RegExp) => (error: Error & { code?: string }) => {
  assert.equal(error.code, code, error.message);
  if (message !== undefined) assert.match(error.message, message);
  return true;
};

for (const shards of [1, 2]) {
  describe(`in front of ${shards === 1 ? "one shard" : "two shards"}`, WAIT, () => {
    const on = (sql: string): string => (shards === 1 ? sql : `/* pgxa: shard=east */ ${sql}`);
    let stage: Stage;
    let watcher: pg.Client;

    before(async () => {
      stage = await Stage.open({ shards, config: { users: USERS, pool: { max: 2 } } });
      watcher = await stage.shards[0]!.connect();
    });
    after(async () => {
      await watcher?.end();
      await stage?.stop();
    });

    it("an idle client is ended with 57P05", async () => {
      const client = await stage.connect({ user: "idle" });
      await client.query(on("SELECT 1"));
      assert.equal(await end(client), "57P05");
    });

    it("one that waits for a server connection is not idle", async () => {
      const holders = [await stage.connect(), await stage.connect()];
      for (const holder of holders) await holder.query("BEGIN");
      for (const holder of holders) await holder.query(on("SELECT 1"));
      const client = await stage.connect({ user: "idle" });
      const answer = client.query(on("SELECT 7 AS n"));
      await watcher.query("SELECT pg_sleep(0.6)");
      for (const holder of holders) await holder.query("COMMIT");
      assert.equal((await answer).rows[0].n, 7);
      assert.equal(await end(client), "57P05");
    });

    it("a transaction that stands idle is rolled back with 25P03, and its server connection kept", async () => {
      const client = await stage.connect({ user: "idle_in_transaction" });
      await client.query("BEGIN");
      await client.query(on("INSERT INTO events VALUES (1, 'not to stay')"));
      const ended = end(client);
      const open = "SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction'";
      const { pid } = (await watcher.query(open)).rows[0];
      assert.equal(await ended, "25P03");
      const other = await stage.connect();
      assert.equal((await other.query(on("SELECT count(*)::int AS n FROM events"))).rows[0].n, 0);
      const { rows } = await watcher.query("SELECT state FROM pg_stat_activity WHERE pid = $1", [pid]);
      assert.deepEqual(rows, [{ state: "idle" }]);
    });

    it("a failed transaction that stands idle is ended, too", async () => {
      const client = await stage.connect({ user: "idle_in_transaction" });
      await client.query("BEGIN");
      await assert.rejects(client.query(on("SELECT 1/0")), rejectsWith("22012"));
      assert.equal(await end(client), "25P03");
    });

    it("an idle client without a transaction is spared by that", async () => {
      const client = await stage.connect({ user: "idle_in_transaction" });
      await client.query(on("SELECT 1"));
      await watcher.query("SELECT pg_sleep(0.5)");
      assert.equal((await client.query(on("SELECT 2 AS n"))).rows[0].n, 2);
    });

    it("a transaction that takes too long is ended with 25P04, however busy", async () => {
      const client = await stage.connect({ user: "transaction" });
      await client.query("BEGIN");
      await client.query(on("INSERT INTO events VALUES (2, 'not to stay')"));
      const ended = end(client);
      const busy = async (): Promise<never> => {
        for (;;) await client.query(on("SELECT pg_sleep(0.02)"));
      };
      const failed = busy().catch((error: Error & { code?: string }) => error.code);
      assert.equal(await Promise.race([ended, failed]), "25P04");
      const other = await stage.connect();
      assert.equal((await other.query(on("SELECT count(*)::int AS n FROM events"))).rows[0].n, 0);
    });

    it("that of a single statement, too", async () => {
      const client = await stage.connect({ user: "transaction" });
      await assert.rejects(client.query(on("SELECT pg_sleep(30)")), rejectsWith("25P04"));
      const { rows } = await watcher.query(
        "SELECT count(*)::int AS n FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)%' AND pid <> pg_backend_pid() AND state = 'active'",
      );
      assert.ok(rows[0].n <= 1, "it is cancelled, or about to be");
    });

    it("short transactions, one after the other, are spared by that", async () => {
      const client = await stage.connect({ user: "transaction" });
      const until = performance.now() + 2_500;
      while (performance.now() < until) await client.query(on("SELECT pg_sleep(0.01)"));
    });

    it("a statement that takes too long is cancelled with 57014, and the session goes on", async () => {
      const client = await stage.connect({ user: "statement" });
      const fault = rejectsWith("57014", /^canceling statement due to statement timeout$/);
      await assert.rejects(client.query(on("SELECT pg_sleep(30)")), fault);
      await assert.rejects(client.query(on("SELECT pg_sleep($1)"), [30]), fault);
      assert.equal((await client.query(on("SELECT 3 AS n"))).rows[0].n, 3);
    });

    it("its transaction has failed, and a savepoint takes it back", async () => {
      const client = await stage.connect({ user: "statement" });
      await client.query("BEGIN");
      await client.query(on("INSERT INTO events VALUES (3, 'to stay')"));
      await client.query("SAVEPOINT s");
      await assert.rejects(client.query(on("SELECT pg_sleep(30)")), rejectsWith("57014"));
      await assert.rejects(client.query(on("SELECT 1")), rejectsWith("25P02"));
      await client.query("ROLLBACK TO SAVEPOINT s");
      await client.query("COMMIT");
      const { rows } = await client.query(on("DELETE FROM events WHERE id = 3 RETURNING what"));
      assert.deepEqual(rows, [{ what: "to stay" }]);
    });

    it("a long result counts as a statement, and ends between two messages", async () => {
      const client = await stage.connect({ user: "statement" });
      const long = "SELECT n, pg_sleep(0.01) FROM generate_series(1, 3000) AS n";
      await assert.rejects(client.query(on(long)), rejectsWith("57014"));
      assert.equal((await client.query(on("SELECT 4 AS n"))).rows[0].n, 4);
    });

    it("so does a COPY whose client is slow", async () => {
      const client = await RawClient.login(stage.port, { user: "statement" });
      client.send(query(on("COPY events FROM STDIN")));
      await client.until("G");
      await watcher.query("SELECT pg_sleep(1.2)");
      client.send(message("d", Buffer.from("9\tlate\n"))); // Postgres does not look for a cancellation before
      const messages = await client.until("Z");
      assert.equal(errorField(messages.find(({ type }) => type === "E")!, "C"), "57014");
      client.send(query(on("SELECT 1")));
      assert.equal(typesOf(await client.until("Z")), "TDCZ");
      client.close();
    });

    it("idleness within a batch without its Sync is no statement", async () => {
      const client = await RawClient.login(stage.port, { user: "statement" });
      client.send(parse("", on("SELECT 5")), bind(""), execute(), Buffer.from("H\0\0\0\x04"));
      await client.until("C");
      await watcher.query("SELECT pg_sleep(1.2)");
      client.send(sync());
      assert.equal(typesOf(await client.until("Z")), "Z");
      client.close();
    });

    it("waiting for a server connection is no statement", async () => {
      const holders = [await stage.connect(), await stage.connect()];
      for (const holder of holders) await holder.query("BEGIN");
      for (const holder of holders) await holder.query(on("SELECT 1"));
      const client = await stage.connect({ user: "statement" });
      const answer = client.query(on("SELECT 8 AS n"));
      await watcher.query("SELECT pg_sleep(1.2)");
      for (const holder of holders) await holder.query("COMMIT");
      assert.equal((await answer).rows[0].n, 8);
    });
  });
}
