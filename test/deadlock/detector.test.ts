/** Who is made to give way, and what is no deadlock after all. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { LockWait } from "../../src/deadlock/lockWait.ts";
import { gidPrefix } from "../../src/txn/gid.ts";
import { DetectorStage } from "./detectorStage.ts";
import { type PlayedClient, waitOf } from "./played.ts";

describe("the detector", () => {
  it("asks nobody anything while nothing is watched", async () => {
    const stage = new DetectorStage();
    const [one, two] = [stage.client(1), stage.client(2)];
    stage.wait(0, one, [two]);
    stage.wait(1, two, [one]);
    await stage.pass(60_000);
    assert.equal(stage.questions, 0);
    stage.assertNobody();
  });

  it("asks only the shards where something watched runs, and not before it has waited", async () => {
    const stage = new DetectorStage();
    const one = stage.client(1, 1);
    stage.wait(1, one, []);
    await stage.pass(49);
    assert.equal(stage.questions, 0);
    await stage.pass(1);
    assert.deepEqual(
      stage.shards.map(({ questions }) => questions),
      [0, 1, 0],
    );
    stage.assertNobody();
  });

  it("breaks a circle over two shards: the victim is told, its wait cancelled, and nobody else's", async () => {
    const stage = new DetectorStage();
    const [one, two] = stage.pair();
    one.writes = 3;
    await stage.pass(50);
    assert.deepEqual(two.told, ["doomed 40P01", "settled"]);
    assert.deepEqual(one.told, []);
    assert.deepEqual(stage.shards[1].cancelled, [two.pid(1)]);
    assert.deepEqual(stage.shards[0].cancelled, []);
    const detail = two.fault!.detail!.split("\n");
    assert.equal(detail.length, 2);
    assert.match(detail[0]!, /^Transaction t2 of client 2, process 21 of shard "north", waits for ShareLock/);
    assert.match(detail[1]!, /^Transaction t1 of client 1.*; blocked by transaction t2 of client 2\.$/);
    assert.match(two.fault!.hint!, /^Repeat the transaction/);
  });

  it("keeps a record of it, counts it and logs it", async () => {
    const stage = new DetectorStage();
    stage.pair();
    stage.shards[0].locks = [{ ...stage.shards[0].locks[0]!, waitedMs: 72.6 }];
    stage.shards[1].locks = [{ ...stage.shards[1].locks[0]!, waitedMs: 900 }];
    await stage.pass(50);
    const { circle, ...record } = stage.detector.history.records[0]!;
    assert.deepEqual(record, { id: 1, atMs: 50, cause: "lock", size: 2, detectionMs: 73, victim: 1 });
    assert.equal(circle.length, 2);
    const text = await stage.metrics.registry.metrics();
    assert.match(text, /^pgxa_deadlocks_total\{size="2",cause="lock"\} 1$/m);
    assert.match(text, /^pgxa_deadlock_detection_seconds_sum 0\.073$/m);
    assert.match(text, /^pgxa_deadlock_probes_total 4$/m);
    assert.deepEqual(stage.events, ["deadlock.broken"]);
  });

  it("breaks disjoint circles at once, and each loses one", async () => {
    const stage = new DetectorStage();
    stage.pair();
    const [three, four] = [stage.client(3, 1), stage.client(4, 2)];
    stage.wait(1, three, [four]);
    stage.wait(2, four, [three]);
    await stage.pass(50);
    assert.equal(stage.victims.length, 2);
    assert.equal(stage.victims.filter((victim) => victim <= 2).length, 1);
  });

  it("breaks a circle that runs in part inside one shard and through nobody's backend", async () => {
    const stage = new DetectorStage();
    const [one, two] = [stage.client(1, 0), stage.client(2, 1)];
    stage.shards[0].locks.push(waitOf(one.pid(0), [99]), waitOf(99, [two.pid(0)]));
    stage.wait(1, two, [one]);
    one.writes = 0;
    await stage.pass(50);
    assert.deepEqual(stage.victims, [1]);
    assert.equal(stage.detector.history.records[0]!.size, 3);
  });

  it("spares who was a victim before, until it has committed", async () => {
    const stage = new DetectorStage();
    const [one, two] = stage.pair();
    two.writes = 9;
    await stage.pass(50);
    assert.deepEqual(stage.victims, [1]);
    one.moves += 1; // it has given way, and is in the same deadlock again
    await stage.pass(50);
    assert.deepEqual(stage.victims, [1, 2]);
    two.moves += 1;
    stage.detector.noteCommitted(one.client);
    await stage.pass(100);
    assert.deepEqual(stage.victims, [1, 2, 1]);
  });

  it("takes no second victim while the first is on its way", async () => {
    const stage = new DetectorStage();
    stage.pair();
    await stage.pass(400);
    assert.equal(stage.victims.length, 1);
  });

  it("takes one again if the cancellation has missed it", async () => {
    const stage = new DetectorStage();
    const [one, two] = stage.pair();
    two.writes = 9;
    stage.shards[0].onCancel = () => false;
    await stage.pass(50);
    assert.deepEqual(stage.victims, [1]);
    assert.deepEqual(one.told, ["doomed 40P01", "settled"]);
    stage.shards[0].onCancel = () => true;
    await stage.pass(100);
    assert.equal(stage.victims.length, 2);
  });

  it("never chooses who is being committed", async () => {
    const stage = new DetectorStage();
    const [one, two] = stage.pair();
    one.isProtected = true;
    one.writes = 0;
    two.writes = 9;
    await stage.pass(50);
    assert.deepEqual(stage.victims, [2]);
  });

  it("goes through what the one who is being committed has prepared already", async () => {
    const stage = new DetectorStage();
    const [one, two] = [stage.client(1, 0), stage.client(2, 1)];
    one.isProtected = true;
    one.gtrid = "f:c:1:2";
    stage.wait(0, one, [two]);
    stage.shards[1].locks = [
      waitOf(two.pid(1), [0], { preparedBlockers: [`${gidPrefix("f")}c:1:2::north`] }),
    ];
    await stage.pass(50);
    assert.deepEqual(stage.victims, [2]);
  });

  it("leaves who has moved since alone", async () => {
    const stage = new DetectorStage();
    const [one] = stage.pair();
    one.isWilling = false;
    one.writes = 0;
    await stage.pass(50);
    stage.assertNobody();
    assert.deepEqual(stage.detector.history.records, []);
  });

  it("asks again for exactly what was only worked out, before it does anything", async () => {
    const stage = new DetectorStage();
    const [one, two] = stage.pair();
    for (const shard of [stage.shards[0], stage.shards[1]])
      shard.locks = [...shard.locks, waitOf(77, [78])].map((lock) => ({ ...lock, isExact: false }));
    await stage.pass(50);
    assert.equal(stage.victims.length, 1);
    assert.deepEqual(stage.shards[0].exactly, [[], [one.pid(0)], [one.pid(0)]]);
    assert.deepEqual(stage.shards[1].exactly, [[], [two.pid(1)], [two.pid(1)]]);
  });

  it("goes on when the shard cannot be asked to cancel", async () => {
    const stage = new DetectorStage();
    const [one, two] = stage.pair();
    two.writes = 9;
    stage.shards[0].onCancel = () => Promise.reject(new Error("down"));
    await stage.pass(50);
    assert.deepEqual(one.told, ["doomed 40P01", "settled"]);
  });

  it("says who waits on every shard, though nobody is watched", async () => {
    const stage = new DetectorStage();
    const [one, two] = [stage.client(1), stage.client(2)];
    stage.wait(2, one, [two]);
    stage.shards[0].isDown = true;
    const rows = await stage.detector.waits();
    assert.deepEqual(
      rows.map(({ client, shard, blockedBy }) => [client, shard, ...blockedBy]),
      [[1, "west", "client 2"]],
    );
    stage.detector.close();
  });
});

describe("between the two readings", () => {
  /** What `change` does to the circle after the first reading of it. */
  const changed = async (
    change: (stage: DetectorStage, one: PlayedClient) => void,
  ): Promise<DetectorStage> => {
    const stage = new DetectorStage();
    const [one] = stage.pair();
    stage.shards[0].afterQuestion = (question) => {
      if (question === 1) change(stage, one);
    };
    await stage.pass(50);
    return stage;
  };

  const edit = (stage: DetectorStage, more: Partial<LockWait>): void => {
    stage.shards[0].locks = stage.shards[0].locks.map((lock) => ({ ...lock, ...more }));
  };

  const cases: readonly (readonly [string, (stage: DetectorStage, one: PlayedClient) => void])[] = [
    ["a wait ended", (stage) => void (stage.shards[0].locks = [])],
    ["a wait ended and another began", (stage) => edit(stage, { waitStart: "later" })],
    ["somebody else came to block it", (stage) => edit(stage, { blockers: [20, 30] })],
    ["its transaction became another", (stage) => edit(stage, { xactStart: "later" })],
    ["it is not known yet since when it waits", (stage) => edit(stage, { waitStart: null })],
    ["what was exact is worked out only", (stage) => edit(stage, { isExact: false, waiterPid: 4 })],
    ["the shard went down", (stage) => void (stage.shards[0].isDown = true)],
    ["its backend became somebody else's", (_stage, one) => void (one.backends = one.backends.slice(1))],
  ];
  for (const [says, change] of cases) {
    it(`nobody gives way where ${says}`, async () => (await changed(change)).assertNobody());
  }

  it("nobody gives way where a client moved", async () => {
    const stage = new DetectorStage();
    const [one] = stage.pair();
    stage.shards[1].afterQuestion = (question) => {
      if (question === 2) one.moves += 1; // after the first look was put together
    };
    await stage.pass(50);
    stage.assertNobody();
  });

  it("who still waits is found by the next look", async () => {
    const stage = await changed((changing) => edit(changing, { waitStart: "later" }));
    await stage.pass(50);
    assert.equal(stage.victims.length, 1);
  });

  it("one that dissolves does not keep another from being broken", async () => {
    const stage = new DetectorStage();
    stage.pair();
    const [three, four] = [stage.client(3, 0), stage.client(4, 1)];
    stage.wait(0, three, [four, ...stage.clients.slice(0, 1)]);
    stage.wait(1, four, [three]);
    stage.shards[0].afterQuestion = (question) => {
      if (question === 1) stage.shards[0].locks.shift();
    };
    await stage.pass(50);
    assert.equal(stage.victims.length, 1);
    assert.ok(stage.victims[0]! >= 3);
  });
});
