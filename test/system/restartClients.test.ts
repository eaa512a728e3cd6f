/** A client that was handed over is one like any other: it counts, is shown, has limits, timeouts and an end. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import type pg from "pg";
import { parse, stringify } from "yaml";
import { areGone, isAlive, signalProcess } from "../../src/cli/osProcess.ts";
import { Authority, writeIdentity } from "../support/certificates.ts";
import { RestartStage } from "./restartStage.ts";

const PATIENCE_MS = 30_000;
const TIMEOUT = { timeout: 180_000 };
const ADMIN_SHUTDOWN = "57P01";
/** Where a statement without a table runs: in front of one shard the hint is a comment. */
const EAST = "/* pgxa: shard=east */";

const endOf = async (client: pg.Client): Promise<string | undefined> =>
  ((await once(client, "error"))[0] as pg.DatabaseError).code;

for (const shards of [1, 2]) {
  describe(`in front of ${shards} shards`, () => {
    let stage: RestartStage;
    before(async () => {
      stage = await RestartStage.open({ shards });
    }, TIMEOUT);
    after(() => stage?.stop(), TIMEOUT);
    beforeEach(() => stage.write(stage.stage.configText));
    afterEach(() => stage.stopPgxa(), TIMEOUT);

    /** Replaces sections of the configuration. */
    const configure = (sections: object): void =>
      stage.write(stringify({ ...(parse(stage.stage.configText) as object), ...sections }));

    const startWith = async (sections: object): Promise<void> => {
      configure(sections);
      await stage.start();
    };

    /** Restarts, and waits until every client has gone over. */
    const restartAll = async (): Promise<void> => {
      const old = stage.pid;
      await stage.restart();
      assert.ok(await areGone([old], PATIENCE_MS), "all clients go over");
    };

    test("it is shown with its login's time, and counts in the limits", TIMEOUT, async () => {
      await startWith({ limits: { user_clients_max: 2 } });
      const shown = async (): Promise<unknown[]> => {
        const console = await stage.connect({ database: "pgxa", user: "postgres" });
        const { rows } = await console.query("SHOW CLIENTS");
        await console.end();
        return rows
          .filter((row) => row.database === "bank")
          .map((row) => [row.user, row.application_name, row.connect_time, row.addr]);
      };
      const clients = [
        await stage.connect({ application_name: "one" }),
        await stage.connect({ application_name: "two" }),
      ];
      const before = await shown();
      assert.equal(before.length, 2);
      await restartAll();
      assert.deepEqual(await shown(), before);
      await assert.rejects(stage.connect(), { code: "53300" });
      await clients[0]!.end();
      const another = await stage.connect();
      await another.end();
      await clients[1]!.end();
    });

    test("it has timeouts", TIMEOUT, async () => {
      await startWith({ timeouts: { idle_in_transaction: "500ms" } });
      const client = await stage.connect();
      await restartAll();
      const ends = endOf(client);
      await client.query("BEGIN");
      await client.query("SELECT balance FROM accounts WHERE id = 1");
      assert.equal(await ends, "25P03");
    });

    test("it waits in the queue for a connection as others do", TIMEOUT, async () => {
      await startWith({ limits: { clients_max: 50 } });
      const clients = await Promise.all(Array.from({ length: 20 }, () => stage.connect()));
      await restartAll();
      const asked = clients.map((client) => client.query(`${EAST} SELECT pg_sleep(0.05)`));
      assert.equal((await Promise.all(asked)).length, 20);
      for (const client of clients) await client.end();
    });

    test("a drain ends it when its transaction is over", TIMEOUT, async () => {
      await startWith({ shutdown: { timeout: "60s" } });
      const [idle, busy] = [await stage.connect(), await stage.connect()];
      await restartAll();
      await busy.query("BEGIN");
      await busy.query("UPDATE accounts SET balance = balance + 0 WHERE id = 1");
      const ends = [endOf(idle), endOf(busy)];
      signalProcess(stage.pid, "SIGTERM");
      assert.equal(await ends[0], ADMIN_SHUTDOWN);
      await busy.query("UPDATE accounts SET balance = balance + 0 WHERE id = 2");
      await busy.query("COMMIT");
      assert.equal(await ends[1], ADMIN_SHUTDOWN);
      assert.ok(await areGone([stage.pid], PATIENCE_MS));
    });

    test("SIGTERM during a restart lets transactions end in either process", TIMEOUT, async () => {
      await startWith({ shutdown: { timeout: "60s" } });
      const old = await stage.connect();
      await old.query("BEGIN");
      await old.query("UPDATE accounts SET balance = balance + 0 WHERE id = 1");
      await stage.restart();
      const young = await stage.connect();
      await young.query("BEGIN");
      await young.query("UPDATE accounts SET balance = balance + 0 WHERE id = 3");
      const ends = [endOf(old), endOf(young)];
      signalProcess(stage.pid, "SIGTERM");
      await stage.until(() => stage.count("proxy.draining") === 2, "both drain");
      assert.equal(stage.pids.filter(isAlive).length, 2);
      await young.query("COMMIT");
      assert.equal(await ends[1], ADMIN_SHUTDOWN);
      await old.query("UPDATE accounts SET balance = balance + 0 WHERE id = 2");
      await old.query("COMMIT");
      assert.equal(await ends[0], ADMIN_SHUTDOWN);
      assert.ok(await areGone([...stage.pids], PATIENCE_MS));
    });

    test("a drain of the old process alone leaves the new one as it is", TIMEOUT, async () => {
      await startWith({ shutdown: { timeout: "60s" } });
      const client = await stage.connect();
      await client.query("BEGIN");
      await client.query("UPDATE accounts SET balance = balance + 0 WHERE id = 1");
      await stage.restart();
      const [old] = stage.pids;
      const ends = endOf(client);
      signalProcess(old!, "SIGTERM");
      await stage.until(() => stage.count("proxy.draining") === 1, "it drains");
      await client.query("COMMIT");
      assert.equal(await ends, ADMIN_SHUTDOWN);
      assert.ok(await areGone([old!], PATIENCE_MS));
      await (await stage.connect()).end();
    });

    test("a client of the Unix socket goes over, and the socket's file stays", TIMEOUT, async () => {
      const { home } = stage.stage;
      await startWith({ listen: { host: "127.0.0.1", port: 0, unix_directory: home, unix_mode: "0700" } });
      const file = join(home, `.s.PGSQL.${stage.port}`);
      const client = await stage.connect({ host: home });
      const { ino } = statSync(file);
      for (let round = 0; round < 3; round += 1) {
        await restartAll();
        assert.equal(statSync(file).ino, ino, "it is never away");
        assert.deepEqual((await client.query(`${EAST} SELECT 1 AS one`)).rows, [{ one: 1 }]);
        await (await stage.connect({ host: home })).end();
      }
      await client.end();
      signalProcess(stage.pid, "SIGTERM");
      assert.ok(await areGone([stage.pid], PATIENCE_MS));
      assert.equal(existsSync(file), false);
    });

    test("a new process without the Unix socket takes the file away with the old one", TIMEOUT, async () => {
      const { home } = stage.stage;
      const listen = { host: "127.0.0.1", port: 0 };
      await startWith({ listen: { ...listen, unix_directory: home } });
      const file = join(home, `.s.PGSQL.${stage.port}`);
      configure({ listen });
      await restartAll();
      assert.equal(existsSync(file), false);
      await (await stage.connect()).end();
    });

    test("a client over TLS stays with the old process, and is served", TIMEOUT, async () => {
      const servers = new Authority("servers");
      const identity = servers.issue({ commonName: "pgxa", hosts: ["localhost", "127.0.0.1"] });
      const { certFile, keyFile } = writeIdentity(stage.stage.home, "pgxa", identity);
      await startWith({ client_tls: { mode: "allow", cert_file: certFile, key_file: keyFile } });
      const ssl = { ca: servers.certificate, servername: "localhost" };
      const [secure, plain] = [await stage.connect({ ssl }), await stage.connect()];
      await stage.restart();
      assert.deepEqual((await plain.query(`${EAST} SELECT 1 AS one`)).rows, [{ one: 1 }]);
      assert.deepEqual((await secure.query(`${EAST} SELECT 1 AS one`)).rows, [{ one: 1 }]);
      assert.equal(stage.pids.filter(isAlive).length, 2);
      await secure.end();
      assert.ok(await areGone([stage.pids[0]!], PATIENCE_MS));
      await (await stage.connect({ ssl })).end();
      await plain.end();
    });

    test("a client of the console goes over with its statements, outside a block", TIMEOUT, async () => {
      await stage.start();
      const client = await stage.connect({ database: "pgxa" });
      const prepared = { name: "lists", text: "SHOW LISTS", values: [] };
      const before = (await client.query(prepared)).rows.length;
      await client.query("BEGIN");
      await stage.restart();
      assert.ok(isAlive(stage.pids[0]!));
      await client.query("COMMIT");
      assert.ok(await areGone([stage.pids[0]!], PATIENCE_MS));
      assert.equal((await client.query(prepared)).rows.length, before);
      await client.end();
    });
  });
}
