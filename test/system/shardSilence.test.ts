/**
 * A shard that says nothing any more, as behind a firewall or on a machine that hangs: its processes are stopped, so
 * that connections stand and nobody answers. Who uses the other shard is not to feel it.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import type pg from "pg";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 120_000 };
const CONFIG = {
  health: { interval: "200ms", timeout: "1500ms", backoff_max: "200ms", give_up: "500ms" },
  pool: { connect_timeout: "2s" },
};

interface Outcome {
  readonly sqlstate: string;
  readonly hint: string;
}
const outcomeOf = (work: Promise<unknown>): Promise<Outcome> =>
  work.then(
    () => ({ sqlstate: "none", hint: "" }),
    ({ code, message, hint }: Error & { code?: string; hint?: string }) => ({
      sqlstate: code ?? message,
      hint: hint ?? "",
    }),
  );

describe("a shard that is silent", () => {
  let stage: Stage;
  let east: string;
  let west: string;
  const find = (shard: number) => `SELECT balance FROM accounts WHERE id = ${stage.accounts[shard]![0]}`;
  const update = (shard: number) =>
    `UPDATE accounts SET balance = balance + 1 WHERE id = ${stage.accounts[shard]![0]}`;

  before(async () => {
    stage = await Stage.open({ config: CONFIG });
    east = find(0);
    west = find(1);
  });
  afterEach(() => stage.shards[0]!.signalAll("SIGCONT"));
  after(() => stage?.stop());

  /** Asks until the answer is `sqlstate`; nothing but `allowed` may come before. */
  async function until(client: pg.Client, sql: string, sqlstate: string, allowed: RegExp): Promise<Outcome> {
    for (;;) {
      const outcome = await outcomeOf(client.query(sql));
      if (outcome.sqlstate === sqlstate) return outcome;
      assert.match(outcome.sqlstate, allowed);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  test(
    "is refused at once after a while, serves again when it is back, and the other never fails",
    WAIT,
    async () => {
      const [asker, worker, waiter] = await Promise.all([stage.connect(), stage.connect(), stage.connect()]);
      await Promise.all([asker.query(east), worker.query(west), waiter.query(east)]);
      await waiter.query("BEGIN");
      await waiter.query(update(0));
      stage.shards[0]!.signalAll("SIGSTOP");
      const stuck = outcomeOf(waiter.query(east));
      let isOver = false;
      let served = 0;
      const working = (async () => {
        while (!isOver) {
          await worker.query("BEGIN");
          await worker.query(update(1));
          await worker.query("COMMIT");
          await worker.query(west);
          served += 1;
        }
      })();
      const refused = await until(asker, east, "57P03", /^(08001|08006)$/);
      assert.match(refused.hint, /^It has been down since \d{4}-.* \(\d+ s\)/);
      for (let i = 0; i < 20; i += 1) {
        const { sqlstate } = await outcomeOf(asker.query(east));
        assert.match(sqlstate, /^(57P03|08001)$/);
      }
      assert.equal((await stuck).sqlstate, "08006", "who waits for an answer is not left waiting");
      assert.equal((await outcomeOf(waiter.query(west))).sqlstate, "25P02");
      await waiter.query("ROLLBACK");
      await waiter.query(west);
      const newcomer = await stage.connect({ options: "-c statement_timeout=12345" });
      await newcomer.query(west);
      await newcomer.query("SELECT 1"); // any shard can say that
      const before = served;
      while (served < before + 20) await new Promise((resolve) => setTimeout(resolve, 10));
      isOver = true;
      await working;
      stage.shards[0]!.signalAll("SIGCONT");
      await until(asker, east, "none", /^(57P03|08001|08006)$/);
      await waiter.query("BEGIN");
      await waiter.query(update(0));
      await waiter.query(update(1));
      await waiter.query("COMMIT");
    },
  );

  test("pgxa stops although a shard hangs", WAIT, async () => {
    stage.shards[0]!.signalAll("SIGSTOP");
    await stage.closeProxy();
    stage.shards[0]!.signalAll("SIGCONT");
    await stage.openProxy();
    const client = await stage.connect();
    await client.query(east);
  });
});

test("connections that were idle for long are checked before they are lent", WAIT, async () => {
  const stage = await Stage.open({
    shards: 1,
    settings: { log_statement: "all" },
    config: { pool: { check_after: "0ms", max: 1 }, health: { interval: "1h" } },
  });
  try {
    const client = await stage.connect();
    await client.query("SELECT 'first'");
    // A parked connection goes to the pool's rest within two seconds, and is lent from there with a check.
    for (let checks = 0; checks === 0; ) {
      await new Promise((resolve) => setTimeout(resolve, 2_500));
      const [log] = await stage.logged(() => client.query("SELECT 'again'"));
      checks = (log!.match(/statement: \n/g) ?? []).length;
    }
  } finally {
    await stage.stop();
  }
});
