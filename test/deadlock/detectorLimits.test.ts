/** What is left to others, what goes through connections, and how waiting ends where nobody can be chosen or asked. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DetectorStage } from "./detectorStage.ts";
import { waitOf } from "./played.ts";

describe("a circle inside one shard", () => {
  it("is left to the shard, whoever waits for it, and however long", async () => {
    const stage = new DetectorStage();
    const [one, two, three] = [stage.client(1, 0), stage.client(2, 0), stage.client(3, 1)];
    for (const client of [one, two, three]) client.lockTimeoutMs = 1_000;
    stage.wait(0, one, [two]);
    stage.wait(0, two, [one]);
    stage.wait(1, three, [one]);
    await stage.pass(60_000);
    stage.assertNobody();
  });

  it("does not hide one over shards that waits for it", async () => {
    const stage = new DetectorStage();
    const [one, two, three, four] = [1, 2, 3, 4].map((client) => stage.client(client, 0));
    stage.wait(0, one!, [two!]);
    stage.wait(0, two!, [one!]);
    stage.wait(0, three!, [four!, one!]);
    four!.runningOn = [1];
    stage.wait(1, four!, [three!]);
    four!.writes = 0;
    await stage.pass(50);
    assert.deepEqual(stage.victims, [4]);
  });
});

describe("a circle through a connection", () => {
  it("is broken where all who hold one wait; who waits for it can be the victim", async () => {
    const stage = new DetectorStage();
    const [waiter, h1, h2] = [stage.client(1), stage.client(2, 0), stage.client(3, 0)];
    stage.queueUp(1, waiter, [h1, h2]);
    stage.wait(0, h1, [waiter]);
    stage.wait(0, h2, [waiter]);
    waiter.writes = 0;
    await stage.pass(50);
    assert.deepEqual(stage.queue.refused, ["1 40P01"]);
    assert.deepEqual(waiter.told, ["doomed 40P01", "settled"]);
    assert.deepEqual(stage.shards[0].cancelled, []);
    const [record] = stage.detector.history.records;
    assert.equal(record!.cause, "pool");
    assert.match(
      waiter.fault!.detail!,
      /waits for a server connection to shard "north", of which others have 2/,
    );
  });

  it("is none while one who holds one does not wait", async () => {
    const stage = new DetectorStage();
    const [waiter, h1, h2] = [stage.client(1), stage.client(2, 0), stage.client(3)];
    stage.queueUp(1, waiter, [h1, h2]);
    stage.wait(0, h1, [waiter]);
    await stage.pass(5_000);
    stage.assertNobody();
  });

  it("is seen though one who holds one waits on that very shard, where nothing watched runs", async () => {
    const stage = new DetectorStage();
    const [waiter, h1, h2] = [stage.client(1), stage.client(2, 0), stage.client(3)];
    stage.queueUp(1, waiter, [h1, h2]);
    stage.wait(0, h1, [waiter]);
    stage.wait(1, h2, [h1]);
    await stage.pass(50);
    assert.equal(stage.victims.length, 1);
    assert.equal(stage.shards[1].questions, 2);
    assert.equal(stage.shards[2].questions, 0);
  });

  it("of nothing but connections is broken too", async () => {
    const stage = new DetectorStage();
    const [one, two] = [stage.client(1), stage.client(2)];
    stage.queueUp(1, one, [two]);
    stage.queueUp(0, two, [one]);
    two.writes = 0;
    await stage.pass(50);
    assert.deepEqual(stage.queue.refused, ["2 40P01"]);
    assert.deepEqual(stage.victims, [2]);
  });

  it("is not believed where who holds them changed meanwhile", async () => {
    const stage = new DetectorStage();
    const [waiter, h1, h2] = [stage.client(1), stage.client(2, 0), stage.client(3, 0)];
    stage.queueUp(1, waiter, [h1]);
    stage.wait(0, h1, [waiter]);
    stage.wait(0, h2, [waiter]);
    stage.shards[0].afterQuestion = (question) => {
      if (question === 2) stage.queue.held.set(1, [h2]);
    };
    await stage.pass(50);
    stage.assertNobody();
  });
});

describe("what nobody decides yet", () => {
  it("keeps others waiting, wakes the resolver, and makes nobody give way", async () => {
    const stage = new DetectorStage();
    const one = stage.client(1, 2);
    stage.shards[2].locks = [waitOf(one.pid(2), [0], { preparedBlockers: ["pgxa:f:c:1:9::west"] })];
    await stage.pass(50);
    assert.deepEqual(stage.inDoubt, ["west"]);
    await stage.pass(60_000);
    stage.assertNobody();
  });
});

describe("the end by time", () => {
  it("comes where a shard does not answer, after the client's own lock timeout and not before", async () => {
    const stage = new DetectorStage();
    const [one, two] = [stage.client(1, 0), stage.client(2, 1)];
    one.lockTimeoutMs = 5_000;
    two.lockTimeoutMs = 5_000;
    stage.shards[0].isDown = true;
    await stage.pass(4_999);
    stage.assertNobody();
    await stage.pass(1_001);
    assert.deepEqual(one.told.slice(0, 2), ["doomed 55P03", "cancel what runs"]);
    assert.equal(one.fault!.detail, 'Shard "east" cannot be asked what it waits for.');
    assert.deepEqual(two.told, [], "its shard answers");
    assert.deepEqual([...new Set(stage.events)], ["deadlock.probe_failed", "deadlock.lock_timeout"]);
    assert.equal(stage.events.filter((event) => event === "deadlock.probe_failed").length, 1);
  });

  it("never comes where the shard answers again, where the timeout is 0, or while committing", async () => {
    const stage = new DetectorStage();
    const clients = [stage.client(1, 0), stage.client(2, 1), stage.client(3, 1)];
    for (const client of clients) client.lockTimeoutMs = 5_000;
    clients[1]!.lockTimeoutMs = 0;
    clients[2]!.isProtected = true;
    stage.shards[0].isDown = true;
    stage.shards[1].isDown = true;
    await stage.pass(3_000);
    stage.shards[0].isDown = false;
    await stage.pass(60_000);
    stage.assertNobody();
  });

  it("comes for who waits for a deadlock in which nobody may be chosen", async () => {
    const stage = new DetectorStage();
    const [one, two] = stage.pair();
    for (const client of [one, two]) client.isProtected = true;
    const three = stage.client(3, 1);
    stage.wait(1, three, [two]);
    for (const client of stage.clients) client.lockTimeoutMs = 1_000;
    await stage.pass(900);
    stage.assertNobody();
    await stage.pass(1_100);
    assert.deepEqual(three.told.slice(0, 2), ["doomed 55P03", "cancel what runs"]);
    assert.match(three.fault!.detail!, /no transaction may be cancelled/);
    assert.deepEqual([one.told, two.told, stage.victims], [[], [], []]);
  });

  it("never comes for slow holders: who only waits in a chain waits on", async () => {
    const stage = new DetectorStage();
    const [one, two, three] = [stage.client(1, 0), stage.client(2, 1), stage.client(3)];
    stage.wait(0, one, [two, three]);
    stage.wait(1, two, [three]);
    for (const client of stage.clients) client.lockTimeoutMs = 1_000;
    await stage.pass(60_000);
    stage.assertNobody();
  });

  it("never comes for what is not proven to be a deadlock, however long it has run", async () => {
    const stage = new DetectorStage();
    const one = stage.client(1, 0);
    one.lockTimeoutMs = 1_000;
    await stage.pass(5_000);
    const two = stage.client(2, 1);
    stage.wait(0, one, [two]);
    stage.wait(1, two, [one]);
    const before = stage.shards[0].questions;
    stage.shards[0].afterQuestion = (question) => {
      if (question === before + 1)
        stage.shards[0].locks = [waitOf(one.pid(0), [two.pid(0)], { waitStart: "later" })];
    };
    await stage.pass(60);
    stage.assertNobody();
  });
});
