/**
 * Traps that a client sees, through pgxa as it is. The numbers are those of docs/two-phase-commit.md. Every pool has one
 * connection to each shard, so that the next client gets that of the one before.
 */
import assert from "node:assert/strict";
import { after, before, beforeEach, suite, test } from "node:test";
import pg from "pg";
import type { FaultPoint } from "../../src/base/faultPoint.ts";
import { type RunningProxy, startProxy } from "../../src/cli/compose.ts";
import { silentLog } from "../../src/observe/log.ts";
import { wantNoStandby, wantStandby } from "../support/absentStandby.ts";
import { Stage } from "../system/stage.ts";
import { until, waitsForStandby } from "./trapStage.ts";

suite("traps that a client sees", () => {
  let stage: Stage;
  let proxy: RunningProxy;
  let atPoint: (point: FaultPoint, index: number) => void = () => {};
  let client: pg.Client;
  let other: pg.Client;
  let east: number;
  let north: number;

  before(async () => {
    stage = await Stage.open({
      isOpen: false,
      config: { pool: { max: 1 }, transaction: { commit_timeout: "1s", resolve_interval: "200ms" } },
    });
    const faultPoint = (point: FaultPoint, index: number): void => atPoint(point, index);
    proxy = await startProxy(stage.config, { log: silentLog, faultPoint });
    [east, north] = stage.accounts.map(([first]) => first!) as [number, number];
    client = await stage.connect({ port: proxy.port });
    other = await stage.connect({ port: proxy.port });
  });
  after(async () => {
    await proxy?.stop();
    await stage?.stop();
  });
  beforeEach(async () => {
    await client.query("ROLLBACK");
    await stage.onShards("TRUNCATE transfers");
  });

  const record = (account: number, id: number): Promise<unknown> =>
    client.query("INSERT INTO transfers (account_id, id, amount) VALUES ($1, $2, 1)", [account, id]);
  const seen = async (id: number): Promise<number> =>
    (await stage.onShards("SELECT FROM transfers WHERE id = $1", [id])).flat().length;
  const timeoutOf = async (who: pg.Client, account: number): Promise<string> => {
    const sql = "SELECT current_setting('statement_timeout') AS it FROM accounts WHERE id = $1";
    return (await who.query(sql, [account])).rows[0].it;
  };

  /** Asks pgxa to cancel what `who` waits for; resolves when the request has been taken. */
  const cancel = (who: pg.Client): Promise<void> =>
    new Promise((resolve) => {
      const { processID, secretKey } = who as unknown as { processID: number; secretKey: number };
      const { connection } = new pg.Client() as unknown as { connection: pg.Connection & CancelConnection };
      connection.on("connect", () => connection.cancel(processID, secretKey));
      connection.on("end", resolve);
      connection.connect(proxy.port, "127.0.0.1");
    });

  test("trap 14: what SET changed survives PREPARE on the shard, and reaches no other client", async () => {
    await client.query("BEGIN");
    await record(east, 14);
    await client.query("SET statement_timeout = '77s'");
    await record(north, 14);
    await client.query("COMMIT");
    for (const account of [east, north]) {
      assert.equal(await timeoutOf(other, account), "0", "of another client");
      assert.equal(await timeoutOf(client, account), "77s", "of the one that said it");
    }
    await client.query("RESET statement_timeout");
  });

  test("trap 14: nor does what an aborted transaction had set, although PREPARE left it in force", async () => {
    await client.query("BEGIN");
    await record(east, 140);
    await client.query("SET statement_timeout = '78s'");
    await client.query("INSERT INTO pledges (account_id, sponsor) VALUES ($1, -1)", [north]);
    await assert.rejects(client.query("COMMIT"), { code: "23503" });
    // Where PREPARE was refused it was undone, where the branch had been prepared it was not.
    await other.query("SET statement_timeout = '78s'");
    for (const account of [east, north]) {
      assert.equal(await timeoutOf(other, account), "78s");
      assert.equal(await timeoutOf(client, account), "0");
    }
    await other.query("RESET statement_timeout");
    assert.equal(await seen(140), 0);
  });

  test("trap 23: a client's cancel does not end the wait for the standby: that would look like success", async () => {
    const shard = stage.shards[1]!;
    await client.query("BEGIN");
    await record(east, 23);
    await record(north, 23);
    await wantStandby(shard);
    const logs = await stage.logged(async () => {
      try {
        const committing = client.query("COMMIT");
        const pid = await waitsForStandby(shard);
        await cancel(client);
        assert.equal(await waitsForStandby(shard, pid), pid, "it waits on");
        await wantNoStandby(shard);
        await committing;
      } finally {
        await wantNoStandby(shard);
      }
    });
    assert.doesNotMatch(logs[1]!, /canceling wait for synchronous replication/);
    assert.equal(await seen(23), 2);
  });

  test("trap 25: COMMIT succeeds with a notice if a shard stops answering after the decision", async () => {
    const shard = stage.shards[1]!;
    await client.query("BEGIN");
    await record(east, 25);
    await record(north, 25);
    const notices: string[] = [];
    const note = (notice: { message?: string | undefined }): void => void notices.push(notice.message ?? "");
    client.on("notice", note);
    atPoint = (point) => {
      if (point === "decision.after-sync") shard.signalAll("SIGSTOP");
    };
    try {
      const { command } = await client.query("COMMIT");
      assert.equal(command, "COMMIT");
      assert.deepEqual(notices, ["the transaction is committed, but not applied everywhere yet"]);
    } finally {
      atPoint = () => {};
      client.off("notice", note);
      shard.signalAll("SIGCONT");
    }
    await until("it is everywhere", async () => (await seen(25)) === 2);
  });

  test("trap 26: COMMIT of a failed transaction has the tag ROLLBACK, and nothing of it stays", async () => {
    await client.query("BEGIN");
    await record(east, 26);
    await record(north, 26);
    await assert.rejects(record(north, 26), { code: "23505" });
    assert.equal((await client.query("COMMIT")).command, "ROLLBACK");
    assert.equal(await seen(26), 0);
  });

  test("trap 27: COMMIT AND CHAIN commits on every shard and goes on with the same characteristics", async () => {
    await client.query("BEGIN ISOLATION LEVEL SERIALIZABLE");
    await record(east, 27);
    await record(north, 27);
    assert.equal((await client.query("COMMIT AND CHAIN")).command, "COMMIT");
    assert.equal(await seen(27), 2);
    const level = "SELECT current_setting('transaction_isolation') AS level FROM accounts WHERE id = $1";
    for (const account of [east, north])
      assert.equal((await client.query(level, [account])).rows[0].level, "serializable");
    await record(east, 270);
    await client.query("ROLLBACK");
    assert.equal(await seen(270), 0, "it was in a transaction");
  });
});

interface CancelConnection {
  connect(port: number, host: string): void;
  cancel(processId: number, secretKey: number): void;
}
