/**
 * Circles of transactions over several shards: one gives way and the others go on.
 *
 * Each party of a circle holds a row and wants the next one's; test/system/deadlockLocks.test.ts has other locks.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  assertCircle,
  assertDeadlock,
  DeadlockStage,
  LIMIT,
  later,
  type Outcome,
  onlyVictim,
  type Party,
  touching,
  unstuck,
} from "./deadlockStage.ts";
import { OPENING_BALANCE } from "./stage.ts";

const SHARDS = 4;

let stage: DeadlockStage;

before(async () => {
  stage = await DeadlockStage.open({ shards: SHARDS, accounts: 1_000 });
});
after(() => stage?.stop());

interface Circle {
  readonly parties: readonly Party[];
  /** Where each party's account is. */
  readonly shards: readonly number[];
  readonly accounts: readonly number[];
  readonly waits: readonly Promise<Outcome>[];
}

type Ask = (party: Party, account: number) => Promise<Outcome>;

const simply: Ask = (party, account) => party.wants(touching(account));
const extended: Ask = (party, account) =>
  party.wants("UPDATE accounts SET balance = balance + 1 WHERE id = $1", [account]);

/** `size` parties, each with a row of its own on one of `over` shards, each waiting for the next one's. */
async function close(size: number, over: number, ask: Ask = simply): Promise<Circle> {
  const shards = Array.from({ length: size }, (_, i) => i % over);
  const accounts = shards.map((shard) => stage.account(shard));
  const parties = await stage.parties(size);
  for (const [i, party] of parties.entries()) {
    await party.begin();
    await party.touch(accounts[i]!);
  }
  const waits = parties.map((party, i) => ask(party, accounts[(i + 1) % size]!));
  return { parties, shards, accounts, waits };
}

const settled = ({ waits }: Circle): Promise<readonly Outcome[]> =>
  unstuck(Promise.all(waits), "a party of the circle");

/** What all touches that were committed have added. */
async function added({ shards, accounts }: Circle): Promise<number> {
  let sum = 0;
  for (const [i, account] of accounts.entries())
    sum += (await stage.balance(shards[i]!, account)) - OPENING_BALANCE;
  return sum;
}

