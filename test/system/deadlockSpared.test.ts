/**
 * Waits that are no deadlock, or that end by themselves: nobody gives way.
 *
 * And those in which a part is past being chosen: it is being committed, or prepared and left behind.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { WaitRow } from "../../src/deadlock/report.ts";
import {
  assertDeadlock,
  DeadlockStage,
  LIMIT,
  later,
  type Outcome,
  on,
  onlyVictim,
  type Party,
  touching,
  unstuck,
} from "./deadlockStage.ts";
import { cancelRequest, RawClient } from "./rawClient.ts";

/** Long enough for many looks. */
const LONG_MS = 600;

let stage: DeadlockStage;

before(async () => {
  stage = await DeadlockStage.open({ shards: 3, config: { transaction: { resolve_interval: "60s" } } });
});
after(() => stage?.stop());

/** Parties in transactions, each with an account of its own, on the shards in turn. */
async function holders(count: number): Promise<{ parties: Party[]; accounts: number[] }> {
  const parties = await stage.parties(count);
  const accounts = parties.map((_, i) => stage.account(i % 3));
  for (const [i, party] of parties.entries()) {
    await party.begin();
    await party.touch(accounts[i]!);
  }
  return { parties, accounts };
}

const nobodyGivesWay = async (waits: readonly Promise<Outcome>[]) =>
  assert.deepEqual(
    await unstuck(Promise.all(waits), "somebody"),
    waits.map(() => null),
  );

const nothingBroken = async (work: () => Promise<unknown>) => assert.deepEqual(await stage.broken(work), []);

/** Sends pgxa the cancel request that a driver would. */
async function cancel({ client }: Party): Promise<void> {
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: Buffer | number };
  const secret = typeof secretKey === "number" ? Buffer.alloc(4) : secretKey;
  if (typeof secretKey === "number") secret.writeInt32BE(secretKey);
  const canceller = new RawClient(stage.stage.port);
  canceller.send(cancelRequest(processID, secret));
  await canceller.untilClosed();
}

describe("without a circle nobody gives way:", () => {
  test("a chain over three shards", LIMIT, async () => {
    await nothingBroken(async () => {
      const { parties, accounts } = await holders(6);
      const waits = parties.slice(1).map((party, i) => party.wants(touching(accounts[i]!)));
      await stage.untilWaiting(5);
      await later(LONG_MS);
      await parties[0]!.run("COMMIT");
      await nobodyGivesWay(waits);
    });
  });

  test("a tree", LIMIT, async () => {
    await nothingBroken(async () => {
      const { parties, accounts } = await holders(7);
      // 0 is the root; who waits for whom: 1 and 2 for 0, 3 and 4 for 1, 5 and 6 for 2.
      const waits = [1, 2, 3, 4, 5, 6].map((i) =>
        parties[i]!.wants(touching(accounts[Math.floor((i - 1) / 2)]!)),
      );
      await stage.untilWaiting(6);
      await later(LONG_MS);
      await parties[0]!.run("COMMIT");
      await nobodyGivesWay(waits);
    });
  });

  test("a queue for one row of those who hold something elsewhere", LIMIT, async () => {
    await nothingBroken(async () => {
      const { parties, accounts } = await holders(6);
      const waits = parties.slice(1).map((party) => party.wants(touching(accounts[0]!)));
      await stage.untilWaiting(5);
      await later(LONG_MS);
      await parties[0]!.run("COMMIT");
      await nobodyGivesWay(waits);
    });
  });

  test("a slow holder", LIMIT, async () => {
    await nothingBroken(async () => {
      const { parties, accounts } = await holders(2);
      const [holder, waiter] = parties as [Party, Party];
      const slow = holder.wants(on("north", "SELECT pg_sleep(1)"));
      await nobodyGivesWay([slow, waiter.wants(touching(accounts[0]!))]);
    });
  });

  test("one who waits for a slow statement of its own", LIMIT, async () => {
    await nothingBroken(async () => {
      const { parties } = await holders(1);
      await nobodyGivesWay([parties[0]!.wants(on("north", "SELECT pg_sleep(0.5)"))]);
    });
  });
});

