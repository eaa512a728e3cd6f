/**
 * Circles through every kind of lock, and through those who are no transaction of pgxa's.
 *
 * Two parties hold a row each, on different shards. The first wants the other's row; the second wants what the first
 * holds besides, on the other shard, in whatever way the test says.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  assertCircle,
  assertDeadlock,
  DeadlockStage,
  LIMIT,
  type Outcome,
  on,
  onlyVictim,
  outcome,
  type Party,
  touching,
  unstuck,
} from "./deadlockStage.ts";

let stage: DeadlockStage;
let key = 0;

before(async () => {
  stage = await DeadlockStage.open();
});
after(() => stage?.stop());

const parties = async (): Promise<readonly [Party, Party]> =>
  (await stage.parties(2)) as unknown as readonly [Party, Party];

/** A lock on the first shard: what takes it, and what waits for it. */
interface Lock {
  readonly name: string;
  /** What the report calls it. */
  readonly says: RegExp;
  take(): readonly [string, string];
}

const LOCKS: readonly Lock[] = [
  {
    name: "a row that was updated",
    says: /ShareLock on transaction \d+/,
    take: () => {
      const account = stage.account(0);
      return [touching(account), touching(account)];
    },
  },
  {
    name: "a row that was locked for sharing",
    says: /ExclusiveLock on tuple|ShareLock on transaction/,
    take: () => {
      const account = stage.account(0);
      return [`SELECT FROM accounts WHERE id = ${account} FOR SHARE`, touching(account)];
    },
  },
  {
    name: "a unique key",
    says: /ShareLock on transaction \d+/,
    take: () => {
      const insert = `INSERT INTO transfers (account_id, id, amount) VALUES (${stage.account(0)}, 1, 1)`;
      return [insert, `${insert} ON CONFLICT DO NOTHING`];
    },
  },
  {
    name: "an advisory lock",
    says: /ExclusiveLock on advisory lock \[\d+,0,\d+,1\]/,
    take: () => {
      key += 1;
      const lock = on("east", `SELECT pg_advisory_xact_lock(${key})`);
      return [lock, lock];
    },
  },
  {
    name: "a relation",
    says: /AccessExclusiveLock on relation \d+ of database \d+/,
    take: () => [
      on("east", "LOCK TABLE events IN SHARE MODE"),
      on("east", "LOCK TABLE events IN ACCESS EXCLUSIVE MODE"),
    ],
  },
];

describe("a circle through", () => {
  for (const { name, says, take } of LOCKS) {
    for (const loser of ["who waits for it", "who holds it"]) {
      test(`${name}: ${loser} gives way`, LIMIT, async () => {
        const [holder, waiter] = await parties();
        const row = stage.account(1);
        const [taking, wanting] = take();
        const [record, ...more] = await stage.broken(async () => {
          await holder.begin();
          await waiter.begin();
          const winner = loser === "who holds it" ? waiter : holder;
          await winner.touch(...Array.from({ length: 5 }, () => stage.account(0)));
          await holder.run(taking);
          await waiter.touch(row);
          const waits = [holder.wants(touching(row)), waiter.wants(wanting)];
          const { index } = onlyVictim(await unstuck(Promise.all(waits), "a party"));
          assert.equal([holder, waiter][index] === winner, false);
          await [holder, waiter][index]!.rollback();
        });
        assert.deepEqual(more, []);
        assertCircle(record!);
        const wait = record!.circle.find(({ client }) => client === waiter.id)!;
        assert.match(wait.waitsFor, says);
        assert.equal(wait.shard, "east");
      });
    }
  }
});

