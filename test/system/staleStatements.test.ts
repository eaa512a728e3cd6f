/**
 * A prepared statement whose table has changed: Postgres refuses to run it when its columns would be others than the
 * client was told, on whatever server connection it comes to.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  bind,
  describeStatement,
  errorField,
  execute,
  type Message,
  message,
  parse,
  query,
  RawClient,
  sync,
  terminate,
  text,
  typesOf,
} from "./rawClient.ts";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 30_000 };

let stage: Stage;

before(async () => {
  stage = await Stage.open({ shards: 1, config: { pool: { max: 2 } } });
});
after(() => stage?.stop());

async function say(client: RawClient, ...messages: readonly Buffer[]): Promise<readonly Message[]> {
  client.send(...messages);
  return client.until("Z");
}

const prepare = (client: RawClient, name: string, sql: string) =>
  say(client, parse(name, sql), describeStatement(name), sync());
const run = (client: RawClient, name: string) => say(client, bind(name), execute(), sync());

/** Keeps the connection that is used next, so that others come to another. */
async function keepOne(): Promise<RawClient> {
  const keeper = await RawClient.login(stage.port);
  await say(keeper, query("BEGIN; SELECT 1"));
  return keeper;
}

async function end(...clients: readonly RawClient[]): Promise<void> {
  for (const client of clients) client.send(terminate());
  await Promise.all(clients.map((client) => client.untilClosed()));
}

function assertStale(answer: readonly Message[]): void {
  assert.equal(typesOf(answer), "EZ");
  assert.equal(errorField(answer[0]!, "C"), "0A000");
  assert.equal(errorField(answer[0]!, "M"), "cached plan must not change result type");
  assert.equal(errorField(answer[0]!, "R"), "RevalidateCachedQuery"); // which drivers look at
}

describe("a statement of which the client was told the columns", () => {
  for (const name of ["s", ""]) {
    const what = name === "" ? "the unnamed one" : "a named one";
    test(`is refused where they are others by now: ${what}`, WAIT, async () => {
      const client = await RawClient.login(stage.port);
      await stage.onShards(
        "DROP TABLE IF EXISTS shaped; CREATE TABLE shaped (a int); INSERT INTO shaped VALUES (1)",
      );
      assert.equal(typesOf(await prepare(client, name, "SELECT * FROM shaped")), "1tTZ");
      await stage.onShards("ALTER TABLE shaped ADD b text");
      const keeper = await keepOne();
      assertStale(await run(client, name));
      assertStale(await run(client, name));
      await end(keeper);
      // A new Parse is a new statement.
      await say(client, message("C", text(`S${name}`)), sync());
      assert.equal(typesOf(await prepare(client, name, "SELECT * FROM shaped")), "1tTZ");
      assert.equal(typesOf(await run(client, name)), "2DCZ");
      const other = await keepOne();
      assert.equal(typesOf(await run(client, name)), "2DCZ");
      await end(other, client);
    });
  }

  test("runs where they are the same, on every connection", WAIT, async () => {
    const client = await RawClient.login(stage.port);
    await stage.onShards("CREATE TABLE same (a int); INSERT INTO same VALUES (1)");
    await prepare(client, "s", "SELECT a FROM same");
    assert.equal(typesOf(await run(client, "s")), "2DCZ");
    await stage.onShards("ALTER TABLE same ADD b text");
    const keeper = await keepOne();
    assert.equal(typesOf(await run(client, "s")), "2DCZ");
    await end(keeper);
    assert.equal(typesOf(await run(client, "s")), "2DCZ");
    await end(client);
  });

  test(
    "is answered with the shard's own error where its table is gone, and the batch goes on",
    WAIT,
    async () => {
      const client = await RawClient.login(stage.port);
      await stage.onShards("CREATE TABLE gone (a int)");
      await prepare(client, "s", "SELECT a FROM gone");
      await prepare(client, "t", "SELECT 1");
      await stage.onShards("DROP TABLE gone");
      const keeper = await keepOne();
      const answer = await say(client, bind("s"), execute(), bind("t"), execute(), sync());
      assert.equal(typesOf(answer), "EZ");
      assert.equal(errorField(answer[0]!, "C"), "42P01");
      // A statement behind an error of its own batch is passed over, and nobody waits for its columns.
      client.send(parse("bad", "SELEC"), bind("t"), execute(), bind("s"), execute(), sync());
      assert.equal(typesOf(await client.until("Z")), "EZ");
      assert.equal(typesOf(await run(client, "t")), "2DCZ");
      await end(keeper, client);
    },
  );

  test("is not looked at when the client asks for the columns each time", WAIT, async () => {
    const client = await RawClient.login(stage.port);
    await stage.onShards("CREATE TABLE asked (a int); INSERT INTO asked VALUES (1)");
    await say(client, parse("s", "SELECT * FROM asked"), sync());
    const ask = () => say(client, bind("s"), message("D", text("P")), execute(), sync());
    assert.equal(typesOf(await ask()), "2TDCZ");
    await stage.onShards("ALTER TABLE asked ADD b text");
    const keeper = await keepOne();
    assert.equal(typesOf(await ask()), "2TDCZ");
    await end(keeper, client);
  });

  test("costs no client its session when the connection is lost meanwhile", WAIT, async () => {
    const client = await RawClient.login(stage.port);
    await prepare(client, "s", "SELECT 1");
    await stage.onShards(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
    );
    for (;;) {
      if (typesOf(await run(client, "s")) === "2DCZ") break;
    }
    await end(client);
  });
});