describe("a circle that ends otherwise", () => {
  /** Closes a circle of two and cancels one of them after `ms`; both errors. */
  async function cancelled(ms: number): Promise<readonly Outcome[]> {
    const { parties, accounts } = await holders(2);
    const waits = parties.map((party, i) => tries(party, accounts[1 - i]!));
    await later(ms);
    await cancel(parties[0]!);
    return unstuck(Promise.all(waits), "a party");
  }

  /** Says ROLLBACK at once if it fails, as clients do; only a deadlock's victim is rolled back before. */
  async function tries(party: Party, account: number): Promise<Outcome> {
    const error = await party.wants(touching(account));
    if (error !== null) await party.rollback();
    return error;
  }

  test("by a client's cancel in time: nobody else gives way", LIMIT, async () => {
    const patient = await DeadlockStage.open({ shards: 3, config: { deadlock: { probe_after: "5s" } } });
    const usual = stage;
    try {
      stage = patient;
      await nothingBroken(async () => {
        const [first, second] = await cancelled(100);
        assert.equal(first?.code, "57014");
        assert.match(first.message, /user request/);
        assert.equal(second, null);
      });
    } finally {
      stage = usual;
      await patient.stop();
    }
  });

  test(
    "by a client's cancel at the same moment: one of the two errors, and never two deadlocks",
    LIMIT,
    async () => {
      for (let round = 0; round < 20; round += 1) {
        const outcomes = await cancelled(30 + 3 * round);
        const codes = outcomes.map((error) => error?.code ?? "");
        assert.ok(codes.filter((code) => code === "40P01").length <= 1, String(codes));
        assert.notEqual(codes[1], "57014", "the cancel was for the other");
        assert.notDeepEqual(codes, ["", ""]);
      }
    },
  );

  test("by the end of a party's connection", LIMIT, async () => {
    for (let round = 0; round < 5; round += 1) {
      const { parties, accounts } = await holders(2);
      const waits = parties.map((party, i) => party.wants(touching(accounts[1 - i]!)));
      await later(15 * round);
      (
        parties[0]!.client as unknown as { connection: { stream: { destroy(): void } } }
      ).connection.stream.destroy();
      const [gone, other] = await unstuck(Promise.all(waits), "a party");
      assert.notEqual(gone, null);
      if (other !== null && other !== undefined) assertDeadlock(other);
      await parties[1]!.rollback();
    }
  });

  test("by the shard's own lock_timeout", LIMIT, async () => {
    const { parties, accounts } = await holders(2);
    await parties[0]!.run("SET LOCAL lock_timeout = '10ms'");
    const waits = parties.map((party, i) => tries(party, accounts[1 - i]!));
    const [first, second] = await unstuck(Promise.all(waits), "a party");
    assert.equal(first?.code, "55P03");
    assert.equal(second, null);
  });
});

describe("prepared transactions", () => {
  /** Leaves the account locked by a prepared transaction of the first shard. */
  async function prepare(account: number, gid: string): Promise<void> {
    const session = await stage.stage.shards[0]!.connect();
    await session.query(`BEGIN; ${touching(account)}; PREPARE TRANSACTION '${gid}'`);
    await session.end();
  }

  /** What the names of pgxa's transactions have in common until its next start. */
  async function epoch(): Promise<string> {
    const { parties, accounts } = await holders(2);
    const wait = parties[1]!.wants(touching(accounts[0]!));
    await stage.untilWaiting(1);
    const [shown] = await stage.show<{ gtrid: string }>("SHOW WAITS");
    await parties[0]!.run("COMMIT");
    assert.equal(await wait, null);
    return shown!.gtrid.split(":")[2]!;
  }

  test("that are foreign are shown, waited for, and never part of a circle", LIMIT, async () => {
    await nothingBroken(async () => {
      const account = stage.account(0);
      await prepare(account, "somebody:1");
      const { parties, accounts } = await holders(3);
      const waits = [parties[1]!.wants(touching(account)), parties[2]!.wants(touching(accounts[1]!))];
      await stage.untilWaiting(2);
      await later(LONG_MS);
      const shown = (await stage.show<{ json: WaitRow }>("SHOW WAITS")).map(({ json }) => json);
      const wait = shown.find(({ client }) => client === parties[1]!.id)!;
      assert.deepEqual(wait.blockedBy, ["prepared transaction somebody:1"]);
      await stage.observer(0).query("COMMIT PREPARED 'somebody:1'");
      await nobodyGivesWay(waits);
      await parties[0]!.rollback();
    });
  });

  test("that pgxa itself left are resolved as soon as somebody waits for them", LIMIT, async () => {
    const account = stage.account(0);
    await prepare(account, `pgxa:test:one:${await epoch()}:zzzz::east`);
    const { parties } = await holders(2);
    await nobodyGivesWay([parties[1]!.wants(touching(account))]);
    await parties[0]!.rollback();
    assert.deepEqual((await stage.stage.onShards("SELECT gid FROM pg_prepared_xacts")).flat(), []);
  });

  test("of a client that is being committed: whoever it waits for gives way", LIMIT, async () => {
    const [referring, referred, row] = [stage.account(0), stage.account(0), stage.account(1)];
    const [committer, other] = (await stage.parties(2)) as [Party, Party];
    await other.begin();
    await other.run(`SELECT FROM accounts WHERE id = ${referred} FOR UPDATE`);
    await other.touch(...Array.from({ length: 5 }, () => stage.account(0)));
    await committer.begin();
    await committer.touch(row);
    // That the sponsor exists is checked by PREPARE TRANSACTION, which waits for who has locked it.
    const insert = committer.wants(
      `INSERT INTO pledges (account_id, sponsor) VALUES (${referring}, ${referred})`,
    );
    await stage.until("it is prepared on one shard", async () => {
      const { rows } = await stage.observer(1).query("SELECT FROM pg_prepared_xacts");
      return rows.length === 1;
    });
    const { index } = onlyVictim(await unstuck(Promise.all([insert, other.wants(touching(row))]), "a party"));
    assert.equal(index, 1);
    await other.rollback();
  });
});
