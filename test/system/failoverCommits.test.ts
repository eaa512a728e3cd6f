/**
 * Transfers between a shard that fails over and one that does not: no money is lost or made, nothing stays prepared, and
 * who uses the other shard alone is served all the time.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import pg from "pg";
import { stringify } from "yaml";
import { type RunningProxy, startProxy } from "../../src/cli/compose.ts";
import { parseConfig } from "../../src/config/load.ts";
import { silentLog } from "../../src/observe/log.ts";
import { startShards, type TestShard } from "../support/shards.ts";

const ACCOUNTS = 20;
const BALANCE = 1_000;
const TRANSFERRERS = 6;

let east: TestShard;
let standby: TestShard;
let west: TestShard;
let proxy: RunningProxy;
let home: string;
let stopShards: () => Promise<void>;

async function on<Row extends pg.QueryResultRow>(shard: TestShard, ...statements: string[]): Promise<Row[]> {
  const client = await shard.connect();
  let rows: Row[] = [];
  for (const sql of statements) rows = (await client.query<Row>(sql)).rows;
  await client.end();
  return rows;
}

before(async () => {
  const { shards, stop } = await startShards(2, { databases: ["bank"] });
  stopShards = stop;
  [east, west] = [shards[0]!, shards[1]!];
  const schema = `CREATE TABLE purses (id int PRIMARY KEY, balance int8 NOT NULL);
    INSERT INTO purses SELECT id, ${BALANCE} FROM generate_series(1, ${ACCOUNTS}) AS id`;
  await Promise.all([on(east, schema), on(west, schema)]);
  standby = await east.makeStandby();
  // What is prepared or committed is on the standby.
  await on(east, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()");
  home = mkdtempSync(join(tmpdir(), "pgxa-failover-"));
  const server = { database: "bank", user: east.user };
  const text = stringify({
    listen: { port: 0 },
    database: "bank",
    shards: [
      { name: "east", hosts: `${east.host}:${east.port}, ${standby.host}:${standby.port}`, ...server },
      { name: "west", host: west.host, port: west.port, ...server },
    ],
    tables: [{ name: "purses", reference: true }],
    auth: { method: "trust" },
    health: { interval: "300ms", backoff_max: "300ms" },
    transaction: { log_directory: join(home, "decisions"), commit_timeout: "2s", prepare_timeout: "2s" },
  });
  proxy = await startProxy(parseConfig(text, "pgxa.yaml", {}), { log: silentLog });
});
after(async () => {
  await proxy?.stop();
  await standby?.stop();
  await stopShards?.();
  if (home !== undefined) rmSync(home, { recursive: true, force: true });
});

async function connect(): Promise<pg.Client> {
  const client = new pg.Client({ host: proxy.host, port: proxy.port, database: "bank", user: "app" });
  client.on("error", () => {});
  await client.connect();
  return client;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

test("a failover of one shard keeps transfers whole", { timeout: 180_000 }, async () => {
  let isOver = false;
  let committed = 0;
  let alone = 0;
  const sqlstates = new Set<string>();
  const transfer = async (client: pg.Client, from: string, to: string, id: number): Promise<void> => {
    try {
      await client.query("BEGIN");
      await client.query(
        `/* pgxa: shard=${from} */ UPDATE purses SET balance = balance - 1 WHERE id = ${id}`,
      );
      await client.query(`/* pgxa: shard=${to} */ UPDATE purses SET balance = balance + 1 WHERE id = ${id}`);
      await client.query("COMMIT");
      committed += 1;
    } catch (error) {
      sqlstates.add((error as Error & { code?: string }).code ?? (error as Error).message);
      await client.query("ROLLBACK");
      await sleep(10);
    }
  };
  const clients = await Promise.all(Array.from({ length: TRANSFERRERS + 1 }, connect));
  const working = clients.slice(1).map(async (client, i) => {
    for (let turn = 0; !isOver; turn += 1) {
      const [from, to] = (turn + i) % 2 === 0 ? ["east", "west"] : ["west", "east"];
      await transfer(client, from!, to!, i + 1);
    }
  });
  const onWest = (async () => {
    while (!isOver) {
      await clients[0]!.query("/* pgxa: shard=west */ UPDATE purses SET balance = balance WHERE id = 20");
      alone += 1;
    }
  })();
  const until = async (isTrue: () => boolean): Promise<void> => {
    while (!isTrue()) await sleep(10);
  };
  await until(() => committed > 50);
  await east.kill("SIGKILL");
  const aloneBefore = alone;
  await until(() => alone > aloneBefore + 20);
  await on(standby, "SELECT pg_promote(true, 60)");
  const before = committed;
  await until(() => committed > before + 50);
  isOver = true;
  await Promise.all([...working, onWest]);
  await Promise.all(clients.map((client) => client.end()));
  for (const sqlstate of sqlstates)
    assert.match(sqlstate, /^(57P0[123]|0800[1367]|40000|25006|57014|40P01)$/);
  // What is in doubt is settled by the new primary.
  for (let prepared = 1; prepared > 0; await sleep(20)) {
    const counts = await Promise.all(
      [standby, west].map((shard) =>
        on<{ n: number }>(shard, "SELECT count(*)::int AS n FROM pg_prepared_xacts"),
      ),
    );
    prepared = counts.reduce((sum, [row]) => sum + row!.n, 0);
  }
  const sums = await Promise.all(
    [standby, west].map((shard) => on<{ n: number }>(shard, "SELECT sum(balance)::int AS n FROM purses")),
  );
  assert.equal(sums[0]![0]!.n + sums[1]![0]!.n, 2 * ACCOUNTS * BALANCE);
});
