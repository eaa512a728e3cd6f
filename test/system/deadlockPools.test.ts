/**
 * Circles through the shortage of connections: who waits for one waits for any of those who hold one.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import {
  assertCircle,
  assertDeadlock,
  DeadlockStage,
  LIMIT,
  later,
  type Outcome,
  on,
  onlyVictim,
  outcome,
  type Party,
  touching,
  unstuck,
} from "./deadlockStage.ts";

const config = (max: number) => ({ pool: { max, checkout_timeout: "60s" } });

let stage: DeadlockStage;
let opened: Party[] = [];

afterEach(async () => {
  await Promise.all(opened.splice(0).map((party) => party.client.end()));
});

/** `count` parties, in transactions, whose connections go when the test is over. */
async function parties(count: number): Promise<readonly Party[]> {
  opened = await stage.parties(count);
  for (const party of opened) await party.begin();
  return opened;
}

const one = <Value>(values: readonly Value[]): Value => values[0]!;

/** The outcomes; whoever gives way says ROLLBACK when all the others are through. */
async function settle(waits: readonly Promise<Outcome>[]): Promise<number> {
  return onlyVictim(await unstuck(Promise.all(waits), "a party")).index;
}

describe("pools of one connection", () => {
  before(async () => {
    stage = await DeadlockStage.open({ config: config(1) });
  });
  after(() => stage?.stop());

  /**
   * The first holds the connection to the second shard, since its session has a lock there, and is in a transaction; the
   * second holds the one to the first shard. Transactions alone would not have been let in so.
   */
  async function crosswise(): Promise<readonly [Party, Party]> {
    opened = await stage.parties(2);
    const [pinned, other] = opened as [Party, Party];
    await pinned.run(on("north", "SELECT pg_advisory_lock(1)"));
    await other.begin();
    await unstuck(other.touch(stage.account(0)), "one who wants a connection that is free");
    await pinned.begin();
    return [pinned, other];
  }

  const crossing = ([pinned, other]: readonly [Party, Party]): Promise<Outcome>[] => [
    pinned.wants(touching(stage.account(0))),
    other.wants(touching(stage.account(1))),
  ];

  test("two that hold one each and want the other's", LIMIT, async () => {
    const record = one(
      await stage.broken(async () => {
        const waits = crossing(await crosswise());
        assertDeadlock(await unstuck(Promise.race(waits), "both"));
      }),
    );
    assert.equal(record.cause, "pool");
    assert.equal(record.size, 2);
    assertCircle(record);
    for (const { waitsFor, pid } of record.circle) {
      assert.match(waitsFor, /^a server connection/);
      assert.equal(pid, null);
    }
  });

  test("the victim's DETAIL says who waits for a connection and who holds it", LIMIT, async () => {
    const waits = crossing(await crosswise());
    const victim = await unstuck(Promise.race(waits), "both");
    assertDeadlock(victim);
    for (const shard of ["east", "north"])
      assert.match(
        victim.detail!,
        new RegExp(`waits for a server connection[^\\n]*shard "${shard}"[^\\n]*blocked by transaction`),
      );
  });

  test("clients that are queued behind the circle go on when it is broken", LIMIT, async () => {
    const [pinned, other] = await crosswise();
    await pinned.touch(stage.account(1), stage.account(1), stage.account(1));
    const others = await stage.parties(4);
    opened.push(...others);
    const waits = [
      pinned.wants(touching(stage.account(0))),
      other.wants(touching(stage.account(1))),
      ...others.map((party) => outcome(party.touch(stage.account(0)))),
    ];
    assert.equal(await settle(waits), 1, "who has written less, and whose end frees what they all wait for");
  });
});

describe("pools of two connections", () => {
  before(async () => {
    stage = await DeadlockStage.open({ config: config(2) });
  });
  after(() => stage?.stop());

  /**
   * The first holds a row of the first shard, and the other two hold every connection to the second shard; one of these
   * wants that row.
   */
  async function shortage(): Promise<{ all: readonly Party[]; row: number; rows: readonly number[] }> {
    const all = await parties(3);
    const [row, rows] = [stage.account(0), [stage.account(1), stage.account(1)]];
    await all[0]!.touch(row);
    await unstuck(Promise.all([all[1]!.touch(rows[0]!), all[2]!.touch(rows[1]!)]), "one who may have one");
    return { all, row, rows };
  }

  test("all of the second shard's wait for a row of one that waits for one of them", LIMIT, async () => {
    const record = one(
      await stage.broken(async () => {
        const { all, row, rows } = await shortage();
        const waits = [all[1]!.wants(touching(row)), all[2]!.wants(touching(rows[0]!))];
        await stage.untilWaiting(2);
        waits.push(all[0]!.wants(touching(stage.account(1))));
        await settle(waits);
      }),
    );
    assert.equal(record.cause, "pool");
    assertCircle(record);
    assert.ok(record.circle.some(({ waitsFor }) => /ShareLock on transaction/.test(waitsFor)));
  });

  test("one of them waits for the row and the other for a connection", LIMIT, async () => {
    const { all, row } = await shortage();
    const waits = [all[1]!.wants(touching(row))];
    await stage.untilWaiting(1);
    waits.push(all[2]!.wants(touching(row)), all[0]!.wants(touching(stage.account(1))));
    await settle(waits);
  });

  test("with a client outside any BEGIN among them", LIMIT, async () => {
    const both = await parties(2);
    const [row, other] = [stage.account(0), stage.account(1)];
    await both[0]!.touch(row);
    await both[1]!.touch(other);
    const single = await stage.party();
    opened.push(single);
    const waits = [both[1]!.wants(touching(row)), outcome(single.touch(other))];
    await stage.untilWaiting(2);
    waits.push(both[0]!.wants(touching(stage.account(1))));
    await settle(waits);
  });

  test("where one holder of a connection can go on, nobody gives way", LIMIT, async () => {
    const broken = await stage.broken(async () => {
      const { all, row } = await shortage();
      const waits = [all[1]!.wants(touching(row)), all[0]!.wants(touching(stage.account(1)))];
      await stage.untilWaiting(1);
      await later(600);
      await all[2]!.run("COMMIT");
      assert.deepEqual(await unstuck(Promise.all(waits), "a party"), [null, null]);
    });
    assert.deepEqual(broken, []);
  });
});
