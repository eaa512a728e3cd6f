/** One look as a graph: who is whom, and when two looks saw the same. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { LockWait } from "../../src/deadlock/lockWait.ts";
import type { Participant } from "../../src/deadlock/participant.ts";
import { nodeKey, type PoolWait, type Snapshot, takeSnapshot } from "../../src/deadlock/snapshot.ts";
import { gidPrefix } from "../../src/txn/gid.ts";
import { PlayedClient, waitOf } from "./played.ts";

type Look = (readonly LockWait[] | null)[];

const look = (
  participants: readonly Participant[],
  locks: Look,
  pools: ReadonlyMap<Participant, PoolWait> = new Map(),
): Snapshot => takeSnapshot({ participants, locks, pools });

const edges = ({ graph }: Snapshot): string[] =>
  [...graph].map(([node, { kind, on }]) => `${node} waits for ${kind} of ${on.join(", ")}`);

const GID = `${gidPrefix("f")}c:1:2::east`;

describe("a look", () => {
  const [one, two] = [new PlayedClient(1, 0, 1), new PlayedClient(2, 0, 1)];

  it("takes the backends of a client for one", () => {
    const locks = [[waitOf(one.pid(0), [two.pid(0)])], [waitOf(two.pid(1), [one.pid(1)])]];
    assert.deepEqual(edges(look([one, two], locks)), [
      "client 1 waits for all of client 2",
      "client 2 waits for all of client 1",
    ]);
  });

  it("joins what a client waits for on several shards", () => {
    const locks = [
      [waitOf(one.pid(0), [two.pid(0)]), waitOf(one.pid(0), [33], { waiterPid: 99 })],
      [waitOf(one.pid(1), [44])],
    ];
    assert.deepEqual(edges(look([one, two], locks)), [
      "client 1 waits for all of client 2, process 33 on 0, process 44 on 1",
    ]);
  });

  it("knows processes that are nobody's by their shard", () => {
    const locks = [[waitOf(7, [8])], [waitOf(7, [one.pid(0)])]];
    assert.deepEqual(edges(look([one, two], locks)), [
      "process 7 on 0 waits for all of process 8 on 0",
      "process 7 on 1 waits for all of process 10 on 1",
    ]);
  });

  it("passes over the wait of one who had the client's process id before", () => {
    const stranger = waitOf(one.pid(0), [two.pid(0)], { backendStart: "long ago" });
    assert.deepEqual(edges(look([one, two], [[stranger]])), []);
  });

  it("takes a parallel worker's wait for that of its leader", () => {
    const worker = waitOf(one.pid(0), [two.pid(0)], { waiterPid: 4_711 });
    assert.deepEqual(edges(look([one, two], [[worker]])), ["client 1 waits for all of client 2"]);
  });

  it("knows prepared transactions by their name, also one that ended while it was asked", () => {
    const locks = [
      [waitOf(one.pid(0), [0], { preparedBlockers: ["g", "h"] })],
      [waitOf(two.pid(1), [0, one.pid(1)])],
    ];
    assert.deepEqual(edges(look([one, two], locks)), [
      "client 1 waits for all of prepared g, prepared h",
      "client 2 waits for all of client 1, prepared",
    ]);
  });

  it("takes what a client is committing for that client, and nothing else that is prepared", () => {
    const committing = new PlayedClient(3, 0, 1);
    committing.gtrid = "f:c:1:2";
    const locks = [[waitOf(one.pid(0), [0], { preparedBlockers: [GID, "pgxa:f:c:1:3::east"] })]];
    const prepared = "client 1 waits for all of";
    assert.deepEqual(edges(look([one, committing], locks)), [
      `${prepared} prepared ${GID}, prepared pgxa:f:c:1:3::east`,
    ]);
    committing.isProtected = true;
    assert.deepEqual(edges(look([one, committing], locks)), [
      `${prepared} client 3, prepared pgxa:f:c:1:3::east`,
    ]);
  });

  it("has those who wait for a row wait for the transaction that has it, whoever is first in the queue", () => {
    const locks = [
      [waitOf(5, [two.pid(0)]), waitOf(one.pid(0), [5], { locktype: "tuple" })],
      [waitOf(5, [99])],
    ];
    assert.deepEqual(edges(look([one, two], locks)), [
      "process 5 on 0 waits for all of client 2",
      "client 1 waits for all of process 5 on 0, client 2",
      "process 5 on 1 waits for all of process 99 on 1",
    ]);
  });

  it("has who waits for a connection wait for any of those who hold them", () => {
    const pools = new Map([[one, { pool: 1, waitedMs: 5, inUse: 2, holders: [two, new PlayedClient(3)] }]]);
    assert.deepEqual(edges(look([one, two], [null, null], pools)), [
      "client 1 waits for any of client 2, client 3",
    ]);
  });

  it("believes a lock before a connection that is waited for", () => {
    const pools = new Map([[one, { pool: 1, waitedMs: 5, inUse: 1, holders: [two] }]]);
    assert.deepEqual(edges(look([one, two], [[waitOf(one.pid(0), [8])]], pools)), [
      "client 1 waits for all of process 8 on 0",
    ]);
  });
});

describe("what a node's state is as a text", () => {
  const keyOf = (locks: Look, change: (client: PlayedClient) => void = () => {}): string | null => {
    const client = new PlayedClient(1, 0, 1);
    change(client);
    return nodeKey(look([client], locks).nodes.get("client 1")!);
  };
  const wait = (more: Partial<LockWait> = {}) => waitOf(10, [20, 30], more);

  it("is the same in whatever order shards and blockers come", () => {
    const same = keyOf([[wait({ waitedMs: 9 })], [waitOf(11, [21])]]);
    assert.equal(keyOf([[wait({ blockers: [30, 20] })], [waitOf(11, [21])]]), same);
    assert.equal(keyOf([[wait({ waitedMs: 99 })], [waitOf(11, [21])]]), same, "time passes");
    const gids = { blockers: [0], preparedBlockers: ["g", "h"] };
    const other = { ...gids, preparedBlockers: ["h", "g"] };
    assert.equal(keyOf([[wait(gids)]]), keyOf([[wait(other)]]));
  });

  const changes: readonly (readonly [string, Partial<LockWait>])[] = [
    ["the wait is another", { waitStart: "later" }],
    ["somebody else blocks it", { blockers: [20] }],
    ["another prepared transaction blocks it", { preparedBlockers: ["g"] }],
    ["the lock is another", { transactionid: "701" }],
    ["the mode is another", { mode: "ExclusiveLock" }],
    ["the transaction is another", { xactStart: "later" }],
    ["another process of the backend waits", { waiterPid: 4 }],
  ];
  for (const [says, change] of changes) {
    it(`is another when ${says}`, () => assert.notEqual(keyOf([[wait(change)]]), keyOf([[wait()]])));
  }

  it("is another when the client has moved, or the shard is another", () => {
    assert.notEqual(
      keyOf([[wait()]], (client) => {
        client.moves = 1;
      }),
      keyOf([[wait()]]),
    );
    assert.notEqual(keyOf([[], [waitOf(11, [21])]]), keyOf([[waitOf(10, [21])], []]));
  });

  it("cannot be told while a wait is so new that nobody knows since when", () => {
    assert.equal(keyOf([[wait({ waitStart: null })], [waitOf(11, [21])]]), null);
  });

  it("has those who hold the connections that are waited for", () => {
    const client = new PlayedClient(1, 0);
    const keyWith = (...holders: readonly number[]) => {
      const pool = {
        pool: 1,
        waitedMs: 5,
        inUse: 1,
        holders: holders.map((holder) => new PlayedClient(holder)),
      };
      return nodeKey(look([client], [], new Map([[client, pool]])).nodes.get("client 1")!);
    };
    assert.equal(keyWith(2, 3), keyWith(3, 2));
    assert.notEqual(keyWith(2, 3), keyWith(2, 4));
  });
});
