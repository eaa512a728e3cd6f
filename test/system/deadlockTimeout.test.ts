/**
 * `pgxa.lock_timeout`: how it is set, and that it ends the waits into which nobody can look, and no others.
 *
 * A shard cannot be asked when the session that asks is gone and no new one is let in: it has been ended here, and all
 * the server's connections are taken.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import pg from "pg";
import { DeadlockStage, LIMIT, later, outcome, type Party, touching, unstuck } from "./deadlockStage.ts";
import * as raw from "./rawClient.ts";

let stage: DeadlockStage;

before(async () => {
  stage = await DeadlockStage.open({ settings: { max_connections: "20" } });
});
after(() => stage?.stop());

const shown = async ({ client }: Party, name = "lock_timeout"): Promise<unknown> => {
  const { rows, fields } = await client.query(`SHOW pgxa.${name}`);
  assert.equal(fields[0]!.name, `pgxa.${name}`);
  return Object.values(rows[0])[0];
};

describe("the settings of one who waits", () => {
  const VALID: readonly (readonly [string, string])[] = [
    ["pgxa.lock_timeout", "0"],
    ["pgxa.lock_timeout", "250"],
    ["pgxa.lock_timeout", "250ms"],
    ["pgxa.lock_timeout", "5s"],
    ["pgxa.lock_timeout", "2min"],
    ["pgxa.lock_timeout", "1h"],
    ["pgxa.deadlock_priority", "-10"],
    ["pgxa.deadlock_priority", "0"],
    ["pgxa.deadlock_priority", "10"],
  ];

  test("are shown as they were set", LIMIT, async () => {
    const party = await stage.party();
    for (const [name, value] of VALID) {
      await party.run(`SET ${name} = '${value}'`);
      assert.equal(await shown(party, name.slice("pgxa.".length)), value);
    }
    await party.run("SET pgxa.lock_timeout = 100", "SET pgxa.deadlock_priority TO 3");
    assert.deepEqual([await shown(party), await shown(party, "deadlock_priority")], ["100", "3"]);
  });

  const INVALID: readonly (readonly [string, string])[] = [
    ["pgxa.lock_timeout", "-1"],
    ["pgxa.lock_timeout", "soon"],
    ["pgxa.lock_timeout", "5 parsecs"],
    ["pgxa.lock_timeout", "1.5s"],
    ["pgxa.lock_timeout", "9999999999999"],
    ["pgxa.deadlock_priority", "11"],
    ["pgxa.deadlock_priority", "-11"],
    ["pgxa.deadlock_priority", "high"],
    ["pgxa.deadlock_priority", "1.5"],
  ];

  for (const [name, value] of INVALID) {
    test(`${name} cannot be '${value}'`, LIMIT, async () => {
      const party = await stage.party();
      await assert.rejects(party.run(`SET ${name} = '${value}'`), {
        code: "22023",
        message: `invalid value for parameter "${name}": "${value}"`,
      });
      assert.equal(await shown(party, name.slice("pgxa.".length)), "");
    });
  }

  test("are as before after RESET", LIMIT, async () => {
    const party = await stage.party();
    await party.run("SET pgxa.lock_timeout = '5s'", "RESET pgxa.lock_timeout");
    assert.equal(await shown(party), "");
    await party.run("SET pgxa.lock_timeout = '5s'", "SET pgxa.lock_timeout TO DEFAULT");
    assert.equal(await shown(party), "");
    await party.run("SET pgxa.lock_timeout = '5s'", "DISCARD ALL");
    assert.equal(await shown(party), "");
  });

  test("hold until the end of the transaction if they are SET LOCAL", LIMIT, async () => {
    const party = await stage.party();
    await party.run("SET pgxa.lock_timeout = '5s'");
    await party.run("BEGIN", "SET LOCAL pgxa.lock_timeout = '1s'");
    assert.equal(await shown(party), "1s");
    await party.run("COMMIT");
    assert.equal(await shown(party), "5s");
  });

  test("are undone by ROLLBACK", LIMIT, async () => {
    const party = await stage.party();
    await party.run("BEGIN", "SET pgxa.lock_timeout = '1s'", "ROLLBACK");
    assert.equal(await shown(party), "");
    await party.run("BEGIN", "SET pgxa.lock_timeout = '1s'", "COMMIT");
    assert.equal(await shown(party), "1s");
  });

  test("are set by the extended protocol as well", LIMIT, async () => {
    const client = await raw.RawClient.login(stage.stage.port);
    const step = (sql: string): Buffer[] => [raw.parse("", sql), raw.bind(""), raw.execute(), raw.sync()];
    client.send(...step("SET pgxa.lock_timeout = '3s'"), ...step("SHOW pgxa.lock_timeout"));
    await client.until("Z");
    const row = (await client.until("Z")).find(({ type }) => type === "D")!;
    assert.ok(row.body.includes("3s"));
    client.send(...step("SET pgxa.lock_timeout = 'soon'"));
    const refusal = (await client.until("Z")).find(({ type }) => type === "E")!;
    assert.equal(raw.errorField(refusal, "C"), "22023");
    client.close();
  });
});

describe("a wait on a shard", () => {
  /** One that holds a row of the second shard, and one that holds a row of the first and may wait for it. */
  async function holderAndWaiter(): Promise<{ holder: Party; waiter: Party; row: number; own: number }> {
    const [holder, waiter] = (await stage.parties(2)) as [Party, Party];
    const [row, own] = [stage.account(1), stage.account(0)];
    await holder.begin();
    await holder.touch(row);
    await waiter.begin();
    await waiter.touch(own, stage.account(1));
    return { holder, waiter, row, own };
  }

  test("that can be asked is never ended by it", LIMIT, async () => {
    const { holder, waiter, row } = await holderAndWaiter();
    await waiter.run("SET LOCAL pgxa.lock_timeout = '50ms'");
    const wait = waiter.wants(touching(row));
    await stage.untilWaiting(1);
    await later(600);
    await holder.run("COMMIT");
    assert.equal(await unstuck(wait, "the waiter"), null);
  });

  test("that cannot be asked is ended by it, on all shards, and the client can go on", LIMIT, async () => {
    const { holder, waiter, row, own } = await holderAndWaiter();
    await waiter.run("SET pgxa.lock_timeout = '1500ms'");
    const open = await makeBlind();
    try {
      const error = await unstuck(waiter.wants(touching(row)), "the waiter");
      assert.equal(error?.code, "55P03");
      assert.equal(error.message, "canceling statement due to lock timeout");
      assert.match(error.detail!, /Shard "north" cannot be asked what it waits for\./);
      // Answered behind the ReadyForQuery of the error, which comes when all is rolled back.
      await assert.rejects(waiter.run("SELECT 1"), { code: "25P02" });
      await stage.isFree(0, own);
      await waiter.rollback();
      await waiter.touch(own);
    } finally {
      await open();
    }
    await holder.run("COMMIT");
  });

  test("that cannot be asked lasts while it is 0", LIMIT, async () => {
    const { holder, waiter, row } = await holderAndWaiter();
    await waiter.run("SET LOCAL pgxa.lock_timeout = 0");
    const open = await makeBlind();
    try {
      const wait = waiter.wants(touching(row));
      await stage.untilWaiting(1);
      await later(600);
      await holder.run("COMMIT");
      assert.equal(await unstuck(wait, "the waiter"), null);
    } finally {
      await open();
    }
  });

  test("a circle through it ends by it, and once it can be asked again, by being seen", LIMIT, async () => {
    const open = await circle(await makeBlind(), "55P03");
    await open();
    await circle(async () => {}, "40P01");
  });

  /** Closes a circle of two that ends with `code` for one of them. */
  async function circle(open: () => Promise<void>, code: string): Promise<() => Promise<void>> {
    try {
      const { holder, waiter, row, own } = await holderAndWaiter();
      await waiter.run("SET LOCAL pgxa.lock_timeout = '300ms'");
      const ends = async (party: Party, account: number) => {
        const error = await party.wants(touching(account));
        if (error !== null) await party.rollback();
        return error;
      };
      const errors = await unstuck(Promise.all([ends(waiter, row), ends(holder, own)]), "a party");
      assert.deepEqual(
        errors.filter((error) => error !== null).map((error) => error.code),
        [code],
      );
      return open;
    } catch (error) {
      await open();
      throw error;
    }
  }

  /** Makes it impossible to ask the second shard; resolves with what makes it possible again. */
  async function makeBlind(): Promise<() => Promise<void>> {
    // What pgxa needs besides, it has to have before.
    const warm = await stage.parties(2);
    for (const party of warm) await party.begin();
    for (const party of warm) await party.touch(stage.account(0), stage.account(1));
    for (const party of warm) await party.rollback();
    const shard = stage.stage.shards[1]!;
    const { host, port, user, database } = shard;
    const taken: pg.Client[] = [];
    const takeAll = async () => {
      for (;;) {
        const client = new pg.Client({ host, port, user, database });
        client.on("error", () => {});
        const error = await outcome(client.connect());
        if (error === null) taken.push(client);
        else return assert.equal(error.code, "53300");
      }
    };
    await takeAll();
    await stage.until("the session that asks is gone", async () => {
      const { rows } = await stage
        .observer(1)
        .query(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgxa deadlock'",
        );
      return rows.length === 0;
    });
    await takeAll();
    return async () => {
      await Promise.all(taken.map((client) => client.end()));
      const free = async () => (await outcome(shard.connect().then((client) => client.end()))) === null;
      await stage.until("there are connections again", free);
    };
  }
});
