/** Clients that cancel or end each other by the process ids that they were given, and what a lost connection costs. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, beforeEach, describe, test } from "node:test";
import type pg from "pg";
import {
  bind,
  errorField,
  execute,
  message,
  parse,
  query,
  RawClient,
  sync,
  terminate,
  typesOf,
} from "./rawClient.ts";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 30_000 };

let stage: Stage;
let one: pg.Client;
let other: pg.Client;

before(async () => {
  stage = await Stage.open({ shards: 1, config: { pool: { max: 3 } } });
});
after(() => stage?.stop());
beforeEach(async () => {
  one = await stage.connect();
  other = await stage.connect();
});

const pidOf = (client: pg.Client): number => (client as unknown as { processID: number }).processID;

const ways: readonly (readonly [
  name: string,
  ask: (verb: string, pid: number) => Promise<pg.QueryResult>,
])[] = [
  ["a simple query", (verb, pid) => other.query(`SELECT pg_${verb}_backend(${pid})`)],
  ["a parameter", (verb, pid) => other.query(`select pg_${verb}_backend($1)`, [pid])],
  [
    "a named statement",
    (verb, pid) =>
      other.query({ name: verb, text: `SELECT pg_catalog.pg_${verb}_backend($1::int4);`, values: [pid] }),
  ],
  ["a number in the extended protocol", (verb, pid) => other.query(`SELECT pg_${verb}_backend(${pid})`, [])],
];

for (const [name, ask] of ways) {
  describe(`by ${name}`, () => {
    test("a client cancels another's statement", WAIT, async () => {
      const sleeping = assert.rejects(one.query("SELECT pg_sleep(20)"), { code: "57014" });
      await new Promise((resolve) => setTimeout(resolve, 100));
      const { rows } = await ask("cancel", pidOf(one));
      assert.deepEqual(rows, [{ pg_cancel_backend: true }]);
      await sleeping;
      await one.query("SELECT 1");
    });

    test("a client ends another", WAIT, async () => {
      const ended = once(one, "error");
      const { rows } = await ask("terminate", pidOf(one));
      assert.deepEqual(rows, [{ pg_terminate_backend: true }]);
      const [error] = await ended;
      assert.equal(error.code, "57P01");
      await other.query("SELECT 1");
    });

    test("a process that is no client's is the shard's affair", WAIT, async () => {
      const { rows } = await ask("terminate", 2_000_000_000);
      assert.deepEqual(rows, [{ pg_terminate_backend: false }]);
    });
  });
}

test("a client that cancels itself cancels the statement that says so", WAIT, async () => {
  const pid = pidOf(one);
  await assert.rejects(one.query(`SELECT pg_cancel_backend(${pid})`), { code: "57014" });
  await assert.rejects(one.query("SELECT pg_cancel_backend($1)", [pid]), { code: "57014" });
  await one.query("SELECT 1");
});

test("a client that ends itself is ended as by Postgres", WAIT, async () => {
  const client = await RawClient.login(stage.port);
  client.send(query("SELECT pg_terminate_backend(pg_backend_pid())"));
  const [error] = await client.untilClosed();
  assert.equal(errorField(error!, "S"), "FATAL");
  assert.equal(errorField(error!, "C"), "57P01");
  assert.equal((await stage.onShards("SELECT 1"))[0]!.length, 1);
});

const killOthers = () =>
  stage.onShards(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND state <> 'idle' AND pid <> pg_backend_pid()",
  );

describe("a server connection that the shard ends", () => {
  test("costs a statement outside a transaction, as an ERROR, and the client goes on", WAIT, async () => {
    const client = await RawClient.login(stage.port);
    client.send(query("SELECT pg_sleep(20)"));
    await new Promise((resolve) => setTimeout(resolve, 200));
    await killOthers();
    const answer = await client.until("Z");
    const error = answer.find(({ type }) => type === "E")!;
    assert.equal(errorField(error, "S"), "ERROR");
    assert.equal(errorField(error, "C"), "57P01");
    client.send(query("SELECT 1"));
    assert.equal(typesOf(await client.until("Z")).replaceAll("S", ""), "TDCZ");
    client.send(terminate());
    await client.untilClosed();
  });

  test("ends a client whose transaction it was, with the shard's own words, once", WAIT, async () => {
    const client = await RawClient.login(stage.port);
    client.send(query("BEGIN; SET LOCAL idle_in_transaction_session_timeout = '100ms'"));
    await client.until("Z");
    const last = await client.untilClosed();
    const errors = last.filter(({ type }) => type === "E");
    assert.equal(errors.length, 1);
    assert.equal(errorField(errors[0]!, "S"), "FATAL");
    assert.equal(errorField(errors[0]!, "C"), "25P03");
  });
});

describe("a client that goes in the middle of COPY FROM STDIN", () => {
  const copies: readonly (readonly [string, readonly Buffer[]])[] = [
    ["a simple query", [query("COPY currencies FROM STDIN")]],
    ["a batch", [parse("", "COPY currencies FROM STDIN"), bind(""), execute(), sync()]],
  ];
  for (const shards of [1, 2]) {
    for (const [name, messages] of copies) {
      test(`begun by ${name}, over ${shards} of shards, leaves nothing behind`, WAIT, async () => {
        const copying = shards === 1 ? stage : await Stage.open({ shards });
        try {
          const client = await RawClient.login(copying.port);
          if (shards > 1) {
            client.send(query("SET pgxa.shard = 'east'"));
            await client.until("Z");
          }
          client.send(...messages);
          await client.until("G");
          client.send(terminate());
          await client.untilClosed();
          for (;;) {
            const rows = await copying.onShards(
              "SELECT FROM pg_stat_activity WHERE query LIKE 'COPY currencies%' AND state <> 'idle'",
            );
            if (rows.every((some) => some.length === 0)) break;
          }
        } finally {
          if (shards > 1) await copying.stop();
        }
      });
    }
  }
});

test(
  "a COPY over several shards that fails within a message leaves its connection to nobody",
  WAIT,
  async () => {
    const sharded = await Stage.open({ config: { pool: { max: 2 } } });
    try {
      const client = await RawClient.login(sharded.port);
      client.send(query("SET pgxa.shard = 'east'"));
      await client.until("Z");
      client.send(query("COPY currencies FROM STDIN"));
      await client.until("G");
      const row = message("d", Buffer.from("x".repeat(1_000)));
      client.send(message("d", Buffer.from("one column\n")), row.subarray(0, 500));
      const answer = await client.until("Z");
      assert.equal(errorField(answer.find(({ type }) => type === "E")!, "C"), "22P04");
      const others = await Promise.all([sharded.connect(), sharded.connect()]);
      for (const other of others) await other.query("/* pgxa: shard=east */ SELECT 1");
      client.send(row.subarray(500), query("SELECT 1"));
      assert.equal(typesOf(await client.until("Z")).replaceAll("S", ""), "TDCZ");
    } finally {
      await sharded.stop();
    }
  },
);
