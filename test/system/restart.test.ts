/** The online restart: a new process takes over, and clients notice nothing. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";
import { areGone, isAlive, signalProcess } from "../../src/cli/osProcess.ts";
import { query, RawClient, terminate } from "./rawClient.ts";
import { RestartStage } from "./restartStage.ts";

const PATIENCE_MS = 30_000;
const TIMEOUT = { timeout: 180_000 };
/** Where a statement without a table runs: in front of one shard the hint is a comment. */
const EAST = "/* pgxa: shard=east */";

for (const shards of [1, 2]) {
  describe(`in front of ${shards} shards`, () => {
    let stage: RestartStage;
    before(async () => {
      stage = await RestartStage.open({ shards, config: { shutdown: { timeout: "3s" } } });
    }, TIMEOUT);
    after(() => stage?.stop(), TIMEOUT);
    beforeEach(() => stage.start(), TIMEOUT);
    afterEach(() => stage.stopPgxa(), TIMEOUT);

    test(
      "an idle client keeps statements, settings and its process id through three restarts",
      TIMEOUT,
      async () => {
        const client = await stage.connect({ application_name: "kept" });
        const prepared = {
          name: "of one",
          text: "SELECT balance::int FROM accounts WHERE id = $1",
          values: [1],
        };
        const pid = (client as unknown as { processID: number }).processID;
        assert.deepEqual((await client.query(prepared)).rows, [{ balance: 1000 }]);
        await client.query("PREPARE sql_one (int8) AS SELECT owner FROM accounts WHERE id = $1");
        await client.query("SET work_mem = '7MB'");
        await client.query("SET app.tenant = 'four'");
        for (let round = 0; round < 3; round += 1) {
          const old = stage.pid;
          await stage.restart();
          assert.ok(await areGone([old], PATIENCE_MS), "the old process ends by itself");
          assert.deepEqual((await client.query(prepared)).rows, [{ balance: 1000 }]);
          assert.deepEqual((await client.query("EXECUTE sql_one (1)")).rows, [{ owner: "owner 1" }]);
          const { rows } = await client.query(
            `${EAST} SELECT current_setting('work_mem') AS mem, current_setting('app.tenant') AS tenant,
             current_setting('application_name') AS name`,
          );
          assert.deepEqual(rows, [{ mem: "7MB", tenant: "four", name: "kept" }]);
          if (shards === 1)
            assert.deepEqual((await client.query("SELECT pg_backend_pid() AS pid")).rows, [{ pid }]);
        }
        assert.equal(stage.count("restart.finished"), 3);
        await client.end();
      },
    );

    test("a client that was handed over can be cancelled with its old key", TIMEOUT, async () => {
      const client = await stage.connect();
      await stage.restart();
      const sleeping = client.query(`${EAST} SELECT pg_sleep(60)`);
      await stage.until(
        async () =>
          (
            await stage.stage.onShards(
              "SELECT FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)' AND state = 'active' AND pid <> pg_backend_pid()",
            )
          ).flat().length === 1,
        "it sleeps",
      );
      const canceled = assert.rejects(sleeping, { code: "57014" });
      await cancel(stage, client);
      await canceled;
      await client.end();
    });

    test(
      "a client that stays behind in its transaction can be cancelled through the new process",
      TIMEOUT,
      async () => {
        const client = await stage.connect();
        await client.query("BEGIN");
        const sleeping = client.query(`${EAST} SELECT pg_sleep(60)`);
        await stage.restart();
        assert.equal(stage.pids.filter(isAlive).length, 2);
        const canceled = assert.rejects(sleeping, { code: "57014" });
        await cancel(stage, client);
        await canceled;
        await client.query("ROLLBACK");
        assert.ok(
          await areGone([stage.pids[0]!], PATIENCE_MS),
          "it goes over when its transaction has ended",
        );
        assert.deepEqual((await client.query(`${EAST} SELECT 1 AS one`)).rows, [{ one: 1 }]);
        await client.end();
      },
    );

    test("a client in a transaction ends it where it began, and is handed over then", TIMEOUT, async () => {
      const client = await stage.connect();
      await client.query("BEGIN");
      await client.query("UPDATE accounts SET balance = balance + 1 WHERE id = 1");
      await stage.restart();
      await client.query("UPDATE accounts SET balance = balance - 1 WHERE id = 2");
      await client.query("COMMIT");
      assert.ok(await areGone([stage.pids[0]!], PATIENCE_MS));
      assert.equal(await stage.surplus(), 0);
      await client.query("UPDATE accounts SET balance = 1000 WHERE id = 1");
      await client.query("UPDATE accounts SET balance = 1000 WHERE id = 2");
      await client.end();
    });

    test("no notification is lost or told twice", TIMEOUT, async () => {
      const listener = await stage.connect();
      const heard: string[] = [];
      listener.on("notification", ({ payload }) => heard.push(payload!));
      await listener.query(`${EAST} LISTEN news`);
      const server = await stage.stage.shards[0]!.connect();
      let sent = 0;
      let isOver = false;
      const notifying = (async () => {
        while (!isOver) {
          sent += 1;
          await server.query("SELECT pg_notify('news', $1)", [String(sent)]);
        }
      })();
      for (let round = 0; round < 3; round += 1) {
        await stage.restart();
        await stage.until(() => stage.count("restart.finished") === round + 1, "the client is over");
      }
      isOver = true;
      await notifying;
      await stage.until(() => heard.length >= sent, `all ${sent} notifications came`);
      assert.deepEqual(
        heard,
        Array.from({ length: sent }, (_, i) => String(i + 1)),
      );
      await server.end();
      await listener.query(`${EAST} UNLISTEN news`);
      await listener.end();
    });

    test(
      "not a byte is lost or said twice, wherever messages are cut and however many are ahead",
      TIMEOUT,
      async () => {
        let isOver = false;
        const ask = async (ahead: number): Promise<number> => {
          const client = await RawClient.login(stage.port);
          let asked = 0;
          let answered = 0;
          const answers = (async () => {
            for (;;) {
              while (answered === asked && !isOver) await delay(0);
              if (answered === asked) return;
              const [row] = (await client.until("Z")).filter(({ type }) => type === "D");
              answered += 1;
              assert.equal(row!.body.subarray(6).toString(), String(answered));
            }
          })();
          while (!isOver) {
            if (asked - answered >= ahead) {
              await delay(0);
              continue;
            }
            const message = query(`${EAST} SELECT ${asked + 1}`);
            const cut = 1 + (asked % (message.length - 1));
            client.send(message.subarray(0, cut));
            asked += 1;
            await delay(asked % 3);
            client.send(message.subarray(cut));
          }
          await answers;
          client.send(terminate());
          client.close();
          return answered;
        };
        const asking = [1, 1, 1, 2, 2, 3].map(ask);
        for (let round = 0; round < 3; round += 1) {
          const old = stage.pid;
          await stage.restart();
          assert.ok(await areGone([old], PATIENCE_MS), "all of them go over");
        }
        isOver = true;
        for (const count of await Promise.all(asking)) assert.ok(count > 10);
      },
    );

    test("a client of the console goes over, too", TIMEOUT, async () => {
      const client = await stage.connect({ database: "pgxa" });
      const old = stage.pid;
      await stage.restart();
      assert.ok(await areGone([old], PATIENCE_MS));
      assert.deepEqual((await client.query("SHOW PINS")).rows, []);
      await client.end();
    });

    test("a temporary table keeps its client where it is, until time is up", TIMEOUT, async () => {
      await stage.stopPgxa();
      stage.write(`${stage.stage.configText}restart:\n  timeout: 2s\n`);
      await stage.start();
      const client = await stage.connect();
      await client.query(`${EAST} CREATE TEMPORARY TABLE mine AS SELECT 1 AS one`);
      await stage.restart();
      assert.deepEqual((await client.query(`${EAST} SELECT * FROM mine`)).rows, [{ one: 1 }]);
      const [error] = await once(client, "error");
      assert.equal((error as pg.DatabaseError).code, "57P01");
      assert.ok(await areGone([stage.pids[0]!], PATIENCE_MS));
      stage.write(stage.stage.configText);
    });

    test("a new process that cannot start leaves the old one as it was", TIMEOUT, async () => {
      const client = await stage.connect();
      for (const wrong of [
        "no_such_option: 1\n",
        `${stage.stage.configText.replace(/^( *)port: [1-9]\d*$/m, "$1port: 1")}`,
      ]) {
        stage.write(wrong);
        const failed = stage.count("restart.failed");
        signalProcess(stage.pid, "SIGUSR2");
        await stage.until(() => stage.count("restart.failed") > failed, "it failed");
        assert.deepEqual((await client.query(`${EAST} SELECT 1 AS one`)).rows, [{ one: 1 }]);
      }
      stage.write(stage.stage.configText);
      await (await stage.connect()).end();
      await stage.restart();
      assert.deepEqual((await client.query(`${EAST} SELECT 1 AS one`)).rows, [{ one: 1 }]);
      await client.end();
    });

    test("a second SIGUSR2 while a restart goes on is ignored, and said to be", TIMEOUT, async () => {
      const client = await stage.connect();
      await client.query("BEGIN");
      const [old] = stage.pids;
      signalProcess(old!, "SIGUSR2");
      await stage.until(() => stage.count("restart.began") === 1, "it began");
      await stage.restart();
      await stage.until(() => stage.count("restart.ignored") === 1, "it says so");
      signalProcess(old!, "SIGUSR2");
      await stage.until(() => stage.count("restart.ignored") >= 2, "it says so");
      assert.equal(stage.count("restart.began"), 1);
      await client.query("ROLLBACK");
      assert.ok(await areGone([old!], PATIENCE_MS));
      await client.end();
    });

    test(
      "SIGTERM to the new process stops the old one, too; to the old one it stops that alone",
      TIMEOUT,
      async () => {
        for (const target of [0, 1]) {
          const client = await stage.connect();
          await client.query("BEGIN");
          await stage.restart();
          const [old, young] = stage.pids as [number, number];
          const ended = once(client, "error");
          signalProcess(stage.pids[target]!, "SIGTERM");
          assert.equal(((await ended)[0] as pg.DatabaseError).code, "57P01");
          assert.ok(await areGone(target === 0 ? [old] : [old, young], PATIENCE_MS));
          if (target === 0) await (await stage.connect()).end();
          await stage.stopPgxa();
          await stage.start();
        }
      },
    );

    test("restarts that follow each other while clients are in transactions", TIMEOUT, async () => {
      const clients: pg.Client[] = [];
      for (let round = 0; round < 3; round += 1) {
        const client = await stage.connect();
        clients.push(client);
        await client.query("BEGIN");
        await client.query("SELECT balance FROM accounts WHERE id = 1");
        await stage.restart();
      }
      assert.equal(stage.pids.filter(isAlive).length, 4);
      for (const client of clients) await client.query("COMMIT");
      assert.ok(await areGone(stage.pids.slice(0, 3), PATIENCE_MS));
      for (const client of clients) {
        assert.deepEqual((await client.query(`${EAST} SELECT 1 AS one`)).rows, [{ one: 1 }]);
        await client.end();
      }
    });
  });
}

/** As psql's Ctrl-C does, on a connection of its own. */
async function cancel(stage: RestartStage, client: pg.Client): Promise<void> {
  const { connect } = await import("node:net");
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
  const request = Buffer.alloc(16);
  request.writeInt32BE(16, 0);
  request.writeInt32BE(80877102, 4);
  request.writeInt32BE(processID, 8);
  request.writeInt32BE(secretKey, 12);
  const socket = connect(stage.port, "127.0.0.1", () => socket.write(request));
  await once(socket, "close");
}
