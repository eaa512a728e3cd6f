/** Limits that hold for all workers together, on real shards. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type pg from "pg";
import { Command } from "../cli/command.ts";
import { Stage } from "./stage.ts";
import { WorkersStage } from "./workersStage.ts";

const WAIT = { timeout: 120_000 };
const POOL = { max: 4, checkout_timeout: "30s" };

/** Connections to the shard that somebody uses. */
const IN_USE =
  "SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND state <> 'idle'";

const begin = (clients: readonly pg.Client[]) =>
  Promise.all(clients.map((client) => client.query("BEGIN; SELECT 1")));
const commit = (clients: readonly pg.Client[]) =>
  Promise.all(clients.map((client) => client.query("COMMIT")));
const end = (clients: readonly pg.Client[]) => Promise.all(clients.map((client) => client.end()));

/** Whether `work` is done before the shard has answered a few times. */
async function isSettled(work: Promise<unknown>, meanwhile: () => Promise<unknown>): Promise<boolean> {
  let isDone = false;
  void work.then(() => (isDone = true));
  for (let i = 0; i < 20; i += 1) await meanwhile();
  return isDone;
}

describe("workers in front of one shard", WAIT, () => {
  let stage: Stage;
  before(async () => {
    stage = await Stage.open({ shards: 1, isOpen: false });
  });
  after(() => stage.stop());

  const inUse = async (): Promise<number> => {
    const [rows] = await stage.onShards<{ count: number }>(IN_USE);
    return rows![0]!.count;
  };

  async function withWorkers(
    size: number,
    sections: Readonly<Record<string, unknown>>,
    work: (workers: WorkersStage) => Promise<void>,
  ): Promise<void> {
    const workers = await WorkersStage.open(stage, size, sections);
    try {
      await work(workers);
    } finally {
      await workers.stop();
    }
  }

  it("have all connections where they are needed, and never more together than there may be", async () => {
    await withWorkers(2, { pool: POOL }, async (workers) => {
      const [ones, others] = [await workers.connectAll(0, 4), await workers.connectAll(1, 4)];
      await begin(ones); // two are the first one's from the start
      assert.equal(await inUse(), 4);
      const begun = begin(others.slice(0, 1));
      assert.equal(await isSettled(begun, inUse), false);
      await commit(ones);
      await begun;
      await begin(others.slice(1)); // what the first one opened is closed
      assert.equal(await inUse(), 4);
      await commit(others);
    });
  });

  it("serve clients of each, however many those of the other are", async () => {
    await withWorkers(2, { pool: POOL }, async (workers) => {
      const many = await workers.connectAll(0, 30);
      const few = await workers.connectAll(1, 2);
      let isOver = false;
      let most = 0;
      const load = many.map(async (client) => {
        while (!isOver) await client.query("BEGIN; SELECT pg_sleep(0.002); COMMIT");
      });
      for (let i = 0; i < 50; i += 1) {
        for (const client of few) await client.query("BEGIN; SELECT 1; COMMIT");
        most = Math.max(most, await inUse());
      }
      isOver = true;
      await Promise.all(load);
      assert.ok(most > 0 && most <= 4, `${most} in use`);
    });
  });

  it("take turns with the only connection", async () => {
    await withWorkers(3, { pool: { ...POOL, max: 1 } }, async (workers) => {
      const clients = await Promise.all([0, 1, 2].map((index) => workers.connect(index)));
      const served = [0, 0, 0];
      const isEnough = () => Math.min(...served) >= 20;
      await Promise.all(
        clients.map(async (client, i) => {
          while (!isEnough()) {
            await client.query("SELECT 1");
            served[i]! += 1;
          }
        }),
      );
      assert.ok(isEnough());
    });
  });

  it("have what one had that is gone", async () => {
    await withWorkers(2, { pool: POOL }, async (workers) => {
      await begin(await workers.connectAll(0, 3));
      const others = await workers.connectAll(1, 4);
      const begun = begin(others);
      assert.equal(await isSettled(begun, inUse), false);
      await workers.lose(0);
      await begun;
      await commit(others);
    });
  });

  it("keep to a user's bound together", async () => {
    const users = [{ name: "postgres", pool_max: 2 }];
    await withWorkers(2, { pool: POOL, users }, async (workers) => {
      const [ones, others] = [await workers.connectAll(0, 2), await workers.connectAll(1, 1)];
      await begin(ones);
      const begun = begin(others);
      assert.equal(await isSettled(begun, inUse), false);
      await commit(ones.slice(0, 1));
      await begun;
      await commit([...ones.slice(1), ...others]);
    });
  });

  it("let in as many clients together as there may be", async () => {
    const limits = { clients_max: 5, user_clients_max: 3 };
    await withWorkers(2, { pool: POOL, limits }, async (workers) => {
      const ones = await workers.connectAll(0, 3);
      await assert.rejects(workers.connect(0), { code: "53300", message: /for role "postgres"/ });
      await assert.rejects(workers.connect(1), { code: "53300", message: /for role "postgres"/ });
      const second = await workers.connectAll(1, 2, { user: "other" });
      await assert.rejects(workers.connect(1, { user: "third" }), { code: "53300" });
      await assert.rejects(workers.connect(0, { user: "third" }), { code: "53300" });
      await end(ones);
      const third = await workers.connectAll(1, 3, { user: "third" });
      await assert.rejects(workers.connect(1), { code: "53300" });
      await assert.rejects(workers.connect(0, { user: "third" }), { code: "53300" });
      await end(second);
      await workers.connect(1);
      await end(third);
    });
  });
});

