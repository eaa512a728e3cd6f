/** A standby that falls behind, dies, is promoted, or is shown: who reads there is always told right. */
import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import { Pair } from "../support/pair.ts";
import {
  type Client,
  clientsOf,
  HINT,
  OPTIONS,
  portOf,
  portWithin,
  SCHEMA,
  sqlstateOf,
  until,
  WAIT,
} from "./standbyClients.ts";

describe("a standby that changes", () => {
  let pair: Pair;
  const clients = clientsOf(() => pair);

  const open = async (standbys: object = {}): Promise<Client> => {
    pair = await Pair.open(SCHEMA, { ...OPTIONS, standbys: { ...OPTIONS.standbys, ...standbys } });
    await pair.untilReplayed();
    const client = await clients.connect();
    await untilRead(client);
    return client;
  };
  /** Until a hinted statement is answered by the standby. */
  const untilRead = (client: Client): Promise<void> =>
    until(async () => {
      const port = await portOf(client, HINT).catch((error: Error & { code?: string }) => {
        assert.match(error.code ?? error.message, /^(57P0[13]|08006)$/);
        return 0;
      });
      return port === pair.second.port;
    });
  const onStandby = async (sql: string): Promise<void> => {
    const direct = await pair.second.connect();
    await direct.query(sql);
    await direct.end();
  };

  afterEach(async () => {
    await clients.end();
    await pair.stop();
  });

  test("is left alone while it is too far behind, and used again after", WAIT, async () => {
    const client = await open();
    await onStandby("SELECT pg_wal_replay_pause()");
    let id = 10;
    await until(async () => {
      await client.query("INSERT INTO noted VALUES ($1)", [id++]);
      return (await portOf(client, HINT)) === pair.first.port;
    });
    assert.equal(await portWithin(client, "BEGIN READ ONLY"), pair.first.port);
    await onStandby("SELECT pg_wal_replay_resume()");
    await untilRead(client);
  });

  test("is not replaced by the primary where that is not wanted", WAIT, async () => {
    const client = await open({ fallback: "refuse", lag_max: "500ms" });
    await client.query("INSERT INTO noted VALUES (9)");
    await pair.untilReplayed();
    await onStandby("SELECT pg_wal_replay_pause()");
    let error: (Error & { code?: string; detail?: string }) | null = null;
    for (let id = 10; error === null; id += 1) {
      await client.query("INSERT INTO noted VALUES ($1)", [id]);
      await portOf(client, HINT).catch((thrown) => {
        error = thrown;
      });
    }
    const { code, detail } = error as { code?: string; detail?: string };
    assert.equal(code, "57P03");
    assert.match(
      detail ?? "",
      new RegExp(`:${pair.second.port} is \\d+ ms behind.*:${pair.first.port} is no standby`),
    );
    assert.equal(await sqlstateOf(client.query("BEGIN READ ONLY")), "57P03");
    await client.query("SET pgxa.standby = off");
    assert.equal(await portWithin(client, "BEGIN READ ONLY"), pair.first.port);
    await onStandby("SELECT pg_wal_replay_resume()");
  });

  test("that is promoted ends its transaction as it was, and serves no more as a standby", WAIT, async () => {
    const client = await open();
    const writer = await clients.connect();
    await client.query("BEGIN READ ONLY");
    assert.equal(await portOf(client), pair.second.port);
    await pair.first.kill("SIGKILL");
    await pair.promote();
    await until(async () => (await sqlstateOf(writer.query("INSERT INTO noted VALUES (2)"))) === "none");
    assert.equal(await sqlstateOf(client.query("INSERT INTO noted VALUES (3)")), "25006");
    await client.query("ROLLBACK");
    assert.equal(await portOf(client, HINT), pair.second.port);
    await client.query(`INSERT INTO noted VALUES (4) ${HINT}`); // by the primary, for there is no standby
    const { rows } = await client.query("SHOW default_transaction_read_only");
    assert.equal(rows[0].default_transaction_read_only, "off");
  });

  test("that dies costs who reads there its transaction, and nobody else anything", WAIT, async () => {
    const client = await open();
    const [reader, other] = [await clients.connect(), await clients.connect()];
    await client.query("BEGIN READ ONLY");
    assert.equal(await portOf(client), pair.second.port);
    const reading = sqlstateOf(reader.query(`SELECT pg_sleep(100) ${HINT}`));
    const direct = await pair.second.connect();
    const sleepers = "SELECT count(*)::int AS n FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'";
    await until(async () => (await direct.query(sleepers)).rows[0].n === 1);
    await direct.end();
    await pair.second.kill("SIGKILL");
    assert.match(await reading, /^(57P0[12]|08006)$/);
    assert.match(await sqlstateOf(client.query("SELECT 1")), /^(57P0[12]|08006)$/);
    await client.query("ROLLBACK");
    for (let id = 20; id < 40; id += 1) {
      await other.query("INSERT INTO noted VALUES ($1)", [id]);
      assert.equal(await portOf(reader, HINT), pair.first.port);
      assert.equal(await portWithin(client, "BEGIN READ ONLY"), pair.first.port);
    }
    await pair.second.restart();
    await untilRead(client);
  });

  test("is shown with its own connections", WAIT, async () => {
    const client = await open();
    await client.query("BEGIN READ ONLY");
    assert.equal(await portOf(client), pair.second.port);
    const console = await pair.connect("pgxa");
    const servers = (await console.query("SHOW SERVERS")).rows;
    const own = servers.filter(({ port }) => Number(port) === pair.second.port);
    assert.equal(own.filter(({ state }) => state === "active").length, 1);
    const linked = (await console.query("SHOW CLIENTS")).rows.filter(({ link }) => link !== "");
    assert.ok(linked.some(({ link }) => link === own.find(({ state }) => state === "active").ptr));
    await console.end();
  });
});

test("where nothing is read from standbys hints change nothing", WAIT, async () => {
  const pair = await Pair.open(SCHEMA, { health: OPTIONS.health });
  await pair.untilReplayed();
  const client = await pair.connect();
  await client.query("SET pgxa.standby = on");
  for (let seen = 0; seen < 20; seen += 1) {
    assert.equal(await portOf(client, HINT), pair.first.port);
    assert.equal(await portWithin(client, "BEGIN READ ONLY"), pair.first.port);
  }
  await client.end();
  await pair.stop();
});
