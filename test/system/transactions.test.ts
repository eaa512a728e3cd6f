/**
 * What a client sees of transactions over several shards: lazy branches, savepoints, failures, refusals.
 *
 * The shards log every statement, so that what pgxa says to them is seen and not inferred.
 */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import type pg from "pg";
import { OPENING_BALANCE, Stage } from "./stage.ts";

let stage: Stage;
let client: pg.Client;
/** An account on the first shard, another there, and one on the second. */
let east: number;
let eastern: number;
let north: number;

before(async () => {
  stage = await Stage.open({ settings: { log_statement: "all" } });
  [[east, eastern], [north]] = stage.accounts as unknown as [[number, number], [number]];
  client = await stage.connect();
});
beforeEach(async () => {
  await client.query("ROLLBACK");
  await stage.onShards(`TRUNCATE transfers, pledges; UPDATE accounts SET balance = ${OPENING_BALANCE}`);
});
after(() => stage?.stop());

const debit = (id: number, amount = 1) =>
  client.query(`UPDATE accounts SET balance = balance - ${amount} WHERE id = ${id}`);

const record = (account: number, id: number) =>
  client.query("INSERT INTO transfers (account_id, id, amount) VALUES ($1, $2, 1)", [account, id]);

/** The ids of the transfers on each shard. */
const transfers = async (): Promise<number[][]> =>
  (await stage.onShards<{ id: string }>("SELECT id FROM transfers ORDER BY id")).map((rows) =>
    rows.map((row) => Number(row.id)),
  );

const nothingPrepared = async () =>
  assert.deepEqual((await stage.onShards("SELECT gid FROM pg_prepared_xacts")).flat(), []);

const refusedWith = (code: string) => (error: { code?: string }) => {
  assert.equal(error.code, code, String(error));
  return true;
};

