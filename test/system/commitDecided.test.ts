/**
 * Commits that are acknowledged when they are decided, and a connection that is lost between its vote and the
 * decision: the client is told COMMIT, and pgxa goes on.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";
import { wantNoStandby, wantStandby } from "../support/absentStandby.ts";
import { Stage } from "./stage.ts";

const PATIENCE_MS = 60_000;
/** Sessions whose commit waits for a standby. */
const WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'";

let stage: Stage;
/** On the shard that decides, past pgxa. */
let direct: pg.Client;

before(async () => {
  const transaction = { log: "shard", log_directory: undefined, commit_ack: "decided" };
  stage = await Stage.open({ accounts: 20, config: { transaction } });
  direct = await stage.shards[1]!.connect();
});
after(async () => {
  await direct?.end();
  await stage?.stop();
});

test("an anchor that is lost after it has committed is asked, and costs nobody more than its connection", {
  timeout: 120_000,
}, async () => {
  const client = await stage.connect();
  await client.query("BEGIN");
  for (const ids of stage.accounts)
    await client.query(`UPDATE accounts SET balance = balance + 1 WHERE id = ${ids[0]}`);
  await wantStandby(stage.shards[1]!);
  const committing = client.query("COMMIT");
  const anchor = await patiently("the anchor waits for the standby", async () => {
    const { rows } = await direct.query<{ pid: number }>(`${WAITING} AND query = 'COMMIT'`);
    return rows[0]?.pid;
  });
  await direct.query("SELECT pg_terminate_backend($1)", [anchor]);
  await patiently("the anchor is gone", async () => {
    const { rowCount } = await direct.query("SELECT FROM pg_stat_activity WHERE pid = $1", [anchor]);
    return rowCount === 0 ? true : undefined;
  });
  await wantNoStandby(stage.shards[1]!);
  assert.equal((await committing).command, "COMMIT");
  const raised = "SELECT id FROM accounts WHERE balance > 1000";
  await patiently("both shards have applied it", async () => {
    const found = await stage.onShards(raised);
    return found.every((rows) => rows.length === 1) ? true : undefined;
  });
  assert.deepEqual((await stage.onShards("SELECT gid FROM pg_prepared_xacts")).flat(), []);
  await client.query("BEGIN");
  for (const ids of stage.accounts)
    await client.query(`UPDATE accounts SET balance = balance - 1 WHERE id = ${ids[0]}`);
  assert.equal((await client.query("COMMIT")).command, "COMMIT");
});

/** Asks until there is an answer. */
async function patiently<T>(what: string, ask: () => Promise<T | undefined>): Promise<T> {
  const untilMs = performance.now() + PATIENCE_MS;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    assert.ok(performance.now() < untilMs, what);
    await delay(10);
  }
}
