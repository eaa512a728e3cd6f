/** What is said of a deadlock: to the victim's client, to the console, and for how long it is remembered. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DeadlockHistory, HISTORY_MAX } from "../../src/deadlock/history.ts";
import { describeLock, type LockTag } from "../../src/deadlock/lockWait.ts";
import { circleRows, describeCircle, waitRows } from "../../src/deadlock/report.ts";
import { takeSnapshot } from "../../src/deadlock/snapshot.ts";
import { PlayedClient, waitOf } from "./played.ts";

const SHARDS = ["east", "west"];

describe("a circle in words", () => {
  const [one, two] = [new PlayedClient(1, 0, 1), new PlayedClient(2, 0, 1)];

  it("names waiter, lock, holder and shard of each wait, in PostgreSQL's manner", () => {
    const snapshot = takeSnapshot({
      participants: [one, two],
      locks: [[waitOf(10, [9, 20])], [waitOf(21, [11], { transactionid: "800" })]],
      pools: new Map(),
    });
    const rows = circleRows(["client 1", "client 2"], snapshot, SHARDS);
    assert.deepEqual(describeCircle(rows).split("\n"), [
      'Transaction t1 of client 1, process 10 of shard "east", waits for ShareLock on transaction 700; blocked by transaction t2 of client 2.',
      'Transaction t2 of client 2, process 21 of shard "west", waits for ShareLock on transaction 800; blocked by transaction t1 of client 1.',
    ]);
    assert.deepEqual(
      rows.map(({ waitedMs, pid }) => [waitedMs, pid]),
      [
        [60, 10],
        [60, 21],
      ],
    );
  });

  it("says so of one who is in no transaction, of no client, or waits for a connection", () => {
    const single = new PlayedClient(3, 0);
    single.gtrid = null;
    const snapshot = takeSnapshot({
      participants: [one, single],
      locks: [[waitOf(30, [99]), waitOf(99, [10])]],
      pools: new Map([[one, { pool: 1, waitedMs: 70, inUse: 2, holders: [single, two] }]]),
    });
    const rows = circleRows(["client 3", "process 99 on 0", "client 1"], snapshot, SHARDS);
    assert.deepEqual(describeCircle(rows).split("\n"), [
      'Client 3, process 30 of shard "east", waits for ShareLock on transaction 700; blocked by process 99 of shard "east".',
      'Process 99 of shard "east" waits for ShareLock on transaction 700; blocked by transaction t1 of client 1.',
      'Transaction t1 of client 1 waits for a server connection to shard "west", of which others have 2; blocked by client 3, transaction t2 of client 2.',
    ]);
  });

  it("has one wait of each, though a client waits for several", () => {
    const snapshot = takeSnapshot({
      participants: [one, two],
      locks: [[waitOf(10, [20]), waitOf(20, [10])], [waitOf(11, [21])]],
      pools: new Map(),
    });
    assert.equal(circleRows(["client 1", "client 2"], snapshot, SHARDS).length, 2);
    assert.equal(waitRows(snapshot, SHARDS).length, 3, "the console shows them all");
  });
});

describe("the waits on the console", () => {
  it("name everybody who blocks, also what is prepared", () => {
    const one = new PlayedClient(1, 0);
    const snapshot = takeSnapshot({
      participants: [one],
      locks: [
        [waitOf(10, [8, 0], { preparedBlockers: ["g"] }), waitOf(8, [0])],
        [waitOf(5, [6], { locktype: "advisory", database: 1, classid: 2, objid: 3, objsubid: 4 })],
      ],
      pools: new Map(),
    });
    assert.deepEqual(
      waitRows(snapshot, SHARDS).map(({ client, shard, pid, waitsFor, blockedBy }) =>
        [client, shard, pid, waitsFor, blockedBy.join(", ")].join(" | "),
      ),
      [
        '1 | east | 10 | ShareLock on transaction 700 | process 8 of shard "east", prepared transaction g',
        " | east | 8 | ShareLock on transaction 700 | a prepared transaction",
        ' | west | 5 | ShareLock on advisory lock [1,2,3,4] | process 6 of shard "west"',
      ],
    );
  });
});

describe("a lock in words", () => {
  const tag: LockTag = {
    locktype: "",
    database: 1,
    relation: 2,
    page: 3,
    tuple: 4,
    virtualxid: "5/6",
    transactionid: "7",
    classid: 8,
    objid: 9,
    objsubid: 10,
  };
  const table: Readonly<Record<string, string>> = {
    relation: "relation 2 of database 1",
    extend: "extension of relation 2 of database 1",
    frozenid: "pg_database.datfrozenxid of database 1",
    page: "page 3 of relation 2 of database 1",
    tuple: "tuple (3,4) of relation 2 of database 1",
    transactionid: "transaction 7",
    virtualxid: "virtual transaction 5/6",
    spectoken: "speculative token 9 of transaction 7",
    advisory: "advisory lock [1,8,9,10]",
    object: "object 9 of class 8 of database 1",
    applytransaction: "lock of type applytransaction",
  };
  for (const [locktype, says] of Object.entries(table)) {
    it(`of type ${locktype} is as Postgres says it`, () =>
      assert.equal(describeLock({ ...tag, locktype }), says));
  }
});

describe("the history", () => {
  it("keeps the last hundred, the oldest first, each with a number of its own", () => {
    const history = new DeadlockHistory();
    for (let size = 1; size <= HISTORY_MAX + 7; size += 1)
      history.add({ atMs: size, cause: "lock", size, detectionMs: 1, victim: null, circle: [] });
    assert.equal(history.records.length, HISTORY_MAX);
    assert.deepEqual([history.records[0]!.id, history.records[0]!.size], [8, 8]);
    assert.equal(history.records.at(-1)!.id, HISTORY_MAX + 7);
  });
});