describe("branches", () => {
  test("BEGIN alone opens no branch, and a branch opens with its first statement", async () => {
    const logs = await stage.logged(async () => {
      await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
      await debit(north);
      await client.query("COMMIT");
    });
    assert.doesNotMatch(logs[0]!, /BEGIN/);
    assert.match(logs[1]!, /BEGIN.*REPEATABLE READ/s);
  });

  test("isolation level and access mode hold on every branch", async () => {
    await client.query("BEGIN ISOLATION LEVEL SERIALIZABLE");
    for (const id of [east, north]) {
      const { rows } = await client.query(
        `SELECT current_setting('transaction_isolation') AS level FROM accounts WHERE id = ${id}`,
      );
      assert.equal(rows[0].level, "serializable");
    }
    await client.query("COMMIT");
    await client.query("BEGIN READ ONLY");
    await client.query(`SELECT FROM accounts WHERE id = ${east}`);
    await assert.rejects(debit(north), refusedWith("25006"));
    await client.query("ROLLBACK");
  });

  test("a transaction sees its own writes on both shards, and others see them after COMMIT", async () => {
    const other = await stage.connect();
    const balances = async (who: pg.Client) => {
      const one = await who.query("SELECT balance FROM accounts WHERE id = $1", [east]);
      const two = await who.query("SELECT balance FROM accounts WHERE id = $1", [north]);
      return [Number(one.rows[0].balance), Number(two.rows[0].balance)];
    };
    await client.query("BEGIN");
    await debit(east, 10);
    await debit(north, -10);
    assert.deepEqual(await balances(client), [OPENING_BALANCE - 10, OPENING_BALANCE + 10]);
    assert.deepEqual(await balances(other), [OPENING_BALANCE, OPENING_BALANCE]);
    await client.query("COMMIT");
    assert.deepEqual(await balances(other), [OPENING_BALANCE - 10, OPENING_BALANCE + 10]);
  });

  test("a transaction on one shard commits in one phase", async () => {
    const logs = await stage.logged(async () => {
      await client.query("BEGIN");
      await debit(east);
      await debit(eastern);
      await client.query("COMMIT");
    });
    assert.doesNotMatch(logs.join(), /PREPARE/);
    assert.match(logs[0]!, /COMMIT/);
  });

  test("two writers are prepared and committed under gids of the fleet", async () => {
    const logs = await stage.logged(async () => {
      await client.query("BEGIN");
      await debit(east);
      await debit(north);
      await client.query("COMMIT");
    });
    for (const log of logs) {
      assert.match(log, /PREPARE TRANSACTION 'pgxa:test:/);
      assert.match(log, /COMMIT PREPARED 'pgxa:test:/);
    }
    await nothingPrepared();
  });

  test("a branch that only read is not prepared", async () => {
    const logs = await stage.logged(async () => {
      await client.query("BEGIN");
      await debit(east);
      await client.query("SELECT balance FROM accounts WHERE id = $1", [north]);
      await client.query("COMMIT");
    });
    assert.doesNotMatch(logs.join(), /PREPARE TRANSACTION/);
    assert.match(logs[1]!, /COMMIT/);
  });

  test("a branch that locked rows counts as a writer", async () => {
    const logs = await stage.logged(async () => {
      await client.query("BEGIN");
      await debit(east);
      await client.query("SELECT balance FROM accounts WHERE id = $1 FOR UPDATE", [north]);
      await client.query("COMMIT");
    });
    for (const log of logs) assert.match(log, /PREPARE TRANSACTION/);
  });

  test("ROLLBACK undoes every branch", async () => {
    await client.query("BEGIN");
    await record(east, 1);
    await record(north, 1);
    const { command } = await client.query("ROLLBACK");
    assert.equal(command, "ROLLBACK");
    assert.deepEqual(await transfers(), [[], []]);
  });

  test("a client that leaves in the middle leaves nothing behind", { timeout: 30_000 }, async () => {
    const leaver = await stage.connect();
    await leaver.query("BEGIN");
    await leaver.query(`UPDATE accounts SET balance = 0 WHERE id = ${east}`);
    await leaver.query(`UPDATE accounts SET balance = 0 WHERE id = ${north}`);
    await leaver.end();
    // Both wait until the leaver's locks are gone.
    await debit(east, 0);
    await debit(north, 0);
    const { rows } = await client.query("SELECT balance FROM accounts WHERE id = $1", [north]);
    assert.equal(Number(rows[0].balance), OPENING_BALANCE);
  });

  test("COMMIT AND CHAIN opens the next transaction with the same characteristics", async () => {
    await client.query("BEGIN ISOLATION LEVEL SERIALIZABLE");
    await record(east, 1);
    await record(north, 1);
    await client.query("COMMIT AND CHAIN");
    assert.deepEqual(await transfers(), [[1], [1]]);
    const { rows } = await client.query(
      `SELECT current_setting('transaction_isolation') AS level FROM accounts WHERE id = ${north}`,
    );
    assert.equal(rows[0].level, "serializable");
    await record(north, 2);
    await client.query("ROLLBACK");
    assert.deepEqual(await transfers(), [[1], [1]]);
  });
});

describe("savepoints", () => {
  test("a branch that joins late can be rolled back to a savepoint made before it joined", async () => {
    await client.query("BEGIN");
    await record(east, 1);
    await client.query("SAVEPOINT early");
    await record(north, 2);
    await client.query("ROLLBACK TO SAVEPOINT early");
    await record(north, 3);
    await client.query("COMMIT");
    assert.deepEqual(await transfers(), [[1], [3]]);
  });

  test("savepoints nest, are shadowed by their own names and released together", async () => {
    await client.query("BEGIN");
    await client.query("SAVEPOINT a");
    await record(east, 1);
    await client.query("SAVEPOINT a");
    await record(north, 2);
    await client.query("ROLLBACK TO a");
    await client.query("RELEASE a");
    await record(north, 3);
    await client.query("ROLLBACK TO a");
    await record(north, 4);
    await client.query("COMMIT");
    assert.deepEqual(await transfers(), [[], [4]]);
  });

  test("an error on one shard is undone on both by ROLLBACK TO", async () => {
    await client.query("BEGIN");
    await record(east, 1);
    await record(north, 1);
    await client.query("SAVEPOINT s");
    await record(east, 2);
    await assert.rejects(record(north, 1), refusedWith("23505"));
    await assert.rejects(record(east, 3), refusedWith("25P02"));
    await client.query("ROLLBACK TO s");
    await record(east, 4);
    await record(north, 4);
    await client.query("COMMIT");
    assert.deepEqual(await transfers(), [
      [1, 4],
      [1, 4],
    ]);
  });

  test("an unknown savepoint is 3B001 and one outside a transaction 25P01", async () => {
    await assert.rejects(client.query("SAVEPOINT s"), refusedWith("25P01"));
    await client.query("BEGIN");
    await record(east, 1);
    await assert.rejects(client.query("ROLLBACK TO nowhere"), refusedWith("3B001"));
    await assert.rejects(record(north, 1), refusedWith("25P02"));
    await client.query("ROLLBACK");
  });
});

describe("failures", () => {
  test("a failed statement fails the transaction on all branches", async () => {
    await client.query("BEGIN");
    await record(east, 1);
    await assert.rejects(debit(north, OPENING_BALANCE + 1), refusedWith("23514"));
    await assert.rejects(record(east, 2), refusedWith("25P02"));
    await assert.rejects(client.query("SELECT 1"), refusedWith("25P02"));
    await client.query("ROLLBACK");
    assert.deepEqual(await transfers(), [[], []]);
  });

  test("COMMIT of a failed transaction has the tag ROLLBACK and applies nothing", async () => {
    await client.query("BEGIN");
    await record(east, 1);
    await assert.rejects(debit(north, OPENING_BALANCE + 1), refusedWith("23514"));
    const { command } = await client.query("COMMIT");
    assert.equal(command, "ROLLBACK");
    assert.deepEqual(await transfers(), [[], []]);
    await nothingPrepared();
  });

  test("a deferred foreign key that fails at PREPARE gives the shard's own error and rolls back all", async () => {
    await client.query("BEGIN");
    await record(east, 1);
    await client.query("INSERT INTO pledges (account_id, sponsor) VALUES ($1, $2)", [north, -1]);
    await assert.rejects(client.query("COMMIT"), (error: { code?: string; constraint?: string }) => {
      assert.equal(error.code, "23503");
      assert.equal(error.constraint, "pledges_sponsor_fkey");
      return true;
    });
    assert.deepEqual(await transfers(), [[], []]);
    await nothingPrepared();
    await record(east, 2);
    assert.deepEqual(await transfers(), [[2], []]);
  });

  test("a deferred unique constraint that fails at PREPARE gives 23505 and rolls back all", async () => {
    await client.query("BEGIN");
    await record(north, 1);
    for (const id of [east, eastern]) {
      await client.query("INSERT INTO pledges (account_id, slot) VALUES ($1, 1)", [id]);
    }
    await assert.rejects(client.query("COMMIT"), refusedWith("23505"));
    assert.deepEqual(await transfers(), [[], []]);
    await nothingPrepared();
  });

  test("a branch whose backend is terminated loses the whole transaction", async () => {
    await client.query("BEGIN");
    await record(east, 1);
    await record(north, 1);
    await stage.shards[1]!.connect().then(async (control) => {
      await control.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'",
      );
      await control.end();
    });
    await assert.rejects(client.query("COMMIT"), (error: { code?: string }) => error.code !== undefined);
    await client.query("ROLLBACK");
    assert.deepEqual(await transfers(), [[], []]);
    await nothingPrepared();
  });
});

describe("refusals and reference tables", () => {
  const REFUSED = [
    "SELECT sum(balance) FROM accounts",
    "UPDATE accounts SET balance = 0",
    "SELECT * FROM accounts WHERE id = 1 OR id = 2",
    "UPDATE accounts SET id = 5 WHERE id = 1",
    "INSERT INTO accounts VALUES (1, 'x', 1)",
    "TRUNCATE accounts",
    "PREPARE TRANSACTION 'mine'",
    "SELECT * FROM nowhere WHERE id = 1",
  ];

  for (const sql of REFUSED) {
    test(`"${sql}" is refused with what to write instead`, async () => {
      const logs = await stage.logged(async () => {
        await assert.rejects(client.query(sql), (error: pg.DatabaseError) => {
          assert.equal(error.code, "0A000", String(error));
          assert.ok(error.detail, "a DETAIL");
          assert.ok(error.hint, "a HINT");
          return true;
        });
      });
      for (const log of logs) assert.doesNotMatch(log, /accounts|nowhere|mine/);
    });
  }

  test("a hint in a comment or a setting sends a statement where it says", async () => {
    const ids = async (sql: string) => Number((await client.query(sql)).rows[0].count);
    assert.equal(
      await ids("/* pgxa: shard=east */ SELECT count(*) FROM accounts"),
      stage.accounts[0]!.length,
    );
    await client.query("SET pgxa.shard = 'north'");
    assert.equal(await ids("SELECT count(*) FROM accounts"), stage.accounts[1]!.length);
    await client.query(`SET pgxa.key = '${east}'`);
    await client.query("RESET pgxa.shard");
    assert.equal(await ids("SELECT count(*) FROM accounts"), stage.accounts[0]!.length);
    await client.query("RESET pgxa.key");
    await assert.rejects(client.query("SELECT count(*) FROM accounts"), refusedWith("0A000"));
  });

  test("a row is written to the shard where PostgreSQL's own hash puts it", async () => {
    for (let id = 1001; id <= 1040; id++) {
      await client.query("INSERT INTO accounts (id, owner, balance) VALUES ($1, 'new', 0)", [id]);
    }
    const misplaced = await Promise.all(
      stage.shards.map(async (shard, i) => {
        const control = await shard.connect();
        const { rows } = await control.query(
          "SELECT id FROM accounts WHERE NOT satisfies_hash_partition('placement'::regclass, 2, $1, id)",
          [i],
        );
        await control.query("DELETE FROM accounts WHERE id > 1000");
        await control.end();
        return rows;
      }),
    );
    assert.deepEqual(misplaced.flat(), []);
  });

  test("a reference table is written on all shards at once", async () => {
    const logs = await stage.logged(async () => {
      const { rowCount } = await client.query("INSERT INTO currencies VALUES ('USD', 'US dollar')");
      assert.equal(rowCount, 1);
    });
    for (const log of logs) assert.match(log, /COMMIT PREPARED/);
    const names = await stage.onShards<{ name: string }>("SELECT name FROM currencies WHERE code = 'USD'");
    assert.deepEqual(names, [[{ name: "US dollar" }], [{ name: "US dollar" }]]);
    const read = await client.query("SELECT name FROM currencies WHERE code = $1", ["USD"]);
    assert.equal(read.rows[0].name, "US dollar");
  });

  test("a write of a reference table that fails on one shard is applied on none", async () => {
    const control = await stage.shards[1]!.connect();
    await control.query("INSERT INTO currencies VALUES ('XXX', 'only here')");
    await assert.rejects(
      client.query("INSERT INTO currencies VALUES ($1, $2)", ["XXX", "everywhere"]),
      refusedWith("23505"),
    );
    await control.query("DELETE FROM currencies WHERE code = 'XXX'");
    await control.end();
    const left = await stage.onShards("SELECT FROM currencies WHERE code = 'XXX'");
    assert.deepEqual(left, [[], []]);
    await nothingPrepared();
  });

  test("a single-shard table is on its shard and joins transactions of others", async () => {
    await client.query("BEGIN");
    await client.query("INSERT INTO events VALUES (1, 'opened')");
    await record(north, 9);
    await client.query("COMMIT");
    const events = await stage.onShards("SELECT what FROM events");
    assert.deepEqual(events, [[{ what: "opened" }], []]);
  });
});
