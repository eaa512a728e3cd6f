/**
 * Many transfers at once, while totals are read: no money is lost or made, none is applied by half.
 *
 * The accounts of a transfer are updated in the order of their ids, so that no circle of waits can arise.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type pg from "pg";
import { OPENING_BALANCE, Stage } from "./stage.ts";

const TRANSFERS = 1_000;
const CLIENTS = 64;

let stage: Stage;
before(async () => {
  stage = await Stage.open({ accounts: 400 });
});
after(() => stage?.stop());

test("1,000 concurrent transfers between shards conserve money while totals are read", async () => {
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => stage.connect()));
  const reader = await stage.connect();
  const ids = Array.from({ length: TRANSFERS }, (_, i) => i).values();
  let isOver = false;
  const reading = readTotals(reader, () => isOver);
  await Promise.all(clients.map((client) => work(client, ids)));
  isOver = true;
  assert.ok((await reading) > 0, "totals were read meanwhile");
  await checkEverything();
});

async function work(client: pg.Client, ids: Iterator<number>): Promise<void> {
  for (let next = ids.next(); !next.done; next = ids.next()) await transfer(client, next.value);
}

async function transfer(client: pg.Client, id: number): Promise<void> {
  const [from, to] = stage.accounts.map((accounts) => accounts[(id * 7) % accounts.length]!);
  const amount = (id % 9) + 1;
  const steps = [
    { account: from!, change: -amount },
    { account: to!, change: amount },
  ].sort((one, other) => one.account - other.account);
  await client.query("BEGIN");
  for (const { account, change } of steps) {
    await client.query("UPDATE accounts SET balance = balance + $2 WHERE id = $1", [account, change]);
    await client.query("INSERT INTO transfers (account_id, id, amount) VALUES ($1, $2, $3)", [
      account,
      id,
      change,
    ]);
  }
  const { command } = await client.query("COMMIT");
  assert.equal(command, "COMMIT");
}

/** Reads each shard's total through pgxa until it is over; a shard's total is what its transfers make it. */
async function readTotals(client: pg.Client, isOver: () => boolean): Promise<number> {
  let count = 0;
  for (; !isOver(); count++) {
    const shard = count % stage.shards.length;
    const { rows } = await client.query(`/* pgxa: shard=${stage.shards[shard]!.id} */
      SELECT (SELECT sum(balance) FROM accounts) AS total, coalesce((SELECT sum(amount) FROM transfers), 0) AS moved`);
    const opening = stage.accounts[shard]!.length * OPENING_BALANCE;
    assert.equal(Number(rows[0].total), opening + Number(rows[0].moved), "a branch is applied whole");
  }
  return count;
}

async function checkEverything(): Promise<void> {
  const totals = await stage.onShards<{ total: string }>("SELECT sum(balance) AS total FROM accounts");
  const total = totals.flat().reduce((sum, row) => sum + Number(row.total), 0);
  assert.equal(total, 400 * OPENING_BALANCE);
  const moved = await stage.onShards<{ id: string }>("SELECT id FROM transfers ORDER BY id");
  for (const rows of moved) assert.equal(rows.length, TRANSFERS, "every transfer is on every shard");
  const prepared = await stage.onShards("SELECT gid FROM pg_prepared_xacts");
  assert.deepEqual(prepared.flat(), []);
}