describe("a circle of rows", () => {
  for (const size of [2, 3, 4, 8]) {
    for (const over of [2, 3, 4].filter((shards) => shards <= size)) {
      test(`of ${size} over ${over} shards loses one, and all others commit`, LIMIT, async () => {
        const [record, ...more] = await stage.broken(async () => {
          const circle = await close(size, over);
          const { index } = onlyVictim(await settled(circle));
          // The victim has not said ROLLBACK: that the others are through shows that it is rolled back everywhere.
          for (const [i, account] of circle.accounts.entries())
            await stage.isFree(circle.shards[i]!, account);
          assert.equal(await added(circle), 2 * (size - 1));
          await circle.parties[index]!.rollback();
        });
        assert.deepEqual(more, []);
        assert.equal(record!.size, size);
        assert.equal(record!.cause, "lock");
        assertCircle(record!);
      });
    }
  }

  test("by the extended protocol", LIMIT, async () => {
    const circle = await close(3, 3, extended);
    const { index } = onlyVictim(await settled(circle));
    const victim = circle.parties[index]!;
    await assert.rejects(victim.client.query("SELECT $1::int", [1]), { code: "25P02" });
    await victim.rollback();
    assert.equal(await added(circle), 4);
  });

  test("again and again with the same clients", LIMIT, async () => {
    const [one, other] = await stage.parties(2);
    for (let round = 0; round < 5; round += 1) {
      const accounts = [stage.account(0), stage.account(1)] as const;
      await Promise.all([one!.begin(), other!.begin()]);
      await Promise.all([one!.touch(accounts[0]), other!.touch(accounts[1])]);
      const waits = [one!.wants(touching(accounts[1])), other!.wants(touching(accounts[0]))];
      const { index } = onlyVictim(await unstuck(Promise.all(waits), `round ${round}`));
      await [one!, other!][index]!.rollback();
    }
  });

  test("one and no more, whenever the waits began", LIMIT, async () => {
    // While the one who gives way is being cancelled the other's wait is looked at.
    const meet = async (gapMs: number) => {
      const accounts = [stage.account(0), stage.account(1)] as const;
      const [one, other] = (await stage.parties(2)) as [Party, Party];
      for (const [party, account] of [
        [one, accounts[0]],
        [other, accounts[1]],
      ] as const) {
        await party.begin();
        await party.touch(account);
      }
      const waits = [one.wants(touching(accounts[1]))];
      await later(gapMs);
      waits.push(other.wants(touching(accounts[0])));
      onlyVictim(await unstuck(Promise.all(waits), `a party, ${gapMs} ms apart`));
      await Promise.all([one, other].map((party) => party.client.end()));
    };
    for (let gapMs = 0; gapMs < 40; gapMs += 1) await Promise.all([meet(gapMs), meet(gapMs)]);
  });

  test("two that have nothing to do with each other lose one each", LIMIT, async () => {
    const broken = await stage.broken(async () => {
      const circles = await Promise.all([close(2, 2), close(3, 3)]);
      for (const circle of circles) {
        const { index } = onlyVictim(await settled(circle));
        assert.equal(await added(circle), 2 * (circle.parties.length - 1));
        await circle.parties[index]!.rollback();
      }
    });
    assert.deepEqual(broken.map(({ size }) => size).sort(), [2, 3]);
    for (const record of broken) assertCircle(record);
  });

  test("two with one party in common: both are broken, and nobody else gives way", LIMIT, async () => {
    // One waits for a row that the other two hold in common.
    const [shared, single] = [stage.account(0), stage.account(1)];
    const [writer, ...readers] = (await stage.parties(3)) as [Party, Party, Party];
    for (const party of [writer, ...readers]) await party.begin();
    await writer.touch(single, stage.account(2), stage.account(3));
    for (const reader of readers) await reader.run(`SELECT FROM accounts WHERE id = ${shared} FOR SHARE`);
    const waits = [
      writer.wants(touching(shared)),
      ...readers.map((reader) => reader.wants(touching(single))),
    ];
    const outcomes = await unstuck(Promise.all(waits), "a party");
    const lost = outcomes.flatMap((error, i) => (error === null ? [] : [i]));
    for (const i of lost) assertDeadlock(outcomes[i]!);
    // The writer alone, or both readers: either way nothing is left that waits.
    assert.ok(String(lost) === "0" || String(lost) === "1,2", String(lost));
    for (const i of lost) await [writer, ...readers][i]!.rollback();
  });
});

