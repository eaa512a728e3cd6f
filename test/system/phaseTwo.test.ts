/**
 * A shard that does not come to an end with COMMIT PREPARED: it waits for a synchronous standby that nobody has, and all else
 * on it works. Who is not concerned notices nothing.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";
import { wantStandby } from "../support/absentStandby.ts";
import { Stage } from "./stage.ts";

const WAITS = "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'";

describe("a shard that hangs in phase 2", { timeout: 120_000 }, () => {
  let stage: Stage;
  let control: pg.Client;

  before(async () => {
    stage = await Stage.open({
      shards: 3,
      config: { transaction: { commit_timeout: "60s" }, pool: { max: 3 } },
    });
    control = await stage.shards[2]!.connect();
  });
  after(async () => {
    await control?.end();
    await stage?.stop();
  });

  /** One from each of the shards that are named, in one transaction that itself asks for no standby. */
  async function pay(client: pg.Client, nth: number, ...shards: readonly number[]): Promise<void> {
    await client.query("BEGIN");
    for (const shard of shards) {
      const id = stage.accounts[shard]![nth]!;
      await client.query(`UPDATE accounts SET balance = balance - 1 WHERE id = ${id}`);
      await client.query("SET LOCAL synchronous_commit = local");
    }
    await client.query("COMMIT");
  }

  async function waitFor(isWaiting: boolean): Promise<void> {
    while (((await control.query(WAITS)).rowCount !== 0) !== isWaiting) await delay(5);
  }

  test("holds up neither its pool's other clients nor commits on other shards, and is heard in the end", async () => {
    const [stuck, others, reader] = await Promise.all([stage.connect(), stage.connect(), stage.connect()]);
    await wantStandby(stage.shards[2]!);
    let isStuck = true;
    const committing = pay(stuck, 0, 0, 2).finally(() => (isStuck = false));
    await waitFor(true);
    for (let i = 1; i < 6; i += 1) {
      await pay(others, i, 0, 1);
      await reader.query(`SELECT balance FROM accounts WHERE id = ${stage.accounts[2]![i]}`);
      await pay(others, i, 2);
    }
    assert.equal(isStuck, true);
    await control.query("ALTER SYSTEM RESET synchronous_standby_names");
    await control.query("SELECT pg_reload_conf()");
    await committing;
    const { rows } = await reader.query(`SELECT balance FROM accounts WHERE id = ${stage.accounts[2]![0]}`);
    assert.deepEqual(rows, [{ balance: "999" }]);
  });
});