describe("a row that several wait for", () => {
  test("the others in its queue go on when the circle is broken", LIMIT, async () => {
    const [holder, waiter] = await parties();
    const queue = await stage.parties(3);
    const [row, other] = [stage.account(0), stage.account(1)];
    await holder.begin();
    await holder.touch(row);
    await waiter.begin();
    await waiter.touch(other);
    const queued: Promise<Outcome>[] = [];
    for (const [i, party] of queue.entries()) {
      queued.push(outcome(party.touch(row))); // without BEGIN
      await stage.untilWaiting(i + 1);
    }
    const waits = [waiter.wants(touching(row))];
    await stage.untilWaiting(4);
    waits.push(holder.wants(touching(other)));
    const { index } = onlyVictim(await unstuck(Promise.all([...waits, ...queued]), "somebody"));
    assert.ok(index < 2, "those who wait in front are not to blame, and their end would not help");
    await [waiter, holder][index]!.rollback();
  });

  test("all of them in transactions that hold something elsewhere", LIMIT, async () => {
    const all = await stage.parties(4);
    const [holder, ...waiters] = all as [Party, ...Party[]];
    const [row, wanted] = [stage.account(0), stage.account(1)];
    for (const party of all) await party.begin();
    await holder.touch(row);
    await waiters[0]!.touch(wanted);
    for (const party of waiters.slice(1)) await party.touch(stage.account(1));
    const waits: Promise<Outcome>[] = [];
    for (const [i, party] of waiters.toReversed().entries()) {
      waits.push(party.wants(touching(row)));
      await stage.untilWaiting(i + 1);
    }
    waits.push(holder.wants(touching(wanted)));
    const { index } = onlyVictim(await unstuck(Promise.all(waits), "somebody"));
    await [...waiters.toReversed(), holder][index]!.rollback();
  });
});

describe("a circle half inside one shard", () => {
  /** The circle goes on from one row of the first shard to the other through somebody whom `through` makes wait. */
  async function half(through: (rows: readonly [number, number]) => Promise<Outcome>): Promise<Outcome> {
    const [one, other] = await parties();
    const rows = [stage.account(0), stage.account(0)].sort((a, b) => a - b) as [number, number];
    const row = stage.account(1);
    await one.begin();
    await one.touch(rows[1], stage.account(0), stage.account(0));
    await other.begin();
    await other.touch(row, stage.account(1), stage.account(1));
    const between = through(rows);
    await stage.untilWaiting(1);
    const waits = [one.wants(touching(row)), other.wants(touching(rows[0]))];
    const outcomes = await unstuck(Promise.all([...waits, between]), "somebody");
    const { index } = onlyVictim(outcomes);
    if (index < 2) await [one, other][index]!.rollback();
    return outcomes[2]!;
  }

  test("through a client outside any BEGIN, who has done least", LIMIT, async () => {
    const client = await stage.party();
    const [record] = await stage.broken(async () => {
      const between = await half(([low, high]) =>
        outcome(
          client.client.query(
            on("east", `UPDATE accounts SET balance = balance + 1 WHERE id IN (${low}, ${high})`),
          ),
        ),
      );
      assertDeadlock(between);
    });
    assert.equal(record!.size, 3);
    assert.equal(record!.victim, client.id);
    assert.equal(record!.circle[0]!.gtrid, null);
    assertCircle(record!);
    await client.touch(stage.account(0));
  });

  test("through a session of the shard that is no client of pgxa's, and is never chosen", LIMIT, async () => {
    const session = await stage.stage.shards[0]!.connect();
    const [record] = await stage.broken(async () => {
      const between = await half(([low, high]) =>
        outcome(session.query(`BEGIN; ${touching(low)}; ${touching(high)}; COMMIT`)),
      );
      assert.equal(between, null);
    });
    await session.end();
    assert.equal(record!.size, 3);
    const foreign = record!.circle.find(({ client }) => client === null)!;
    assert.equal(foreign.shard, "east");
    assertCircle(record!);
  });
});

