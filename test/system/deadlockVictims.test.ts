/**
 * Who gives way: the policies of `deadlock.victim`, and that it is not the same client every time.
 *
 * One stage for each policy; the parties differ in what they wrote, when they began and what they set.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { DeadlockStage, LIMIT, onlyVictim, type Party, touching, unstuck } from "./deadlockStage.ts";

type Policy = "least_work" | "youngest" | "priority";

interface Role {
  /** How many rows it writes before the one that the other wants. */
  readonly writes?: number;
  /** `SET pgxa.deadlock_priority` to this. */
  readonly priority?: number;
}

for (const policy of ["least_work", "youngest", "priority"] satisfies readonly Policy[]) {
  describe(`deadlock.victim: ${policy}`, () => {
    let stage: DeadlockStage;

    before(async () => {
      stage = await DeadlockStage.open({ config: { deadlock: { victim: policy } } });
    });
    after(() => stage?.stop());

    /** Which of two in a circle gives way; the older one comes first. */
    async function loser(roles: readonly [Role, Role], clients?: readonly Party[]): Promise<number> {
      const parties = clients ?? (await stage.parties(2));
      const accounts = [stage.account(0), stage.account(1)];
      for (const [i, party] of parties.entries()) {
        const { priority, writes = 0 } = roles[i]!;
        if (priority !== undefined) await party.run(`SET pgxa.deadlock_priority = ${priority}`);
        await party.begin();
        await party.touch(accounts[i]!, ...Array.from({ length: writes }, () => stage.account(i)));
      }
      const waits = parties.map((party, i) => party.wants(touching(accounts[1 - i]!)));
      const { index } = onlyVictim(await unstuck(Promise.all(waits), "a party"));
      await parties[index]!.rollback();
      return index;
    }

    const tests: Readonly<Record<Policy, () => void>> = {
      least_work() {
        test("the one that has written less", LIMIT, async () => {
          assert.equal(await loser([{ writes: 1 }, { writes: 3 }]), 0);
          assert.equal(await loser([{ writes: 3 }, { writes: 1 }]), 1);
        });

        test("the younger one of those that have written alike, whatever their priority", LIMIT, async () => {
          assert.equal(await loser([{}, {}]), 1);
          assert.equal(await loser([{ priority: -10 }, { priority: 10 }]), 1);
        });

        test("not one that only stands in a queue", LIMIT, async () => {
          // In front of the second party somebody without BEGIN waits, who has done nothing and holds nothing.
          const parties = await stage.parties(2);
          const [first, second] = parties as [Party, Party];
          const accounts = [stage.account(0), stage.account(1)] as const;
          await first.begin();
          await first.touch(accounts[0], stage.account(0), stage.account(0));
          await second.begin();
          await second.touch(accounts[1], stage.account(1));
          const bystander = await stage.party();
          const waits = [bystander.touch(accounts[0]).then(() => null)];
          await stage.untilWaiting(1);
          waits.push(second.wants(touching(accounts[0])) as Promise<null>);
          await stage.untilWaiting(2);
          waits.push(first.wants(touching(accounts[1])) as Promise<null>);
          assert.equal(onlyVictim(await unstuck(Promise.all(waits), "somebody")).index, 1);
          await second.rollback();
        });
      },

      youngest() {
        test("the one that began last, whatever it has written", LIMIT, async () => {
          assert.equal(await loser([{}, { writes: 5 }]), 1);
          assert.equal(await loser([{ writes: 5 }, {}]), 1);
        });
      },

      priority() {
        test("the one with the lowest, whatever it has written and when it began", LIMIT, async () => {
          assert.equal(await loser([{ priority: -1, writes: 5 }, {}]), 0);
          assert.equal(await loser([{}, { priority: 1 }]), 0);
          assert.equal(
            await loser([
              { priority: 5, writes: 5 },
              { priority: 4, writes: 9 },
            ]),
            1,
          );
        });

        test("the one that has written less of those with the same", LIMIT, async () => {
          assert.equal(await loser([{ writes: 1 }, { writes: 2 }]), 0);
          assert.equal(
            await loser([
              { priority: 3, writes: 1 },
              { priority: 3, writes: 2 },
            ]),
            0,
          );
        });

        test("SET LOCAL counts for its transaction", LIMIT, async () => {
          const [first, second] = (await stage.parties(2)) as [Party, Party];
          const accounts = [stage.account(0), stage.account(1)] as const;
          await first.begin();
          await first.run("SET LOCAL pgxa.deadlock_priority = -3");
          await first.touch(accounts[0], stage.account(0), stage.account(0));
          await second.begin();
          await second.touch(accounts[1]);
          const waits = [first.wants(touching(accounts[1])), second.wants(touching(accounts[0]))];
          assert.equal(onlyVictim(await unstuck(Promise.all(waits), "a party")).index, 0);
          await first.rollback();
          const { rows } = await first.client.query("SHOW pgxa.deadlock_priority");
          assert.deepEqual(Object.values(rows[0]), [""]);
        });

        test("the same one every time, if it is set so", LIMIT, async () => {
          const parties = await stage.parties(2);
          for (let round = 0; round < 3; round += 1) {
            assert.equal(await loser([{ priority: -1, writes: 5 }, { priority: 1 }], parties), 0);
          }
        });
      },
    };
    tests[policy]();

    if (policy !== "priority") {
      test("not the same client again, until it has committed", LIMIT, async () => {
        const parties = await stage.parties(2);
        const roles = policy === "least_work" ? ([{ writes: 3 }, {}] as const) : ([{}, {}] as const);
        assert.equal(await loser(roles, parties), 1);
        assert.equal(await loser(roles, parties), 0, "it is the other's turn");
        assert.equal(await loser(roles, parties), 1, "both were spared once, and the second has committed");
      });
    }
  });
}
