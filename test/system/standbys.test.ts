/** Reads from a standby: what is asked for goes there, and nothing else does. */
import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { after, afterEach, before, describe, test } from "node:test";
import type pg from "pg";
import { query, startup } from "../../src/wire/frontendWriters.ts";
import { Pair } from "../support/pair.ts";
import {
  type Client,
  clientsOf,
  HINT,
  OPTIONS,
  PORT,
  portOf,
  portWithin,
  SCHEMA,
  sqlstateOf,
  until,
  WAIT,
} from "./standbyClients.ts";

/** The tags and errors that come before the `readies`th ReadyForQuery. */
async function tagsOf(socket: Socket, readies: number): Promise<readonly string[]> {
  const tags: string[] = [];
  let rest = Buffer.alloc(0);
  let left = readies;
  for await (const chunk of socket) {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 5 && rest.length > rest.readInt32BE(1)) {
      const end = rest.readInt32BE(1) + 1;
      const type = String.fromCharCode(rest[0]!);
      if (type === "C") tags.push(rest.toString("latin1", 5, end - 1));
      if (type === "E") tags.push(rest.toString("latin1", 5, end));
      if (type === "Z") left -= 1;
      rest = rest.subarray(end);
    }
    if (left === 0) break;
  }
  return tags;
}