describe("clients outside any BEGIN", () => {
  test("who hold locks of their sessions: the one keeps what it holds, as in Postgres", LIMIT, async () => {
    const both = await parties();
    key += 1;
    const lock = (shard: string, verb = "lock") => on(shard, `SELECT pg_advisory_${verb}(${key})`);
    await both[0].run(lock("east"));
    await both[1].run(lock("north"));
    const waits = [outcome(both[0].run(lock("north"))), outcome(both[1].run(lock("east")))];
    const error = await unstuck(Promise.race(waits), "both");
    assertDeadlock(error);
    const loser = (await Promise.race([waits[0]!.then(() => 0), waits[1]!.then(() => 1)])) as 0 | 1;
    await both[loser].run("SELECT 1", lock(loser === 0 ? "east" : "north", "unlock"));
    assert.equal(await unstuck(waits[1 - loser]!, "the other"), null);
  });
});

describe("a table that is on every shard", () => {
  const rename = "UPDATE currencies SET name = name || '.' WHERE code = 'EUR'";

  for (const protocol of ["simple", "extended"]) {
    const values = protocol === "simple" ? undefined : ["EUR"];
    const text = protocol === "simple" ? rename : rename.replace("'EUR'", "$1");

    for (const loser of ["writer", "other"]) {
      test(`its ${loser} gives way (${protocol})`, LIMIT, async () => {
        const [writer, other] = await parties();
        const row = stage.account(1);
        for (const party of [writer, other]) await party.begin();
        await (loser === "writer" ? other : writer).touch(
          ...Array.from({ length: 5 }, () => stage.account(0)),
        );
        await other.run(rename);
        await writer.touch(row);
        const waits = [writer.wants(text, values), other.wants(touching(row))];
        const outcomes = await unstuck(Promise.all(waits), "a party");
        const { index } = onlyVictim(outcomes);
        assert.equal(index, loser === "writer" ? 0 : 1);
        const victim = [writer, other][index]!;
        await assert.rejects(victim.run("SELECT 1"), { code: "25P02" });
        await victim.rollback();
        await same();
      });
    }

    test(`its writer outside any BEGIN, half done, is undone everywhere (${protocol})`, LIMIT, async () => {
      const [writer, other] = await parties();
      await other.begin();
      await other.touch(...Array.from({ length: 5 }, () => stage.account(0)));
      await other.run(on("north", "SELECT FROM currencies WHERE code = 'EUR' FOR UPDATE"));
      const write = outcome(values ? writer.client.query(text, values) : writer.client.query(text));
      await stage.untilWaiting(1);
      const want = other.wants(on("east", "SELECT FROM currencies WHERE code = 'EUR' FOR UPDATE"));
      assert.equal(onlyVictim(await unstuck(Promise.all([write, want]), "a party")).index, 0);
      await same();
      await writer.run(rename);
      await same();
    });
  }

  /** The table is the same on both shards. */
  async function same(): Promise<void> {
    const [one, other] = await stage.stage.onShards("SELECT name FROM currencies");
    assert.deepEqual(one, other);
  }
});

describe("a circle inside one shard", () => {
  test("is the shard's own affair, even if both hold something elsewhere", LIMIT, async () => {
    const both = await parties();
    const rows = [stage.account(0), stage.account(0)] as const;
    const broken = await stage.broken(async () => {
      for (const [i, party] of both.entries()) {
        await party.begin();
        await party.touch(stage.account(1), rows[i]!);
      }
      const waits = both.map((party, i) => party.wants(touching(rows[1 - i]!)));
      const { index, error } = onlyVictimOfShard(await unstuck(Promise.all(waits), "a party"));
      assert.match(error.detail ?? "", /^Process \d+ waits for ShareLock on transaction/);
      await both[index]!.rollback();
    });
    assert.deepEqual(broken, []);
  });
});

function onlyVictimOfShard(outcomes: readonly Outcome[]): { index: number; error: NonNullable<Outcome> } {
  const index = outcomes.findIndex((error) => error !== null);
  assert.equal(outcomes.filter((error) => error !== null).length, 1);
  const error = outcomes[index]!;
  assert.equal(error?.code, "40P01");
  return { index, error: error! };
}