describe("workers in front of several shards", WAIT, () => {
  let stage: Stage;
  let workers: WorkersStage;
  before(async () => {
    stage = await Stage.open({ shards: 2, isOpen: false });
    workers = await WorkersStage.open(stage, 2, { pool: { ...POOL, max: 3 } });
  });
  after(async () => {
    await workers?.stop();
    await stage?.stop();
  });

  const lookup = (client: pg.Client, shard: number) =>
    client.query("SELECT balance FROM accounts WHERE id = $1", [stage.accounts[shard]![0]]);

  it("let in as many transactions together as there are connections to each shard", async () => {
    const [ones, [other]] = [await workers.connectAll(0, 3), await workers.connectAll(1, 1)];
    for (const client of ones) {
      await client.query("BEGIN");
      await lookup(client, 0);
    }
    await other!.query("BEGIN");
    const looked = lookup(other!, 1);
    assert.equal(await isSettled(looked, () => stage.onShards("SELECT 1")), false);
    for (const client of ones) await lookup(client, 1); // who is in finds a connection of every shard
    await commit(ones);
    await looked;
    await lookup(other!, 0);
    await other!.query("COMMIT");
    await end([...ones, other!]);
  });

  it("lose no money and refuse nobody under load on both", async () => {
    const clients = [...(await workers.connectAll(0, 6)), ...(await workers.connectAll(1, 6))];
    await Promise.all(
      clients.map(async (client, i) => {
        for (let round = 0; round < 15; round += 1) {
          const [from, to] = [stage.accounts[round % 2]![i]!, stage.accounts[(round + 1) % 2]![i]!];
          await client.query("BEGIN");
          await client.query("UPDATE accounts SET balance = balance - 1 WHERE id = $1", [from]);
          await client.query("UPDATE accounts SET balance = balance + 1 WHERE id = $1", [to]);
          await client.query("COMMIT");
        }
      }),
    );
    const sums = await stage.onShards<{ sum: string }>("SELECT sum(balance) FROM accounts");
    assert.equal(
      sums.flat().reduce((total, { sum }) => total + Number(sum), 0),
      100_000,
    );
    await end(clients);
  });
});

describe("pgxa up with two workers", { timeout: 150_000 }, () => {
  let stage: Stage;
  let command: Command;
  let port: number;
  before(async () => {
    stage = await Stage.open({ shards: 1, isOpen: false });
    stage.writeConfig({ workers: 2, pool: { ...POOL, max: 3 }, log: { level: "info" } });
    command = new Command(["up", "--config", stage.file]);
    const [, found] = await command.printed(/^pgxa is listening on 127\.0\.0\.1:(\d+)/);
    port = Number(found);
  });
  after(async () => {
    command?.process.kill("SIGKILL");
    await stage?.stop();
  });

  it("has as many connections to the shard as there may be, also after a worker was killed", async () => {
    const inUse = async (): Promise<number> => {
      const [rows] = await stage.onShards<{ count: number }>(IN_USE);
      return rows![0]!.count;
    };
    const clients = await Promise.all(Array.from({ length: 16 }, () => stage.connect({ port })));
    await begin(clients.slice(0, 3));
    assert.equal(await inUse(), 3, "however they are spread over the workers");
    const waiting = clients.slice(3).map((client) => client.query("SELECT pg_sleep(0.001)"));
    assert.equal(await isSettled(Promise.race(waiting), inUse), false);
    await commit(clients.slice(0, 3));
    await Promise.all(waiting);
    const [, pid] = /"worker.started".*?"pid":(\d+)/.exec(command.stderr) ?? [];
    process.kill(Number(pid), "SIGKILL");
    const others = await Promise.all(Array.from({ length: 16 }, () => reconnect(stage, port)));
    await begin(others.slice(0, 3));
    assert.equal(await inUse(), 3);
    await commit(others.slice(0, 3));
    await Promise.all(others.map((client) => client.query("SELECT 1")));
  });
});

/** A client of a port on which one of several listeners may be gone. */
async function reconnect(stage: Stage, port: number): Promise<pg.Client> {
  for (;;) {
    try {
      return await stage.connect({ port });
    } catch {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}