describe("the victim", () => {
  /** A circle of two over the first two shards, of which the second party gives way. */
  async function defeat(
    prelude: readonly string[] = [],
    ask: Ask = simply,
  ): Promise<Circle & { victim: Party }> {
    const accounts = [stage.account(0), stage.account(1)];
    const parties = await stage.parties(2);
    const [winner, victim] = parties as [Party, Party];
    await winner.begin();
    await winner.touch(accounts[0]!, stage.account(2), stage.account(3), stage.account(2));
    await victim.begin();
    await victim.run(...prelude);
    await victim.touch(accounts[1]!);
    const waits = [winner.wants(touching(accounts[1]!)), ask(victim, accounts[0]!)];
    const circle = { parties, shards: [0, 1], accounts, waits, victim };
    assert.equal(onlyVictim(await settled(circle)).index, 1);
    return circle;
  }

  test("is told each waiter, lock, holder, shard and transaction of the circle", LIMIT, async () => {
    const circle = await close(4, 4);
    const { index, error } = onlyVictim(await settled(circle));
    const lines = error.detail!.split("\n");
    const form =
      /^Transaction (test:one:\w+:\w+) of client (\d+), process (\d+) of shard "(\w+)", waits for ShareLock on transaction (\d+); blocked by transaction (test:one:\w+:\w+) of client (\d+)\.$/;
    const waits = lines.map((line) => form.exec(line) ?? assert.fail(`what is "${line}"?`));
    assert.equal(waits.length, 4);
    assert.equal(Number(waits[0]![2]), circle.parties[index]!.id, "it begins with the one who reads it");
    for (const [i, [, , , , shard, , holder, holderClient]] of waits.entries()) {
      const [, gtrid, client] = waits[(i + 1) % 4]!;
      assert.deepEqual([holder, holderClient], [gtrid, client]);
      const next = circle.parties.findIndex(({ id }) => id === Number(client));
      assert.equal(
        shard,
        stage.stage.shards[circle.shards[next]!]!.id,
        "who waits does so where the next one holds",
      );
    }
    assert.deepEqual(waits.map((wait) => Number(wait[2])).sort(), circle.parties.map(({ id }) => id).sort());
    assert.equal(new Set(waits.map((wait) => wait[1])).size, 4);
    await circle.parties[index]!.rollback();
  });

  test("is told the process that waits, and it is that of a shard", LIMIT, async () => {
    const [record] = await stage.broken(async () => (await defeat()).victim.rollback());
    for (const { shard, pid } of record!.circle) {
      const index = stage.stage.shards.findIndex(({ id }) => id === shard);
      const { rows } = await stage
        .observer(index)
        .query("SELECT FROM pg_stat_activity WHERE pid = $1 AND backend_type = 'client backend'", [pid]);
      assert.equal(rows.length, 1);
    }
  });

  test("is in a failed transaction until it says ROLLBACK, and then goes on", LIMIT, async () => {
    const { victim, shards, accounts } = await defeat(["SAVEPOINT before"]);
    for (const statement of [
      "SELECT 1",
      touching(accounts[1]!),
      "SAVEPOINT more",
      "RELEASE before",
      "SHOW work_mem",
    ])
      await assert.rejects(victim.client.query(statement), { code: "25P02" }, statement);
    for (const statement of ["ROLLBACK TO SAVEPOINT before", "ROLLBACK TO nowhere"])
      await assert.rejects(victim.client.query(statement), { code: "25P02" }, statement);
    for (const [i, account] of accounts.entries()) await stage.isFree(shards[i]!, account);
    assert.equal((await victim.client.query("ROLLBACK")).command, "ROLLBACK");
    await victim.begin();
    await victim.touch(...accounts);
    assert.equal((await victim.client.query("COMMIT")).command, "COMMIT");
    assert.equal(await stage.balance(0, accounts[0]!), OPENING_BALANCE + 2);
  });

  test("that says COMMIT is told ROLLBACK", LIMIT, async () => {
    const { victim, accounts } = await defeat();
    assert.equal((await victim.client.query("COMMIT")).command, "ROLLBACK");
    await victim.touch(accounts[0]!);
  });

  test("that says ROLLBACK AND CHAIN is in a new transaction", LIMIT, async () => {
    const { victim, accounts } = await defeat();
    await victim.run("ROLLBACK AND CHAIN");
    await victim.touch(accounts[0]!);
    await victim.rollback();
    assert.equal(await stage.balance(0, accounts[0]!), OPENING_BALANCE + 1);
  });

  test("that goes away leaves nothing behind", LIMIT, async () => {
    const { victim, shards, accounts } = await defeat([], extended);
    await victim.client.end();
    for (const [i, account] of accounts.entries()) await stage.isFree(shards[i]!, account);
  });

  test("loses what it set in the transaction, and keeps what it set before", LIMIT, async () => {
    const set = "SET work_mem = '7MB'";
    const { victim } = await defeat([set, "SET LOCAL statement_timeout = '50s'"]);
    await victim.rollback();
    for (const [name, value] of [
      ["work_mem", "4MB"],
      ["statement_timeout", "0"],
    ] as const) {
      const { rows } = await victim.client.query(`SHOW ${name}`);
      assert.equal(rows[0][name], value);
    }
  });

  test("keeps its prepared statements", LIMIT, async () => {
    const accounts = [stage.account(0), stage.account(1)];
    const [winner, victim] = (await stage.parties(2)) as [Party, Party];
    const named = (account: number) =>
      victim.client.query({
        name: "touch",
        text: "UPDATE accounts SET balance = balance + 1 WHERE id = $1",
        values: [account],
      });
    await winner.begin();
    await winner.touch(accounts[0]!, stage.account(2), stage.account(2));
    await victim.begin();
    await named(accounts[1]!);
    const won = winner.wants(touching(accounts[1]!));
    await assert.rejects(unstuck(named(accounts[0]!), "the victim"), { code: "40P01" });
    assert.equal(await unstuck(won, "the winner"), null);
    await victim.rollback();
    for (const account of accounts) assert.equal((await named(account)).rowCount, 1);
  });
});
