/** SIGTERM's way out: transactions end in peace, nobody begins another, and there is a last moment. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type pg from "pg";
import { Stage } from "./stage.ts";

const ADMIN_SHUTDOWN = "57P01";

/** Resolves with the SQLSTATE that the connection ended with. */
const ending = (client: pg.Client): Promise<string | undefined> =>
  new Promise((resolve) => client.once("error", (error: Error & { code?: string }) => resolve(error.code)));

for (const shards of [1, 2]) {
  describe(`draining in front of ${shards === 1 ? "one shard" : "two shards"}`, () => {
    let stage: Stage;
    before(async () => {
      stage = await Stage.open({ shards, config: { shutdown: { timeout: "60s" } } });
    });
    after(() => stage.stop());

    test("a client in no transaction is told 57P01, one in a transaction when that is over", async () => {
      await stage.closeProxy();
      await stage.openProxy();
      const [idle, busy] = [await stage.connect(), await stage.connect()];
      const [idleEnds, busyEnds] = [ending(idle), ending(busy)];
      const accounts = stage.accounts.map(([id]) => id!);
      await busy.query("BEGIN");
      await busy.query("UPDATE accounts SET balance = balance + 1 WHERE id = $1", [accounts[0]]);
      const drained = stage.proxy.drain();
      assert.equal(await idleEnds, ADMIN_SHUTDOWN);
      await assert.rejects(stage.connect(), { code: ADMIN_SHUTDOWN });
      await busy.query("UPDATE accounts SET balance = balance + 1 WHERE id = $1", [accounts.at(-1)]);
      await busy.query("COMMIT");
      assert.equal(await busyEnds, ADMIN_SHUTDOWN);
      await drained;
      const changed = await stage.onShards("SELECT 1 FROM accounts WHERE balance > 1000");
      assert.ok(changed.every((rows) => rows.length === 1));
    });

    test("clients that never rest for long are let go between two transactions, and none of theirs fails", async () => {
      await stage.closeProxy();
      await stage.openProxy();
      const clients = await Promise.all(Array.from({ length: 8 }, () => stage.connect()));
      let done = 0;
      const work = clients.map(async (client, i) => {
        const id = stage.accounts[i % shards]![i]!;
        let step = "BEGIN";
        try {
          for (;;) {
            step = "BEGIN";
            await client.query("BEGIN");
            step = "inside";
            await client.query("UPDATE accounts SET balance = balance + 0 WHERE id = $1", [id]);
            await client.query("COMMIT");
            done += 1;
          }
        } catch (error) {
          return `${step}: ${(error as { code?: string }).code ?? (error as Error).message}`;
        }
      });
      while (done < 50) await new Promise((resolve) => setImmediate(resolve));
      await stage.proxy.drain();
      for (const end of await Promise.all(work))
        assert.match(String(end), /^BEGIN: (57P01|Connection|Client)/);
    });

    test("a transaction that does not end is ended when the time is up", async () => {
      await stage.closeProxy();
      await stage.openProxy({ shutdown: { timeout: "100ms" } });
      const client = await stage.connect();
      const ends = ending(client);
      await client.query("BEGIN");
      await client.query("SELECT 1 FROM accounts WHERE id = $1", [stage.accounts[0]![0]]);
      await stage.proxy.drain();
      await stage.closeProxy();
      assert.equal(await ends, ADMIN_SHUTDOWN);
    });
  });
}