describe("a standby that may be read from", () => {
  let pair: Pair;
  const clients = clientsOf(() => pair);
  let client: Client;

  before(async () => {
    pair = await Pair.open(SCHEMA, OPTIONS);
    await pair.untilReplayed();
    const first = await clients.connect();
    await until(async () => (await portOf(first, HINT)) === pair.second.port);
    await clients.end();
  });
  after(async () => {
    await clients.end();
    await pair.stop();
  });
  afterEach(() => clients.end());

  test("serves READ ONLY transactions, however they are begun", WAIT, async () => {
    client = await clients.connect();
    for (const begin of [
      "BEGIN READ ONLY",
      "begin transaction read only;",
      "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
      "/* a report */ BEGIN READ ONLY",
      `BEGIN ${HINT}`,
    ]) {
      assert.equal(await portWithin(client, begin), pair.second.port, begin);
    }
    const { rows } = (
      (await client.query(`BEGIN READ ONLY; ${PORT}; COMMIT`)) as unknown as pg.QueryResult[]
    )[1]!;
    assert.equal(rows[0].port, pair.second.port);
  });

  test("serves no other transaction, and no statement unasked", WAIT, async () => {
    client = await clients.connect();
    for (const begin of [
      "BEGIN",
      "BEGIN READ WRITE",
      "BEGIN; SET TRANSACTION READ ONLY",
      "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY",
      "BEGIN READ ONLY /* pgxa: standby=off */",
    ]) {
      assert.equal(await portWithin(client, begin), pair.first.port, begin);
    }
    assert.equal(await portOf(client), pair.first.port);
    const results = (await client.query(`BEGIN READ ONLY; COMMIT; ${PORT}`)) as unknown as pg.QueryResult[];
    assert.equal(results[2]!.rows[0].port, pair.first.port);
  });

  test("serves what a session begins that is read only by default", WAIT, async () => {
    client = await clients.connect();
    await client.query("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY");
    assert.equal(await portWithin(client, "BEGIN"), pair.second.port);
    assert.equal(await portOf(client), pair.first.port);
    await client.query("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE");
    assert.equal(await portWithin(client, "BEGIN"), pair.first.port);
    await client.query("RESET ALL");
    assert.equal(await portWithin(client, "BEGIN"), pair.first.port);
  });

  test("serves statements with a hint, by either protocol", WAIT, async () => {
    client = await clients.connect();
    assert.equal(await portOf(client, HINT), pair.second.port);
    const text = `SELECT inet_server_port() AS port, $1::int AS n ${HINT}`;
    for (let n = 0; n < 3; n += 1) {
      const { rows } = await client.query({ name: "hinted", text, values: [n] });
      assert.deepEqual(rows, [{ port: pair.second.port, n }]);
      assert.equal(await portOf(client), pair.first.port);
    }
  });

  test("serves a session that has set pgxa.standby, but for what needs the primary", WAIT, async () => {
    client = await clients.connect();
    await client.query("SET pgxa.standby = on");
    assert.equal(await portOf(client), pair.second.port);
    assert.equal(await portWithin(client, "BEGIN"), pair.second.port);
    assert.equal(await portWithin(client, "BEGIN READ WRITE"), pair.first.port);
    await client.query("SET pgxa.standby = off");
    assert.equal(await portOf(client), pair.first.port);
    assert.equal(await portWithin(client, "BEGIN READ ONLY"), pair.first.port);
    await client.query("RESET pgxa.standby");
    assert.equal(await portWithin(client, "BEGIN READ ONLY"), pair.second.port);
  });

  test("leaves to the primary what a standby has not, although hinted at", WAIT, async () => {
    client = await clients.connect();
    for (const select of [
      "nextval('numbers'), inet_server_port() AS port",
      "pg_try_advisory_xact_lock(1), inet_server_port() AS port",
      "inet_server_port() AS port FROM noted FOR UPDATE",
    ]) {
      const { rows } = await client.query(`SELECT ${select} ${HINT}`);
      assert.equal(rows[0].port, pair.first.port, select);
    }
    await client.query(`SET work_mem = '5MB' ${HINT}`);
    await client.query(`LISTEN news ${HINT}`);
    const heard = new Promise((resolve) => client.once("notification", resolve));
    await client.query(`NOTIFY news ${HINT}`);
    await heard;
  });

  test("refuses writes in its own words", WAIT, async () => {
    client = await clients.connect();
    assert.equal(await sqlstateOf(client.query(`INSERT INTO noted VALUES (2) ${HINT}`)), "25006");
    await client.query("BEGIN READ ONLY");
    assert.equal(await sqlstateOf(client.query("INSERT INTO noted VALUES (2)")), "25006");
    await client.query("ROLLBACK");
    await client.query("INSERT INTO noted VALUES (2)");
  });

  test("takes no advisory lock, and keeps no session", WAIT, async () => {
    client = await clients.connect();
    for (const sql of [
      "SELECT pg_advisory_lock(7)",
      "SELECT pg_advisory_xact_lock(7)",
      "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    ]) {
      await client.query("BEGIN READ ONLY");
      assert.equal(await portOf(client), pair.second.port);
      assert.equal(await sqlstateOf(client.query(sql)), "25006", sql);
      assert.equal(await sqlstateOf(client.query("SELECT 1")), "25P02");
      await client.query("ROLLBACK");
      await client.query("BEGIN READ ONLY");
      assert.equal(await sqlstateOf(client.query({ text: sql, values: [] })), "25006", sql);
      await client.query("ROLLBACK");
    }
    assert.equal(await portOf(client), pair.first.port);
  });

  test("has the session's settings and statements, and gives them back", WAIT, async () => {
    client = await clients.connect();
    await client.query("SET work_mem = '7MB'");
    await client.query("PREPARE twice(int) AS SELECT $1 * 2 AS n, inet_server_port() AS port");
    await client.query("BEGIN READ ONLY");
    assert.equal((await client.query("SHOW work_mem")).rows[0].work_mem, "7MB");
    assert.deepEqual((await client.query("EXECUTE twice(4)")).rows, [{ n: 8, port: pair.second.port }]);
    await client.query("SET work_mem = '9MB'");
    await client.query("COMMIT");
    assert.equal((await client.query("SHOW work_mem")).rows[0].work_mem, "9MB");
    assert.deepEqual((await client.query("EXECUTE twice(4)")).rows, [{ n: 8, port: pair.first.port }]);
    const { rows } = await client.query("SHOW default_transaction_read_only");
    assert.equal(rows[0].default_transaction_read_only, "off");
  });

  test(
    "does not get what was sent ahead behind a hinted statement, or a transaction there",
    WAIT,
    async () => {
      const texts = Array.from({ length: 20 }, (_, i) => [
        `SELECT ${i} ${HINT}`,
        `INSERT INTO noted VALUES (${100 + i})`,
        "BEGIN READ ONLY",
        "SELECT pg_last_wal_replay_lsn() - '0/0'",
        "COMMIT",
        `DELETE FROM noted WHERE id = ${100 + i}`,
      ]).flat();
      const { host, port } = pair.address;
      const socket = connect(port, host);
      const login = startup(
        [
          ["user", "app"],
          ["database", "bank"],
        ],
        0,
      );
      socket.write(Buffer.concat([login, ...texts.map((text) => query(text))]));
      const tags = await tagsOf(socket, texts.length + 1);
      socket.destroy();
      const expected = ["SELECT 1", "INSERT 0 1", "BEGIN", "SELECT 1", "COMMIT", "DELETE 1"];
      assert.deepEqual(
        tags,
        texts.map((_, i) => expected[i % expected.length]),
      );
    },
  );

  test("cancels what runs there", WAIT, async () => {
    client = await clients.connect();
    const other = await clients.connect();
    const pid = (client as unknown as { processID: number }).processID;
    const sleeping = sqlstateOf(client.query(`SELECT pg_sleep(100) ${HINT}`));
    await until(async () => {
      const { rows } = await other.query(
        `SELECT count(*)::int AS n FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' ${HINT}`,
      );
      return rows[0].n === 1;
    });
    await other.query("SELECT pg_cancel_backend($1)", [pid]);
    assert.equal(await sleeping, "57014");
    assert.equal(await portOf(client), pair.first.port);
  });
});
