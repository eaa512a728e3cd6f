/** A primary and its standby: who is the primary is found out, followed after a promotion, and never mistaken. */
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import type pg from "pg";
import { Pair } from "../support/pair.ts";

const WAIT = { timeout: 180_000 };
const HEALTH = { health: { interval: "300ms", backoff_max: "300ms" } };
const SCHEMA = "CREATE TABLE noted (id int PRIMARY KEY)";
const CLIENTS = 6;

const sqlstateOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "none",
    (error: Error & { code?: string }) => error.code ?? error.message,
  );

const portOf = async (client: pg.Client): Promise<number> =>
  (await client.query("SELECT inet_server_port() AS port")).rows[0].port;

describe("a shard with a primary and a standby", () => {
  let pair: Pair;
  const clients: pg.Client[] = [];

  beforeEach(async () => {
    pair = await Pair.open(SCHEMA, HEALTH);
  });
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.end()));
    await pair.stop();
  });

  const connect = async (): Promise<pg.Client> => {
    const client = await pair.connect();
    clients.push(client);
    return client;
  };
  const untilServed = async (client: pg.Client): Promise<void> => {
    for (;;) {
      const sqlstate = await sqlstateOf(client.query("SELECT 1"));
      if (sqlstate === "none") return;
      assert.match(sqlstate, /^(57P01|57P03|08001|08006)$/);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const untilSaid = async (event: string, part: string): Promise<void> => {
    while (!pair.said.some((said) => said.event === event && JSON.stringify(said.fields).includes(part)))
      await new Promise((resolve) => setTimeout(resolve, 20));
  };

  test("is used at its primary, though the standby is listed first", WAIT, async () => {
    assert.equal(await portOf(await connect()), pair.first.port);
  });

  test("loses nothing that was acknowledged in a failover, and no client its session", WAIT, async () => {
    await pair.untilReplayed();
    const first = await pair.first.connect();
    // A commit that was acknowledged is on the standby.
    await first.query("ALTER SYSTEM SET synchronous_standby_names = '*'");
    await first.query("SELECT pg_reload_conf()");
    await first.end();
    const acknowledged: number[] = [];
    const failed: number[] = [];
    const sqlstates = new Map<string, number>();
    let next = 0;
    let isOver = false;
    let servedSince = 0;
    let isPromoted = false;
    const writers = await Promise.all(Array.from({ length: CLIENTS }, connect));
    const working = writers.map(async (client) => {
      while (!isOver) {
        const id = next++;
        const sqlstate = await sqlstateOf(client.query("INSERT INTO noted VALUES ($1)", [id]));
        if (sqlstate === "none") {
          acknowledged.push(id);
          if (isPromoted) servedSince += 1;
          continue;
        }
        sqlstates.set(sqlstate, (sqlstates.get(sqlstate) ?? 0) + 1);
        if (sqlstate === "57P03" || sqlstate === "08001") {
          failed.push(id);
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
      }
    });
    const until = async (isTrue: () => boolean): Promise<void> => {
      while (!isTrue()) await new Promise((resolve) => setTimeout(resolve, 10));
    };
    await until(() => acknowledged.length > 200);
    await pair.first.kill("SIGKILL");
    await pair.promote();
    isPromoted = true;
    await until(() => servedSince > 200);
    isOver = true;
    await Promise.all(working);
    for (const sqlstate of sqlstates.keys()) assert.match(sqlstate, /^(57P0[123]|0800[16]|25006)$/);
    const { rows } = await writers[0]!.query<{ id: number }>("SELECT id FROM noted");
    const there = new Set(rows.map(({ id }) => id));
    assert.deepEqual(
      acknowledged.filter((id) => !there.has(id)),
      [],
      "all that was acknowledged is there",
    );
    assert.deepEqual(
      failed.filter((id) => there.has(id)),
      [],
      "nothing is there of which it was said that it was not even tried",
    );
    for (const client of writers) assert.equal(await portOf(client), pair.second.port);
  });

  test("never uses a primary again over which the other was promoted", WAIT, async () => {
    const client = await connect();
    await client.query("INSERT INTO noted VALUES (1)");
    await pair.untilReplayed();
    await pair.first.kill("SIGKILL");
    await pair.promote();
    await untilServed(client);
    await pair.first.restart();
    await untilSaid("shard.misfit", "superseded");
    for (let i = 2; i < 50; i += 1) await client.query("INSERT INTO noted VALUES ($1)", [i]);
    // Not even when there is no other.
    await pair.second.kill("SIGKILL");
    for (let seen = 0; seen < 20; seen += 1) {
      assert.match(
        await sqlstateOf(client.query("INSERT INTO noted VALUES (1000)")),
        /^(57P0[13]|0800[16])$/,
      );
    }
    const old = await pair.first.connect();
    assert.equal((await old.query("SELECT FROM noted WHERE id > 1")).rowCount, 0);
    await old.end();
    await pair.second.restart();
    await untilServed(client);
    assert.equal((await client.query("SELECT FROM noted")).rowCount, 49);
  });

  test("lets a transaction on the old primary end, and lends that to nobody after", WAIT, async () => {
    const [inside, idle] = [await connect(), await connect()];
    await idle.query("SELECT 1");
    await inside.query("BEGIN");
    assert.equal(await portOf(inside), pair.first.port);
    await pair.promote();
    await untilSaid("shard.primary", `"now":{"host":"127.0.0.1","port":${pair.second.port}}`);
    assert.equal(await portOf(idle), pair.second.port);
    assert.equal(await portOf(inside), pair.first.port);
    await inside.query("COMMIT");
    assert.equal(await portOf(inside), pair.second.port);
    const old = await pair.first.connect();
    for (let rest = 1; rest > 0; ) {
      const sql =
        "SELECT FROM pg_stat_activity WHERE application_name = '' AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
      rest = (await old.query(sql)).rowCount ?? 0;
    }
    await old.end();
  });
});
