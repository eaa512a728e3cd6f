/**
 * Online restarts under load: transfers on one shard and over two, clients that stay, and clients that connect anew for
 * each transaction. Not one of them may fail, and no money may be lost.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type pg from "pg";
import { areGone } from "../../src/cli/osProcess.ts";
import { RestartStage } from "./restartStage.ts";

const RESTARTS = 3;
const STAYING = 12;
const COMING = 4;

interface Count {
  done: number;
  readonly failures: string[];
}

for (const transaction of [{}, { log: "shard", log_directory: undefined }]) {
  describe(`online restarts under load, with ${JSON.stringify(transaction)}`, { timeout: 300_000 }, () => {
    let stage: RestartStage;
    before(async () => {
      stage = await RestartStage.open({
        settings: { max_prepared_transactions: "100", max_connections: "200" },
        config: { pool: { max: 10 }, transaction },
      });
      await stage.start();
    });
    after(() => stage?.stop());

    async function transfer(client: pg.Client, seq: number): Promise<void> {
      const [east, west] = stage.stage.accounts as [readonly number[], readonly number[]];
      const from = east[seq % east.length]!;
      const to = seq % 3 === 0 ? east[(seq + 1) % east.length]! : west[seq % west.length]!;
      const add = "UPDATE accounts SET balance = balance + $2 WHERE id = $1";
      // In the same order everywhere: nobody is to be a deadlock's victim.
      const parts = [
        { id: from, change: seq % 2 === 0 ? -1 : 1 },
        { id: to, change: seq % 2 === 0 ? 1 : -1 },
      ].sort((a, b) => a.id - b.id);
      await client.query("BEGIN");
      for (const { id, change } of parts) {
        const isNamed = seq % 4 === 0;
        await client.query({ ...(isNamed ? { name: "add" } : {}), text: add, values: [id, change] });
      }
      await client.query("COMMIT");
    }

    async function stay(count: Count, seed: number, isOver: () => boolean): Promise<void> {
      const client = await stage.connect();
      for (let i = seed; !isOver(); i += 1) {
        try {
          await transfer(client, i);
          count.done += 1;
        } catch (error) {
          count.failures.push(String(error));
          return;
        }
      }
      await client.end();
    }

    async function come(count: Count, seed: number, isOver: () => boolean): Promise<void> {
      for (let i = seed; !isOver(); i += 1) {
        try {
          const client = await stage.connect();
          await transfer(client, i);
          await client.end();
          count.done += 1;
        } catch (error) {
          count.failures.push(String(error));
          return;
        }
      }
    }

    test(`${RESTARTS} restarts, no transaction fails and no connection is refused`, async (t) => {
      const staying: Count = { done: 0, failures: [] };
      const coming: Count = { done: 0, failures: [] };
      let isOver = false;
      const working = [
        ...Array.from({ length: STAYING }, (_, i) => stay(staying, 1_000 * i, () => isOver)),
        ...Array.from({ length: COMING }, (_, i) => come(coming, 500_000 + 1_000 * i, () => isOver)),
      ];
      const moved: number[] = [];
      for (let round = 0; round < RESTARTS; round += 1) {
        const before = staying.done + coming.done;
        await stage.until(() => staying.done + coming.done > before + 100, "there is load");
        const old = stage.pid;
        await stage.restart();
        assert.ok(await areGone([old], 30_000), "the old process ends under load");
        moved.push(stage.count("restart.finished"));
      }
      const last = staying.done + coming.done;
      await stage.until(() => staying.done + coming.done > last + 100, "work goes on");
      isOver = true;
      await Promise.all(working);
      t.diagnostic(
        `${staying.done} transactions of clients that stayed, ${coming.done} of clients that came anew`,
      );
      assert.deepEqual([staying.failures, coming.failures], [[], []]);
      assert.deepEqual(moved, [1, 2, 3]);
      await stage.settled();
      assert.equal(await stage.surplus(), 0);
    });
  });
}
