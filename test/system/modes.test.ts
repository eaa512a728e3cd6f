/** How long a client keeps its server connection: pool.mode, and what must not stay on a connection that goes back. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type pg from "pg";
import { cancelRequest, RawClient } from "./rawClient.ts";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 30_000 };

/** On the first shard, whatever the number of shards. */
const onFirst = (sql: string): string => `/* pgxa: shard=east */ ${sql}`;

async function value(client: pg.Client, sql: string): Promise<unknown> {
  const { rows } = await client.query({ text: onFirst(sql), rowMode: "array" });
  return (rows as unknown[][])[0]?.[0];
}

/** Sends pgxa the cancel request that a driver would. */
async function cancel(stage: Stage, client: pg.Client): Promise<void> {
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
  const secret = Buffer.alloc(4);
  secret.writeInt32BE(secretKey);
  const canceller = new RawClient(stage.port);
  canceller.send(cancelRequest(processID, secret));
  await canceller.untilClosed();
}

const pidOf = (client: pg.Client) => value(client, "SELECT pg_backend_pid()");

for (const shards of [1, 2]) {
  describe(`over ${shards === 1 ? "one shard" : `${shards} shards`}`, () => {
    describe("in session mode", () => {
      let stage: Stage;
      before(async () => {
        stage = await Stage.open({ shards, config: { pool: { mode: "session", max: 1 } } });
      });
      after(() => stage?.stop());

      test("a client keeps its connection, and all that is on it", WAIT, async () => {
        const client = await stage.connect();
        const pid = await pidOf(client);
        await client.query(onFirst("CREATE TEMP TABLE mine AS SELECT 42 AS answer"));
        await client.query(onFirst("SELECT pg_advisory_lock(7)"));
        assert.equal(await value(client, "SELECT answer FROM mine"), 42);
        assert.equal(await pidOf(client), pid);
        await client.end();
      });

      test("the next client gets the same connection without any of it", WAIT, async () => {
        const first = await stage.connect();
        const pid = await pidOf(first);
        await first.query(onFirst("CREATE TEMP TABLE mine AS SELECT 1 AS answer"));
        await first.query("SET application_name = 'first'");
        await first.query(onFirst("SELECT pg_advisory_lock(7)"));
        await first.query({ name: "named", text: onFirst("SELECT $1::int"), values: [1] });
        await first.query("BEGIN");
        await first.query(onFirst("SELECT 1"));
        await first.end();
        const second = await stage.connect();
        assert.equal(await pidOf(second), pid);
        assert.equal(await value(second, "SELECT to_regclass('mine')::text"), null);
        assert.notEqual(await value(second, "SELECT current_setting('application_name')"), "first");
        assert.equal(
          await value(second, "SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory'"),
          0,
        );
        assert.equal(await value(second, "SELECT count(*)::int FROM pg_prepared_statements"), 0);
        await second.end();
      });
    });

    describe("in statement mode", () => {
      let stage: Stage;
      before(async () => {
        stage = await Stage.open({ shards, config: { pool: { mode: "statement", max: 1 } } });
      });
      after(() => stage?.stop());

      test("statements run", WAIT, async () => {
        const client = await stage.connect();
        assert.equal(await value(client, "SELECT 1"), 1);
        await client.end();
      });

      test("a transaction block is refused, and nothing of it stays", WAIT, async () => {
        const client = await stage.connect();
        client.on("error", () => {});
        const inBlock = client.query("BEGIN").then(() => client.query(onFirst("SELECT 1")));
        await assert.rejects(inBlock, shards === 1 ? Error : { code: "0A000" });
        const other = await stage.connect();
        assert.equal(await value(other, "SELECT 1"), 1);
        await other.end();
        await client.end().catch(() => {});
      });
    });

    describe("in transaction mode", () => {
      let stage: Stage;
      before(async () => {
        stage = await Stage.open({ shards, config: { pool: { max: 1 } } });
      });
      after(() => stage?.stop());

      test("a pinned client that goes away in a transaction leaves nothing to the next", WAIT, async () => {
        const first = await stage.connect();
        await first.query(onFirst("CREATE TEMP TABLE mine AS SELECT 1 AS answer"));
        await first.query("BEGIN");
        await first.query(onFirst("SELECT answer FROM mine"));
        await first.end();
        const second = await stage.connect();
        assert.equal(await value(second, "SELECT to_regclass('mine')::text"), null);
        await second.end();
      });

      test("RESET ALL keeps the prepared statements of the client", WAIT, async () => {
        const client = await stage.connect();
        const named = { name: "named", text: onFirst("SELECT $1::int AS n"), values: [1] };
        await client.query(named);
        await client.query("RESET ALL");
        assert.equal((await client.query(named)).rows[0].n, 1);
        await client.end();
      });

      test("a cancel reaches a client that waits for a connection", WAIT, async () => {
        const [holder, waiter] = [await stage.connect(), await stage.connect()];
        await holder.query("BEGIN");
        await holder.query(onFirst("SELECT 1"));
        const waiting = assert.rejects(waiter.query(onFirst("SELECT 2")), { code: "57014" });
        await cancel(stage, waiter);
        await waiting;
        await holder.query("COMMIT");
        assert.equal(await value(waiter, "SELECT 3"), 3);
        await Promise.all([holder.end(), waiter.end()]);
      });
    });
  });
}
