/** Circles, cancel requests and signals between the clients of two workers; parties take turns. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import type pg from "pg";
import { workerOf } from "../../src/proxy/clientRegistry.ts";
import { Command } from "../cli/command.ts";
import {
  assertCircle,
  DeadlockStage,
  LIMIT,
  on,
  onlyVictim,
  outcome,
  Party,
  touching,
  unstuck,
} from "./deadlockStage.ts";
import { Stage } from "./stage.ts";

describe("deadlocks over the clients of two workers", () => {
  let stage: DeadlockStage;

  before(async () => {
    stage = await DeadlockStage.open({ workers: 2, accounts: 1_000 });
  });
  after(() => stage?.stop());

  for (const size of [2, 3, 6]) {
    test(`a circle of ${size} loses one, and the others commit`, LIMIT, async () => {
      const [record] = await stage.broken(async () => {
        const accounts = Array.from({ length: size }, (_, i) => stage.account(i % 2));
        const parties = await stage.parties(size);
        for (const [i, party] of parties.entries()) {
          await party.begin();
          await party.touch(accounts[i]!);
        }
        const waits = parties.map((party, i) => party.wants(touching(accounts[(i + 1) % size]!)));
        const { index } = onlyVictim(await unstuck(Promise.all(waits), "a party"));
        await parties[index]!.rollback();
        for (const [i, account] of accounts.entries()) await stage.isFree(i % 2, account);
        await Promise.all(parties.map(({ client }) => client.end()));
      });
      assert.equal(record!.size, size);
      assertCircle(record!);
    });
  }

  test("again and again, one at a time and one victim each", LIMIT, async () => {
    const parties = await stage.parties(2);
    for (let turn = 0; turn < 10; turn += 1) {
      const broken = await stage.broken(async () => {
        const accounts = [stage.account(0), stage.account(1)];
        for (const [i, party] of parties.entries()) {
          await party.begin();
          await party.touch(accounts[i]!);
        }
        const waits = parties.map((party, i) => party.wants(touching(accounts[1 - i]!)));
        const { index, error } = onlyVictim(await unstuck(Promise.all(waits), "a party"));
        for (const { id } of parties) assert.match(error.detail!, new RegExp(`client ${id}\\b`));
        await parties[index]!.rollback();
      });
      assert.equal(broken.length, 1);
    }
    await Promise.all(parties.map(({ client }) => client.end()));
  });

  test("SHOW WAITS on either worker names the clients of both", LIMIT, async () => {
    const [one, two] = await stage.parties(2);
    const account = stage.account(0);
    await one!.begin();
    await one!.touch(account);
    await two!.begin();
    const wait = two!.wants(touching(account));
    await stage.untilWaiting(1);
    for (const at of [0, 1]) {
      const rows = await stage.show<{ client: string; blocked_by: string }>("SHOW WAITS", at);
      assert.equal(rows.length, 1, `at worker ${at}`);
      assert.equal(String(rows[0]!.client), String(two!.id));
      assert.match(JSON.stringify(rows[0]), new RegExp(`"client ${one!.id}"`));
    }
    await one!.run("COMMIT");
    assert.equal(await unstuck(wait, "who waited"), null);
    await Promise.all([one!, two!].map(({ client }) => client.end()));
  });
});

describe("connections that two workers have together", () => {
  let stage: DeadlockStage;

  before(async () => {
    stage = await DeadlockStage.open({
      workers: 2,
      config: { pool: { max: 2, checkout_timeout: "60s" } },
    });
  });
  after(() => stage?.stop());

  test("are all held by who waits for a row of one who waits for one of them", LIMIT, async () => {
    const broken = await stage.broken(async () => {
      const parties = await stage.parties(3);
      const [row, rows] = [stage.account(0), [stage.account(1), stage.account(1)]];
      for (const party of parties) await party.begin();
      await parties[0]!.touch(row);
      const others = [parties[1]!.touch(rows[0]!), parties[2]!.touch(rows[1]!)];
      await unstuck(Promise.all(others), "one who may have a connection");
      const waits = [parties[1]!.wants(touching(row)), parties[2]!.wants(touching(rows[0]!))];
      await stage.untilWaiting(2);
      waits.push(parties[0]!.wants(touching(stage.account(1))));
      onlyVictim(await unstuck(Promise.all(waits), "a party"));
      await Promise.all(parties.map(({ client }) => client.end()));
    });
    assert.deepEqual(
      broken.map(({ cause }) => cause),
      ["pool"],
    );
    assertCircle(broken[0]!);
  });
});

describe("clients of pgxa up with two workers", () => {
  let stage: Stage;
  let command: Command;
  let port = 0;

  before(async () => {
    stage = await Stage.open({ isOpen: false });
    stage.writeConfig({ workers: 2, transaction: { log: "shard" } });
    command = new Command(["up", "--config", stage.file]);
    port = Number((await command.printed(/^pgxa is listening on 127\.0\.0\.1:(\d+)/))[1]);
  });
  after(async () => {
    command?.process.kill("SIGTERM");
    await command?.end();
    await stage?.stop();
  });

  /** One of each worker. */
  async function pair(): Promise<readonly [Party, Party]> {
    const found: (Party | undefined)[] = [];
    while (found[0] === undefined || found[1] === undefined) {
      const party = new Party(await stage.connect({ port }));
      const worker = workerOf(party.id, 2);
      if (found[worker] === undefined) found[worker] = party;
      else await party.client.end();
    }
    return [found[0], found[1]];
  }

  test("lose one of a circle, in whichever worker it is", LIMIT, async () => {
    const parties = await pair();
    const accounts = [stage.accounts[0]![0]!, stage.accounts[1]![0]!];
    for (const more of parties) {
      for (const [i, party] of parties.entries()) {
        await party.begin();
        await party.touch(...(party === more ? [accounts[i]!, accounts[i]!] : [accounts[i]!]));
      }
      const waits = parties.map((party, i) => outcome(party.touch(accounts[1 - i]!)));
      const { index, error } = onlyVictim(await unstuck(Promise.all(waits), "a party"));
      assert.notEqual(parties[index], more, "who wrote less gives way");
      for (const { id } of parties) assert.match(error.detail!, new RegExp(`client ${id}\\b`));
      for (const party of parties) await party.rollback();
      for (const party of parties) await party.run("BEGIN", "COMMIT");
    }
    await Promise.all(parties.map(({ client }) => client.end()));
  });

  test("are reached by cancel requests, at whichever worker these arrive", LIMIT, async () => {
    const [one, two] = await pair();
    for (const { client } of [one, two, one, two]) {
      const sleeping = outcome(client.query(on("east", "SELECT pg_sleep(30)")));
      await runs(stage, "pg_sleep(30)");
      await cancelAt(port, client);
      assert.equal((await unstuck(sleeping, "the statement"))?.code, "57014");
    }
    await Promise.all([one, two].map(({ client }) => client.end()));
  });
});

