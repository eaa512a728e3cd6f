/** Reads from standbys in front of several shards: a transaction has its branches there, on those that have one. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import pg from "pg";
import { stringify } from "yaml";
import { type RunningProxy, startProxy } from "../../src/cli/compose.ts";
import { parseConfig } from "../../src/config/load.ts";
import { silentLog } from "../../src/observe/log.ts";
import { startShards, type TestShard } from "../support/shards.ts";

const WAIT = { timeout: 180_000 };
const PORT = "SELECT inet_server_port() AS port";

const sqlstateOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "none",
    (error: Error & { code?: string }) => error.code ?? error.message,
  );

describe("standbys of shards", () => {
  let east: TestShard;
  let standby: TestShard;
  let west: TestShard;
  let proxy: RunningProxy;
  let home: string;
  let stopShards: () => Promise<void>;
  let client: pg.Client;

  const portOf = async (hint: string): Promise<number> =>
    (await client.query(`${PORT} ${hint}`)).rows[0].port;

  before(async () => {
    const { shards, stop } = await startShards(2, { databases: ["bank"] });
    stopShards = stop;
    [east, west] = [shards[0]!, shards[1]!];
    for (const shard of shards) {
      const direct = await shard.connect();
      await direct.query(
        "CREATE TABLE rates (id int PRIMARY KEY, rate int); INSERT INTO rates VALUES (1, 10)",
      );
      await direct.end();
    }
    standby = await east.makeStandby();
    home = mkdtempSync(join(tmpdir(), "pgxa-standbys-"));
    const server = { database: "bank", user: east.user };
    const text = stringify({
      listen: { port: 0 },
      database: "bank",
      shards: [
        { name: "east", hosts: `${east.host}:${east.port}, ${standby.host}:${standby.port}`, ...server },
        { name: "west", host: west.host, port: west.port, ...server },
      ],
      tables: [{ name: "rates", reference: true }],
      auth: { method: "trust" },
      health: { interval: "200ms", backoff_max: "200ms" },
      standbys: { reads: "read_only", lag_max: "2s" },
      transaction: { log_directory: join(home, "decisions") },
    });
    proxy = await startProxy(parseConfig(text, "pgxa.yaml", {}), { log: silentLog });
    client = new pg.Client({ host: proxy.host, port: proxy.port, database: "bank", user: "app" });
    await client.connect();
    while ((await portOf("/* pgxa: shard=east, standby */")) !== standby.port)
      await new Promise((resolve) => setTimeout(resolve, 20));
  });
  after(async () => {
    await client?.end();
    await proxy?.stop();
    await standby?.stop();
    await stopShards?.();
    if (home !== undefined) rmSync(home, { recursive: true, force: true });
  });

  /** Where the branches of a transaction are that begins with `begin`. */
  const branches = async (begin: string): Promise<readonly number[]> => {
    await client.query(begin);
    const ports = [await portOf("/* pgxa: shard=east */"), await portOf("/* pgxa: shard=west */")];
    await client.query("COMMIT");
    return ports;
  };

  test(
    "serve the branches of READ ONLY transactions, and the primary where there is none",
    WAIT,
    async () => {
      for (const begin of ["BEGIN READ ONLY", "START TRANSACTION READ ONLY", "BEGIN /* pgxa: standby */"])
        assert.deepEqual(await branches(begin), [standby.port, west.port], begin);
      for (const begin of ["BEGIN", "BEGIN READ WRITE", "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY"])
        assert.deepEqual(await branches(begin), [east.port, west.port], begin);
    },
  );

  test(
    "serve a transaction that SET TRANSACTION makes READ ONLY before its first statement",
    WAIT,
    async () => {
      await client.query("BEGIN");
      await client.query("SET TRANSACTION READ ONLY");
      assert.equal(await portOf("/* pgxa: shard=east */"), standby.port);
      await client.query("ROLLBACK");
    },
  );

  test("serve hinted statements, and sessions that have set pgxa.standby", WAIT, async () => {
    assert.equal(await portOf("/* pgxa: shard=east */"), east.port);
    assert.equal(await portOf("/* pgxa: shard=east */ /* pgxa: standby */"), standby.port);
    const values = [1];
    const text = "SELECT inet_server_port() AS port, $1::int AS n /* pgxa: shard=east, standby */";
    for (let i = 0; i < 3; i += 1)
      assert.equal((await client.query({ name: "h", text, values })).rows[0].port, standby.port);
    await client.query("SET pgxa.standby = on");
    assert.equal((await client.query("SHOW pgxa.standby")).rows[0]["pgxa.standby"], "on");
    assert.equal(await portOf("/* pgxa: shard=east */"), standby.port);
    assert.deepEqual(await branches("BEGIN"), [standby.port, west.port]);
    await client.query("SET pgxa.standby = off");
    assert.deepEqual(await branches("BEGIN READ ONLY"), [east.port, west.port]);
    assert.equal(await sqlstateOf(client.query("SET pgxa.standby = perhaps")), "22023");
    await client.query("RESET pgxa.standby");
    await client.query("SET default_transaction_read_only = on");
    assert.deepEqual(await branches("BEGIN"), [standby.port, west.port]);
    await client.query("RESET default_transaction_read_only");
    assert.deepEqual(await branches("BEGIN"), [east.port, west.port]);
  });

  test("refuse writes and locks", WAIT, async () => {
    await client.query("BEGIN READ ONLY");
    await portOf("/* pgxa: shard=east */");
    assert.equal(
      await sqlstateOf(client.query("UPDATE rates SET rate = 11 /* pgxa: shard=east */")),
      "25006",
    );
    await client.query("ROLLBACK");
    await client.query("BEGIN READ ONLY");
    assert.equal(await sqlstateOf(client.query("SELECT pg_advisory_xact_lock(1)")), "25006");
    await client.query("ROLLBACK");
    await client.query("UPDATE rates SET rate = 12");
    assert.equal((await client.query("SELECT rate FROM rates")).rows[0].rate, 12);
  });

  test("commit what only functions may have written without preparing it there", WAIT, async () => {
    await client.query("BEGIN /* pgxa: standby */");
    for (const shard of ["east", "west"]) await client.query(`SELECT random() /* pgxa: shard=${shard} */`);
    await client.query("COMMIT");
    const direct = await west.connect();
    assert.equal((await direct.query("SELECT FROM pg_prepared_xacts")).rowCount, 0);
    await direct.end();
  });
});
