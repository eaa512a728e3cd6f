/**
 * Many clients over few server connections: nothing of one client reaches another, nothing broken is handed out,
 * and whoever cannot be served is told so in time.
 *
 * Everything is tried on one shard, where pgxa is a plain pooler, and on two, where it routes.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type pg from "pg";
import { Stage } from "./stage.ts";

const POOL_MAX = 5;
const CLIENTS = 50;
const WAIT = { timeout: 30_000 };

for (const shards of [1, 2]) {
  describe(`over ${shards === 1 ? "one shard" : `${shards} shards`}`, () => {
    let stage: Stage;
    /** An account on the first shard. */
    let account: number;

    before(async () => {
      stage = await Stage.open({ shards, config: { pool: { max: POOL_MAX } } });
      account = stage.accounts[0]![0]!;
    });
    after(() => stage?.stop());

    const setting = async (client: pg.Client, name: string): Promise<string> => {
      const sql = `SELECT current_setting('${name}') AS value FROM accounts WHERE id = $1`;
      return (await client.query(sql, [account])).rows[0].value;
    };

    /** The pids of pgxa's backends on the first shard, without those of its control. */
    const backends = async (): Promise<number[]> => {
      const control = await stage.shards[0]!.connect();
      const { rows } = await control.query<{ pid: number }>(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
      );
      await control.end();
      return rows.map((row) => row.pid);
    };

    const terminateBackends = async () => {
      const control = await stage.shards[0]!.connect();
      await control.query(
        `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
         WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`,
      );
      await control.end();
    };

    test("fifty clients are served by five server connections", WAIT, async () => {
      const clients = await Promise.all(Array.from({ length: CLIENTS }, () => stage.connect()));
      const before = await balance();
      await Promise.all(
        clients.map(async (client) => {
          for (let i = 0; i < 20; i++) {
            await client.query("BEGIN");
            await client.query("UPDATE accounts SET balance = balance + 1 WHERE id = $1", [account]);
            await client.query("COMMIT");
          }
        }),
      );
      assert.equal(await balance(), before + CLIENTS * 20);
      // The resolver, the monitor and others keep a control session of their own.
      assert.ok((await backends()).length <= POOL_MAX + 3, `${(await backends()).length} backends`);
      await Promise.all(clients.map((client) => client.end()));
    });

    test("a client's own settings persist over transactions and never reach another", WAIT, async () => {
      const clients = await Promise.all(Array.from({ length: 12 }, () => stage.connect()));
      const own = (i: number) => (i % 3 === 0 ? "0" : `${1_000 + i}ms`);
      await Promise.all(
        clients.map(async (client, i) => {
          if (i % 3 !== 0) await client.query(`SET statement_timeout = '${own(i)}'`);
        }),
      );
      for (let round = 0; round < 20; round++) {
        const seen = await Promise.all(clients.map((client) => setting(client, "statement_timeout")));
        assert.deepEqual(
          seen,
          clients.map((_, i) => own(i)),
        );
      }
      await Promise.all(clients.map((client) => client.end()));
      const next = await stage.connect();
      assert.equal(await setting(next, "statement_timeout"), "0");
    });

    test("parameters of the startup message hold for their client alone", WAIT, async () => {
      const [one, other] = await Promise.all([
        stage.connect({ application_name: "one", options: "-c statement_timeout=1234ms" }),
        stage.connect({ application_name: "other" }),
      ]);
      for (let round = 0; round < 10; round++) {
        const seen = await Promise.all([
          setting(one, "application_name"),
          setting(other, "application_name"),
          setting(one, "statement_timeout"),
          setting(other, "statement_timeout"),
        ]);
        assert.deepEqual(seen, ["one", "other", "1234ms", "0"]);
      }
    });

    test("SET LOCAL ends with its transaction, and a rollback undoes SET", WAIT, async () => {
      const client = await stage.connect();
      await client.query("BEGIN");
      await client.query("SET LOCAL statement_timeout = '111ms'");
      assert.equal(await setting(client, "statement_timeout"), "111ms");
      await client.query("COMMIT");
      assert.equal(await setting(client, "statement_timeout"), "0");
      await client.query("BEGIN");
      await client.query("SET statement_timeout = '222ms'");
      assert.equal(await setting(client, "statement_timeout"), "222ms");
      await client.query("ROLLBACK");
      assert.equal(await setting(client, "statement_timeout"), "0");
      await client.query("SET statement_timeout = '333ms'");
      await client.query("DISCARD ALL");
      assert.equal(await setting(client, "statement_timeout"), "0");
    });

    test(
      "a named statement is prepared once for the client, whatever server connection runs it",
      WAIT,
      async () => {
        const clients = await Promise.all(Array.from({ length: 12 }, () => stage.connect()));
        for (let round = 0; round < 10; round++) {
          await Promise.all(
            clients.map(async (client, i) => {
              // The same name with another meaning for each client.
              const { rows } = await client.query({
                name: "find",
                text: `SELECT id, ${i} AS who FROM accounts WHERE id = $1`,
                values: [account],
              });
              assert.deepEqual(rows, [{ id: String(account), who: i }]);
            }),
          );
        }
        await Promise.all(clients.map((client) => client.end()));
      },
    );

    test("a server connection that broke while idle is not handed out", WAIT, async () => {
      const client = await stage.connect();
      for (let round = 0; round < 5; round++) {
        await balance();
        await terminateBackends();
        const { rows } = await client.query("SELECT id FROM accounts WHERE id = $1", [account]);
        assert.equal(rows.length, 1);
      }
    });

    test("a backend that dies under a statement costs that statement and not the client", WAIT, async () => {
      const client = await stage.connect();
      const sleeping = client.query("SELECT id, pg_sleep(20) FROM accounts WHERE id = $1", [account]);
      const failed = assert.rejects(sleeping, (error: { code?: string }) =>
        /^(08|57)/.test(error.code ?? ""),
      );
      const control = await stage.shards[0]!.connect();
      const killed = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(20)%'
        AND state = 'active' AND pid <> pg_backend_pid()`;
      while ((await control.query(killed)).rowCount === 0);
      await control.end();
      await failed;
      assert.equal((await client.query("SELECT 1 AS one")).rows[0].one, 1);
    });

    async function balance(): Promise<number> {
      const client = await stage.connect();
      const { rows } = await client.query("SELECT balance FROM accounts WHERE id = $1", [account]);
      await client.end();
      return Number(rows[0].balance);
    }
  });
}

describe("a pool that is full", () => {
  let stage: Stage;
  let account: number;
  before(async () => {
    stage = await Stage.open({ config: { pool: { max: 1, queue_max: 2, checkout_timeout: "500ms" } } });
    account = stage.accounts[0]![0]!;
  });
  after(() => stage?.stop());

  const find = (client: pg.Client) => client.query("SELECT id FROM accounts WHERE id = $1", [account]);

  const refusal = async (query: Promise<unknown>): Promise<pg.DatabaseError> =>
    query.then(
      () => assert.fail("it was served"),
      (error: pg.DatabaseError) => error,
    );

  test("refuses whom it cannot even queue, at once, with 53300 and what to change", WAIT, async () => {
    const [holder, ...others] = await Promise.all(Array.from({ length: 6 }, () => stage.connect()));
    await holder!.query("BEGIN");
    await find(holder!);
    const started = performance.now();
    const refusals = others.map((client) =>
      refusal(find(client)).then((error) => ({ error, ms: performance.now() - started })),
    );
    const all = await Promise.all(refusals);
    for (const { error } of all) {
      assert.equal(error.code, "53300");
      assert.match(error.hint ?? "", /pool\.(max|queue_max)/);
    }
    const atOnce = all.filter(({ ms }) => ms < 400).length;
    assert.equal(atOnce, others.length - 2, "two were queued and waited for the checkout timeout");
    await holder!.query("COMMIT");
    for (const client of others)
      assert.equal((await find(client)).rowCount, 1, "the client goes on afterwards");
  });

  test("serves the queue in order once the lease comes back", WAIT, async () => {
    const [holder, one, other] = await Promise.all([stage.connect(), stage.connect(), stage.connect()]);
    await holder.query("BEGIN");
    await find(holder);
    const served: string[] = [];
    const waiting = [find(one).then(() => served.push("one")), find(other).then(() => served.push("other"))];
    await holder.query("COMMIT");
    await Promise.all(waiting);
    assert.deepEqual(served, ["one", "other"]);
  });

  test("a queued client that leaves is not served and blocks nobody", WAIT, async () => {
    const [holder, leaver, stayer] = await Promise.all([stage.connect(), stage.connect(), stage.connect()]);
    await holder.query("BEGIN");
    await find(holder);
    const left = find(leaver).catch(() => {});
    const stays = find(stayer);
    (leaver as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
    await left;
    await holder.query("COMMIT");
    assert.equal((await stays).rowCount, 1);
  });
});
