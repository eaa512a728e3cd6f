/** What a real shard says of who waits there, and what it cancels. */
import assert from "node:assert/strict";
import { createServer, type Socket } from "node:net";
import { after, afterEach, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";
import { LockProbe } from "../../src/deadlock/lockProbe.ts";
import { describeLock, type LockWait, waitKey } from "../../src/deadlock/lockWait.ts";
import { startShards, type TestShard, type TestShards } from "../support/shards.ts";
import { shardConfig } from "../txn/commitStage.ts";

const LIMIT = { timeout: 30_000 };
const MANY = 60;

let shards: TestShards;
let shard: TestShard;
let probe: LockProbe;
let clients: pg.Client[] = [];
/** The ends of statements that wait. */
let pending: Promise<unknown>[] = [];

const pidOf = (client: pg.Client): number => (client as unknown as { processID: number }).processID;

async function connect(count: number): Promise<pg.Client[]> {
  const more = await Promise.all(Array.from({ length: count }, () => shard.connect()));
  clients.push(...more);
  return more;
}

/** Begins `sql` and lets it wait. */
function start(client: pg.Client, sql: string): Promise<string> {
  const end = client.query(sql).then(
    () => "done",
    (error: pg.DatabaseError) => error.code ?? error.message,
  );
  pending.push(end);
  return end;
}

/** The waits, once there are `count` whose beginning is known. */
async function waits(count: number, exactly: readonly number[] = []): Promise<readonly LockWait[]> {
  for (let attempt = 0; attempt < 2_000; attempt += 1) {
    const found = await probe.waits(exactly);
    if (found.length === count && found.every(({ waitStart }) => waitStart !== null)) return found;
    await delay(5);
  }
  throw new Error(`there are not ${count} waits`);
}

describe("a shard that is asked who waits", () => {
  before(async () => {
    shards = await startShards(1);
    shard = shards.shards[0]!;
    probe = new LockProbe(shardConfig(shard));
    const client = await shard.connect();
    await client.query(
      "CREATE TABLE t (a int PRIMARY KEY, b int); INSERT INTO t SELECT i, 0 FROM generate_series(1, 9) i",
    );
    await client.end();
  });
  after(async () => {
    await probe.close();
    await shards.stop();
  });
  afterEach(async () => {
    const [first] = clients;
    if (first !== undefined) {
      const killer = await shard.connect();
      for (const client of clients) await killer.query("SELECT pg_terminate_backend($1)", [pidOf(client)]);
      await killer.end();
    }
    await Promise.all(pending);
    await Promise.all(clients.map((client) => client.end().catch(() => {})));
    clients = [];
    pending = [];
  });

  test("has nothing to say where nobody waits", LIMIT, async () => {
    const [one] = (await connect(1)) as [pg.Client];
    await one.query("BEGIN; UPDATE t SET b = 1 WHERE a = 1");
    assert.deepEqual(await probe.waits(), []);
  });

  const kinds: readonly (readonly [string, string, string, string, RegExp])[] = [
    [
      "a row",
      "UPDATE t SET b = 1 WHERE a = 1",
      "UPDATE t SET b = 2 WHERE a = 1",
      "ShareLock",
      /^transaction \d+$/,
    ],
    [
      "a unique key",
      "INSERT INTO t VALUES (50)",
      "INSERT INTO t VALUES (50)",
      "ShareLock",
      /^transaction \d+$/,
    ],
    [
      "a table",
      "LOCK TABLE t IN SHARE MODE",
      "LOCK TABLE t IN ROW EXCLUSIVE MODE",
      "RowExclusiveLock",
      /^relation \d+ of database \d+$/,
    ],
    [
      "an advisory lock",
      "SELECT pg_advisory_xact_lock(7)",
      "SELECT pg_advisory_xact_lock(7)",
      "ExclusiveLock",
      /^advisory lock \[\d+,0,7,1\]$/,
    ],
    [
      "an advisory lock of two numbers above 2^31",
      "SELECT pg_advisory_lock(-1, -2)",
      "SELECT pg_advisory_xact_lock(-1, -2)",
      "ExclusiveLock",
      /^advisory lock \[\d+,4294967295,4294967294,2\]$/,
    ],
  ];
  for (const [says, first, second, mode, lock] of kinds) {
    test(`says who waits for ${says} and who has it`, LIMIT, async () => {
      const [one, two] = (await connect(2)) as [pg.Client, pg.Client];
      for (const client of [one, two]) await client.query("BEGIN");
      await one.query(first);
      start(two, second);
      const [wait] = (await waits(1)) as [LockWait];
      assert.deepEqual(wait.blockers, [pidOf(one)]);
      assert.deepEqual([wait.pid, wait.waiterPid, wait.mode], [pidOf(two), pidOf(two), mode]);
      assert.match(describeLock(wait), lock);
      assert.deepEqual([wait.isExact, wait.preparedBlockers], [true, []]);
      assert.ok(wait.waitedMs >= 0 && wait.waitedMs < 10_000);
      const [later] = (await waits(1)) as [LockWait];
      assert.notEqual(waitKey(wait), null);
      assert.equal(waitKey(later), waitKey(wait), "the same wait is the same");
    });
  }

  test("tells the first who wants a row from those behind it", LIMIT, async () => {
    const [one, two, three] = (await connect(3)) as [pg.Client, pg.Client, pg.Client];
    await one.query("BEGIN; UPDATE t SET b = 1 WHERE a = 1");
    start(two, "UPDATE t SET b = 2 WHERE a = 1");
    await waits(1);
    start(three, "UPDATE t SET b = 3 WHERE a = 1");
    const found = await waits(2);
    const of = (client: pg.Client) => found.find(({ pid }) => pid === pidOf(client))!;
    assert.deepEqual([of(two).locktype, of(two).blockers], ["transactionid", [pidOf(one)]]);
    assert.deepEqual([of(three).locktype, of(three).blockers], ["tuple", [pidOf(two)]]);
    assert.match(describeLock(of(three)), /^tuple \(0,\d+\) of relation \d+ of database \d+$/);
  });

  test("names the prepared transaction that has it", LIMIT, async () => {
    const [one, two, three] = (await connect(3)) as [pg.Client, pg.Client, pg.Client];
    await one.query("BEGIN; UPDATE t SET b = 1 WHERE a = 2; LOCK TABLE t IN ROW EXCLUSIVE MODE");
    await one.query("PREPARE TRANSACTION 'pgxa:f:c:1:1::shard'");
    try {
      start(two, "UPDATE t SET b = 2 WHERE a = 2");
      await waits(1);
      start(three, "BEGIN; LOCK TABLE t IN SHARE MODE");
      const found = await waits(2);
      const of = (client: pg.Client) => found.find(({ pid }) => pid === pidOf(client))!;
      assert.deepEqual([of(two).blockers, of(two).preparedBlockers], [[0], ["pgxa:f:c:1:1::shard"]]);
      assert.deepEqual([...of(three).blockers].sort(), [0, pidOf(two)].sort());
      assert.deepEqual(of(three).preparedBlockers, ["pgxa:f:c:1:1::shard"]);
    } finally {
      await one.query("ROLLBACK PREPARED 'pgxa:f:c:1:1::shard'");
    }
  });

  test("works out who blocks a crowd, and says exactly what it is asked to", LIMIT, async () => {
    const [holder, ...crowd] = (await connect(MANY + 1)) as [pg.Client, ...pg.Client[]];
    await holder.query("BEGIN; SELECT pg_advisory_xact_lock(9)");
    const last = crowd.pop()!;
    for (const client of crowd) start(client, "SELECT pg_advisory_xact_lock(9)");
    await waits(MANY - 1);
    start(last, "SELECT pg_advisory_xact_lock(9)");
    const asked = pidOf(last);
    const found = await waits(MANY, [asked]);
    const exact = found.filter(({ isExact }) => isExact);
    assert.deepEqual(
      exact.map(({ pid }) => pid),
      [asked],
    );
    assert.equal(exact[0]!.blockers.length, MANY, "the holder and all before it");
    for (const { blockers } of found) assert.ok(blockers.includes(pidOf(holder)));
    const workedOut = found.filter(({ isExact }) => !isExact).map(({ blockers }) => blockers.length);
    assert.deepEqual(
      workedOut.sort((a, b) => a - b),
      [1, ...Array.from({ length: MANY - 2 }, () => 2)],
      "the holder and the one before",
    );
    await holder.query("COMMIT");
  });

  test("cancels the wait that it was asked to, and tells so", LIMIT, async () => {
    const [one, two] = (await connect(2)) as [pg.Client, pg.Client];
    for (const client of [one, two]) await client.query("BEGIN");
    await one.query("UPDATE t SET b = 1 WHERE a = 3");
    const end = start(two, "UPDATE t SET b = 2 WHERE a = 3");
    const [wait] = (await waits(1)) as [LockWait];
    assert.equal(await probe.cancel(wait), true);
    assert.equal(await end, "57014");
    assert.equal(await probe.cancel(wait), false, "it waits no more");
  });

  test("cancels nothing that is another wait, transaction, or session by now", LIMIT, async () => {
    const [one, two] = (await connect(2)) as [pg.Client, pg.Client];
    for (const client of [one, two]) await client.query("BEGIN");
    await one.query("UPDATE t SET b = 1 WHERE a = 4");
    const end = start(two, "UPDATE t SET b = 2 WHERE a = 4");
    const [wait] = (await waits(1)) as [LockWait];
    const others: readonly Partial<LockWait>[] = [
      { waitStart: "2020-01-01 00:00:00.000000+00" },
      { waitStart: null },
      { xactStart: "2020-01-01 00:00:00.000000+00" },
      { backendStart: "2020-01-01 00:00:00.000000+00" },
      { pid: pidOf(one) },
      { waiterPid: pidOf(one) },
    ];
    for (const other of others)
      assert.equal(await probe.cancel({ ...wait, ...other }), false, JSON.stringify(other));
    await one.query("COMMIT");
    assert.equal(await end, "done");
    await two.query("ROLLBACK");
  });

  test("is asked by one session, which is replaced when it ends", LIMIT, async () => {
    const client = (await connect(1))[0]!;
    const sessions = async (): Promise<number[]> => {
      const { rows } = await client.query(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'pgxa deadlock' ORDER BY pid",
      );
      return rows.map(({ pid }) => pid as number);
    };
    await probe.open();
    const [before] = await sessions();
    await Promise.all([probe.waits(), probe.waits()]);
    assert.deepEqual(await sessions(), [before]);
    await client.query("SELECT pg_terminate_backend($1)", [before]);
    for (let attempt = 0; attempt < 200 && (await sessions()).includes(before!); attempt += 1) await delay(5);
    await probe.waits().catch(() => probe.waits());
    const after = await sessions();
    assert.equal(after.length, 1);
    assert.notEqual(after[0], before);
  });

  test("counts as one that cannot be asked while its process stands still", LIMIT, async () => {
    const still = new LockProbe(shardConfig(shard));
    await still.open();
    const client = (await connect(1))[0]!;
    const { rows } = await client.query(
      "SELECT pid FROM pg_stat_activity WHERE application_name = 'pgxa deadlock' ORDER BY backend_start DESC LIMIT 1",
    );
    process.kill(rows[0].pid, "SIGSTOP");
    try {
      await assert.rejects(still.waits(), /timeout/i);
      assert.deepEqual(await still.waits(), [], "the next question has a session of its own");
    } finally {
      process.kill(rows[0].pid, "SIGCONT");
      await still.close();
    }
  });
});

describe("a shard that cannot be asked", () => {
  const at = (port: number) =>
    new LockProbe({
      ...shardConfig({ id: "east", host: "127.0.0.1", port } as TestShard),
      user: "u",
      database: "d",
    });

  test("is one of which it is known that it does not answer: at once", LIMIT, async () => {
    const shard = shardConfig({ id: "east", host: "127.0.0.1", port: 1 } as TestShard);
    const route = { endpoint: shard, isSilent: true, noteSilence: () => {} };
    await assert.rejects(new LockProbe(shard, route).waits(), /does not answer/);
  });

  test("is one that is down", LIMIT, async () => {
    const server = createServer();
    const port = await new Promise<number>((resolve) => {
      server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port));
    });
    await new Promise((resolve) => server.close(resolve));
    const probeOfNothing = at(port);
    await probeOfNothing.open();
    await assert.rejects(probeOfNothing.waits(), { code: "ECONNREFUSED" });
    await probeOfNothing.close();
    await assert.rejects(probeOfNothing.waits(), /closed/);
  });

  test("is one that says nothing, within seconds", LIMIT, async () => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => void sockets.push(socket));
    const port = await new Promise<number>((resolve) => {
      server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port));
    });
    const probeOfSilence = at(port);
    const beganMs = performance.now();
    await assert.rejects(probeOfSilence.waits(), /timeout/i);
    assert.ok(performance.now() - beganMs < 10_000);
    await probeOfSilence.close();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
});