describe("clients of two workers in front of several shards", () => {
  let stage: Stage;

  before(async () => {
    stage = await Stage.open({ workers: 2 });
  });
  after(() => stage?.stop());

  test("a cancel request reaches its statement, at whichever worker it arrives", LIMIT, async () => {
    for (const at of [0, 1, 0, 1]) {
      const client = await stage.connect();
      const sleeping = outcome(client.query(on("east", "SELECT pg_sleep(30)")));
      await runs(stage, "pg_sleep(30)");
      await cancelAt(stage.ports[at]!, client);
      assert.equal((await unstuck(sleeping, "the statement"))?.code, "57014");
      await client.end();
    }
  });

  test("a cancel request with a wrong secret reaches nobody", LIMIT, async () => {
    const client = await stage.connect();
    const sleeping = outcome(client.query(on("east", "SELECT pg_sleep(1)")));
    await runs(stage, "pg_sleep(1)");
    for (const at of [0, 1]) await cancelAt(stage.ports[at]!, client, 1);
    assert.equal(await sleeping, null);
    await client.end();
  });
});

describe("clients of two workers in front of one shard", () => {
  let stage: Stage;

  before(async () => {
    stage = await Stage.open({ workers: 2, shards: 1 });
  });
  after(() => stage?.stop());

  const ways = {
    "a simple query": (verb: string, pid: number) => ({ text: `SELECT pg_${verb}_backend(${pid})` }),
    "a parameter": (verb: string, pid: number) => ({
      text: `SELECT pg_${verb}_backend($1)`,
      values: [pid],
    }),
  };

  for (const [name, ask] of Object.entries(ways)) {
    test(`pg_cancel_backend() of the other worker's client, by ${name}`, LIMIT, async () => {
      const [one, other] = [await stage.connect(), await stage.connect()];
      const sleeping = outcome(one.query("SELECT pg_sleep(20)"));
      await runs(stage, "pg_sleep(20)");
      const { rows } = await other.query(ask("cancel", pidOf(one)));
      assert.deepEqual(rows, [{ pg_cancel_backend: true }]);
      assert.equal((await unstuck(sleeping, "the statement"))?.code, "57014");
      await one.query("SELECT 1");
      await Promise.all([one.end(), other.end()]);
    });

    test(`pg_terminate_backend() of the other worker's client, by ${name}`, LIMIT, async () => {
      const [one, other] = [await stage.connect(), await stage.connect()];
      const ended = once(one, "error");
      const { rows } = await other.query(ask("terminate", pidOf(one)));
      assert.deepEqual(rows, [{ pg_terminate_backend: true }]);
      const [error] = await ended;
      assert.equal(error.code, "57P01");
      assert.deepEqual((await other.query(ask("terminate", pidOf(one)))).rows, [
        { pg_terminate_backend: false },
      ]);
      await other.end();
    });
  }

  test(
    "a process that is no client's is the shard's affair, whichever worker's it could be",
    LIMIT,
    async () => {
      const client = await stage.connect();
      for (let pid = 2_000_000_000; pid < 2_000_000_016; pid += 4) {
        const { rows } = await client.query(`SELECT pg_terminate_backend(${pid})`);
        assert.deepEqual(rows, [{ pg_terminate_backend: false }]);
      }
      await client.end();
    },
  );
});

const pidOf = (client: pg.Client): number => (client as unknown as { processID: number }).processID;

/** Resolves when a statement with that text runs on the first shard. */
async function runs(stage: Stage, text: string): Promise<void> {
  const observer = await stage.shards[0]!.connect();
  try {
    for (;;) {
      const { rows } = await observer.query(
        "SELECT FROM pg_stat_activity WHERE state = 'active' AND position($1 in query) > 0 AND pid <> pg_backend_pid()",
        [text],
      );
      if (rows.length > 0) return;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  } finally {
    await observer.end();
  }
}

/** Sends a cancel request for what `client` runs to `port`, with its secret changed by `wrong`. */
async function cancelAt(port: number, client: pg.Client, wrong = 0): Promise<void> {
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
  const request = Buffer.alloc(16);
  for (const [i, word] of [16, 80877102, processID, secretKey ^ wrong].entries())
    request.writeInt32BE(word | 0, 4 * i);
  const socket = connect(port, "127.0.0.1");
  socket.end(request);
  socket.resume();
  await once(socket, "close");
}
