/** The console of two workers in front of two shards: transactions, waits and what is in doubt, of both in each. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type pg from "pg";
import { Stage } from "./stage.ts";

const LIMIT = { timeout: 150_000 };
let stage: Stage;

before(async () => {
  stage = await Stage.open({ isOpen: false });
  await stage.openWorkers(2);
}, LIMIT);
after(() => stage?.stop());

const connect = (worker: 0 | 1, database = "bank"): Promise<pg.Client> =>
  stage.connect({ database, port: stage.ports[worker]! });
const one = (shard: 0 | 1, n = 0): number => stage.accounts[shard]![n]!;
const touch = (id: number): string => `UPDATE accounts SET balance = balance WHERE id = ${id}`;
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));
type Rows = readonly Readonly<Record<string, unknown>>[];
const ask = async (client: pg.Client, text: string): Promise<Rows> => (await client.query(text)).rows;

describe("the console of two workers in front of two shards", LIMIT, () => {
  it("shows the transactions and waits of both in each, once", async () => {
    const consoles = [await connect(0, "pgxa"), await connect(1, "pgxa")];
    const [a, b] = [await connect(0), await connect(1)];
    for (const sql of ["BEGIN", touch(one(0)), touch(one(1))]) await a.query(sql);
    for (const sql of ["BEGIN", touch(one(0, 1))]) await b.query(sql);
    const waiting = b.query(touch(one(1)));
    for (const console of consoles) {
      while ((await ask(console, "SHOW WAITS")).length === 0) await turn();
      const [wait, ...more] = await ask(console, "SHOW WAITS");
      assert.deepEqual(more, []);
      const pidOf = (client: pg.Client) => String((client as unknown as { processID: number }).processID);
      assert.equal(String(wait!.client), pidOf(b));
      assert.match(String(wait!.blocked_by), new RegExp(`client ${pidOf(a)}`));
      assert.equal((await ask(console, "SHOW TRANSACTIONS")).length, 2);
      assert.equal((await ask(console, "SHOW BRANCHES")).length, 4);
      assert.deepEqual(await ask(console, "SHOW IN_DOUBT"), []);
    }
    await a.query("COMMIT");
    await waiting;
    await b.query("COMMIT");
    for (const console of consoles) assert.deepEqual(await ask(console, "SHOW TRANSACTIONS"), []);
  });

  it("shows a deadlock between the two once, by one number", async () => {
    const consoles = [await connect(0, "pgxa"), await connect(1, "pgxa")];
    const [a, b] = [await connect(0), await connect(1)];
    for (const sql of ["BEGIN", touch(one(0))]) await a.query(sql);
    for (const sql of ["BEGIN", touch(one(1))]) await b.query(sql);
    const ends = await Promise.allSettled([a.query(touch(one(1))), b.query(touch(one(0)))]);
    assert.equal(ends.filter(({ status }) => status === "rejected").length, 1);
    for (const client of [a, b]) await client.query("ROLLBACK");
    const [first, second] = [
      await ask(consoles[0]!, "SHOW DEADLOCKS"),
      await ask(consoles[1]!, "SHOW DEADLOCKS"),
    ];
    assert.equal(first.length, 1);
    assert.deepEqual(second, first);
  });
});
