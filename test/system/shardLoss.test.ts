/**
 * A shard that restarts, or dies, in front of its clients: who is idle notices nothing, who is in a transaction loses
 * that and not the session, and nobody is told of a COMMIT what is not known.
 */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import type pg from "pg";
import {
  bind,
  errorField,
  execute,
  type Message,
  parse,
  query,
  RawClient,
  statusOf,
  sync,
  typesOf,
} from "./rawClient.ts";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 90_000 };
const HEALTH = { interval: "200ms", backoff_max: "200ms" };

const sqlstateOf = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "none",
    (error: Error & { code?: string }) => error.code ?? error.message,
  );

/** Asks until the shard is served again; whatever else is wrong is thrown. */
async function untilServed(client: pg.Client, sql = "SELECT 1"): Promise<void> {
  for (;;) {
    const sqlstate = await sqlstateOf(client.query(sql));
    if (sqlstate === "none") return;
    assert.match(sqlstate, /^(57P03|08001|08006)$/);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const errorsOf = (messages: readonly Message[]): string =>
  messages
    .filter(({ type }) => type === "E")
    .map((message) => `${errorField(message, "S")} ${errorField(message, "C")}`)
    .join(", ");

for (const shards of [1, 2]) {
  describe(`over ${shards === 1 ? "one shard" : `${shards} shards`}`, () => {
    let stage: Stage;
    let account: number;
    const find = () => `SELECT balance FROM accounts WHERE id = ${account}`;
    const update = () => `UPDATE accounts SET balance = balance + 1 WHERE id = ${account}`;

    before(async () => {
      stage = await Stage.open({ shards, config: { health: HEALTH } });
      account = stage.accounts[0]![0]!;
    });
    after(() => stage?.stop());
    beforeEach(async () => {
      const client = await stage.connect();
      await untilServed(client, find());
      await client.end();
    });

    test("idle clients notice nothing of a restart", WAIT, async () => {
      const clients = await Promise.all(Array.from({ length: 5 }, () => stage.connect()));
      await Promise.all(clients.map((client) => client.query(find())));
      await stage.shards[0]!.restart();
      for (const client of clients) await untilServed(client, find());
    });

    for (const how of ["restarts", "is killed"] as const) {
      test(`a client in a transaction loses that alone when the shard ${how}`, WAIT, async () => {
        const client = await stage.connect();
        await client.query("BEGIN");
        const before = (await client.query(find())).rows[0].balance;
        await client.query(update());
        if (how === "is killed") await stage.shards[0]!.kill("SIGKILL");
        await stage.shards[0]!.restart();
        assert.match(await sqlstateOf(client.query(find())), /^(57P01|57P02|08006|40000)$/);
        assert.equal(await sqlstateOf(client.query(find())), "25P02");
        assert.equal((await client.query("ROLLBACK")).command, "ROLLBACK");
        await untilServed(client, find());
        assert.equal((await client.query(find())).rows[0].balance, before);
      });
    }

    test("a COMMIT that is the first to hear of the loss fails, and ends the transaction", WAIT, async () => {
      const client = await stage.connect();
      await client.query("BEGIN");
      await client.query(update());
      await stage.shards[0]!.restart();
      assert.match(await sqlstateOf(client.query("COMMIT")), /^(57P01|08006|40000)$/);
      // Some roll back after any error, and then it is a statement like any other.
      assert.match(await sqlstateOf(client.query("ROLLBACK")), /^(none|57P03|08001)$/);
      await untilServed(client, find());
    });

    test(
      "a statement that was running is told that it may have run, and the client goes on",
      WAIT,
      async () => {
        const client = await stage.connect();
        const running = client
          .query(`SELECT pg_sleep(60), ${account} FROM accounts WHERE id = ${account}`)
          .then(
            () => assert.fail("it ran"),
            (error: Error & { code: string; detail: string }) => error,
          );
        await untilRuns("pg_sleep(60)");
        await stage.shards[0]!.kill("SIGKILL");
        const error = await running;
        assert.equal(error.code, "08006");
        assert.match(error.detail, /may or may not have been applied/);
        await stage.shards[0]!.restart();
        await untilServed(client, find());
      },
    );

    test("a client that rolls back while the shard is down is in no transaction", WAIT, async () => {
      const client = await stage.connect();
      await client.query("BEGIN");
      await client.query(update());
      await stage.shards[0]!.kill("SIGKILL");
      // It may be told of the loss only now; the transaction is over all the same.
      while ((await sqlstateOf(client.query("ROLLBACK"))) !== "none");
      for (let sqlstate = ""; sqlstate !== "57P03"; ) {
        sqlstate = await sqlstateOf(client.query(find()));
        assert.match(sqlstate, /^(57P03|08001|08006)$/);
      }
      await stage.shards[0]!.restart();
      await untilServed(client, find());
    });

    const untilRuns = async (part: string): Promise<void> => {
      for (;;) {
        const [rows] = await stage.onShards(
          "SELECT FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%' || $1 || '%'",
          [part],
        );
        if (rows!.length > 0) return;
      }
    };
  });
}

describe("in front of one shard", () => {
  let stage: Stage;
  before(async () => {
    stage = await Stage.open({ shards: 1, config: { health: HEALTH } });
    await stage.onShards(`
      CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$;
      CREATE TABLE slow (id int);
      CREATE CONSTRAINT TRIGGER slowly AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION linger();`);
  });
  after(() => stage?.stop());
  beforeEach(async () => {
    const client = await stage.connect();
    await untilServed(client);
    await client.end();
  });

  const untilActive = async (part: string): Promise<void> => {
    for (;;) {
      const [rows] = await stage.onShards(
        "SELECT FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE $1",
        [`${part}%`],
      );
      if (rows!.length > 0) return;
    }
  };
  const terminate = (): Promise<unknown> =>
    stage.onShards(
      "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
    );

  const commits: readonly (readonly [string, readonly Buffer[]])[] = [
    ["a simple query", [query("COMMIT")]],
    ["a batch", [parse("", "COMMIT"), bind(""), execute(), sync()]],
    ["a query with others", [query("SELECT 1; COMMIT")]],
  ];
  for (const [what, messages] of commits) {
    for (const how of ["is killed", "ends the connection"] as const) {
      test(`a COMMIT by ${what} is unknown when the shard ${how} meanwhile: 08007`, WAIT, async () => {
        const client = await RawClient.login(stage.port);
        client.send(query("BEGIN; INSERT INTO slow VALUES (1)"));
        await client.until("Z");
        client.send(...messages);
        await untilActive(what === "a query with others" ? "SELECT 1; COMMIT" : "COMMIT");
        if (how === "is killed") {
          await stage.shards[0]!.kill("SIGKILL");
          await stage.shards[0]!.restart();
        } else await terminate();
        const answer = await client.until("Z");
        assert.equal(errorsOf(answer), "ERROR 08007");
        assert.equal(statusOf(answer), "I");
        client.close();
      });
    }
  }

  test("the extended protocol in a lost transaction is answered as in any failed one", WAIT, async () => {
    const client = await RawClient.login(stage.port);
    client.send(query("BEGIN; SELECT 1"));
    await client.until("Z");
    await terminate();
    const batch = (sql: string) => client.send(parse("", sql), bind(""), execute(), sync());
    batch("SELECT 1");
    const told = await client.until("Z");
    assert.equal(errorsOf(told), "ERROR 57P01");
    assert.equal(statusOf(told), "E");
    batch("SELECT 1");
    assert.equal(errorsOf(await client.until("Z")), "ERROR 25P02");
    batch("ROLLBACK AND CHAIN");
    const chained = await client.until("Z");
    assert.equal(errorsOf(chained), "ERROR 0A000");
    assert.equal(statusOf(chained), "E");
    client.send(query("/* mine */ ROLLBACK; SELECT 2"));
    const rolledBack = await client.until("Z");
    assert.equal(typesOf(rolledBack).replaceAll("S", ""), "CTDCZ");
    assert.equal(statusOf(rolledBack), "I");
    client.close();
  });

  test("a rollback by the extended protocol needs no other error first", WAIT, async () => {
    const client = await RawClient.login(stage.port);
    client.send(query("BEGIN; SELECT 1"));
    await client.until("Z");
    await terminate();
    client.send(parse("", "ROLLBACK"), bind(""), execute(), sync());
    const answer = await client.until("Z");
    assert.equal(errorsOf(answer), "");
    assert.equal(statusOf(answer), "I");
    client.close();
  });

  test("what was notified meanwhile comes when the lost transaction has ended", WAIT, async () => {
    const client = await RawClient.login(stage.port);
    const ask = (sql: string) => {
      client.send(query(sql));
      return client.until("Z");
    };
    await ask("LISTEN news");
    await ask("BEGIN; SELECT 42");
    await stage.onShards(
      "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query = 'BEGIN; SELECT 42'",
    );
    const other = await stage.connect();
    await other.query("NOTIFY news, 'now'");
    const told = await ask("SELECT 1");
    assert.equal(errorsOf(told), "ERROR 57P01");
    assert.equal(typesOf(told).replaceAll("S", ""), "EZ");
    await ask("ROLLBACK");
    assert.match((await client.next()).body.toString(), /news\0now/);
    client.close();
  });

  test("a pipeline is answered to its end", WAIT, async () => {
    const client = await RawClient.login(stage.port);
    client.send(query("BEGIN; SELECT 1"));
    await client.until("Z");
    client.send(query("SELECT pg_sleep(60)"), query("SELECT 1"), query("SELECT 2"));
    await untilActive("SELECT pg_sleep(60)");
    await terminate();
    const answers = [await client.until("Z"), await client.until("Z"), await client.until("Z")];
    assert.equal(errorsOf(answers[0]!), "ERROR 57P01");
    assert.deepEqual(answers.map(statusOf), ["E", "E", "E"]);
    client.send(query("ROLLBACK"));
    assert.equal(statusOf(await client.until("Z")), "I");
    client.close();
  });

  test("a client with a temporary table has lost its session", WAIT, async () => {
    const client = await RawClient.login(stage.port);
    client.send(query("CREATE TEMP TABLE mine (id int)"));
    await client.until("Z");
    await terminate();
    assert.match(errorsOf(await client.untilClosed()), /^FATAL (57P01|08006)$/);
  });

  test("settings made in a lost transaction are undone, and those before are kept", WAIT, async () => {
    const client = await stage.connect();
    await client.query("SET statement_timeout = '111s'");
    await client.query("BEGIN");
    await client.query("SET statement_timeout = '222s'");
    await terminate();
    assert.equal(await sqlstateOf(client.query("SELECT 1")), "57P01");
    await client.query("ROLLBACK");
    await untilServed(client);
    assert.equal((await client.query("SHOW statement_timeout")).rows[0].statement_timeout, "111s");
  });
});
