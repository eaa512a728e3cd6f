/** Circles that lead through the clients of several workers. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { TURN_MAX_MS } from "../../src/fleet/deadlockDesk.ts";
import { gidPrefix } from "../../src/txn/gid.ts";
import { DetectorStage } from "../deadlock/detectorStage.ts";
import { waitOf } from "../deadlock/played.ts";
import { DetectorFleet } from "./detectorFleet.ts";

describe("detectors of several workers", () => {
  it("say nothing to each other while nothing has waited", async () => {
    const fleet = new DetectorFleet();
    const [one] = [fleet.workers[0]!.client(1, 0), fleet.workers[1]!.client(2)];
    await fleet.pass(49);
    assert.equal(fleet.said("deadlock.others"), 0);
    await fleet.pass(5_000);
    assert.equal(fleet.said("deadlock.others"), 0, "it runs long, and waits for nobody");
    one.moves += 1;
  });

  it("say nothing to each other while who waits waits for a client of the same worker that runs", async () => {
    const fleet = new DetectorFleet();
    const [one, two] = [fleet.workers[0]!.client(1, 0), fleet.workers[0]!.client(2)];
    fleet.wait(0, one, [two]);
    await fleet.pass(5_000);
    assert.equal(fleet.said("deadlock.others"), 0);
    assert.deepEqual(fleet.victims, [[], []]);
  });

  it("ask each other, and make nobody give way, where the other worker's client runs", async () => {
    const fleet = new DetectorFleet();
    const [one, two] = [fleet.workers[0]!.client(1, 0), fleet.workers[1]!.client(2)];
    fleet.wait(0, one, [two]);
    await fleet.pass(5_000);
    assert.ok(fleet.said("deadlock.others") > 0);
    assert.equal(fleet.said("deadlock.turn"), 0);
    assert.deepEqual(fleet.victims, [[], []]);
  });

  it("break a circle once, though both find it: the victim's worker tells it, and keeps the record", async () => {
    const fleet = new DetectorFleet();
    const [one, two] = fleet.pair();
    one.writes = 3;
    await fleet.pass(50);
    assert.deepEqual(two.told, ["doomed 40P01", "settled"]);
    assert.deepEqual(one.told, []);
    assert.deepEqual(fleet.victims, [[], [2]]);
    assert.deepEqual(fleet.shards[1].cancelled, [two.pid(1)]);
    assert.deepEqual(fleet.shards[0].cancelled, []);
    assert.deepEqual(
      fleet.workers.map(({ events }) => events),
      [[], ["deadlock.broken"]],
    );
    await fleet.pass(900);
    assert.deepEqual(fleet.victims, [[], [2]]);
  });

  it("say the same of it as one detector alone", async () => {
    const [fleet, alone] = [new DetectorFleet(), new DetectorStage()];
    const [, two] = fleet.pair();
    const [, same] = alone.pair();
    two.writes = 0;
    same.writes = 0;
    await fleet.pass(50);
    await alone.pass(50);
    assert.equal(two.fault!.detail, same.fault!.detail);
    assert.match(two.fault!.detail!, /^Transaction t2 of client 2, process 21 of shard "north", waits/);
    const [record] = fleet.workers[1]!.detector.history.records;
    assert.deepEqual(record, alone.detector.history.records[0]);
  });

  it("find it though only one of them waits where something is watched", async () => {
    const fleet = new DetectorFleet();
    const [one, two] = [fleet.workers[0]!.client(1, 0), fleet.workers[1]!.client(2)];
    fleet.wait(0, one, [two]);
    two.runningOn = [1];
    fleet.wait(1, two, [one]);
    await fleet.pass(100);
    assert.deepEqual(fleet.victims, [[], []], "nobody looks at the second shard");
    fleet.workers[1]!.detector.watch.begin(two);
    await fleet.pass(50);
    assert.equal(fleet.victims.flat().length, 1);
  });

  it("break a circle through three workers", async () => {
    const fleet = new DetectorFleet(3);
    const clients = fleet.workers.map((worker, i) => worker.client(i + 1, i));
    for (const i of [0, 1, 2]) fleet.wait(i, clients[i]!, [clients[(i + 1) % 3]!]);
    clients[0]!.writes = 5;
    clients[1]!.writes = 5;
    await fleet.pass(50);
    assert.deepEqual(fleet.victims, [[], [], [3]]);
    assert.equal(fleet.workers[2]!.detector.history.records[0]!.size, 3);
  });

  it("spare who was a victim before, whoever judges", async () => {
    const fleet = new DetectorFleet();
    const [one, two] = fleet.pair();
    one.writes = 9;
    await fleet.pass(50);
    two.moves += 1; // it has given way, and is in the same deadlock again
    await fleet.pass(100);
    assert.deepEqual(fleet.victims, [[1], [2]]);
  });

  it("take no second victim while the first is on its way, and one again if the cancellation missed it", async () => {
    const fleet = new DetectorFleet();
    const [, two] = fleet.pair();
    two.writes = 0;
    fleet.shards[1].onCancel = () => false;
    await fleet.pass(50);
    assert.equal(fleet.victims[1]!.length, 1);
    fleet.shards[1].onCancel = () => true;
    await fleet.pass(200);
    assert.equal(fleet.victims.flat().length, 2);
    await fleet.pass(300);
    assert.equal(fleet.victims.flat().length, 2);
  });

  it("leave who has moved alone", async () => {
    const fleet = new DetectorFleet();
    const [, two] = fleet.pair();
    two.writes = 0;
    two.isWilling = false;
    await fleet.pass(50);
    assert.deepEqual(fleet.victims, [[], []]);
  });

  it("know that what another worker is committing is that client's", async () => {
    const fleet = new DetectorFleet();
    const [one, two] = [fleet.workers[0]!.client(1, 0), fleet.workers[1]!.client(2, 1)];
    one.isProtected = true;
    one.gtrid = "f:c:1:2";
    one.writes = 0;
    fleet.wait(0, one, [two]);
    fleet.shards[1].locks = [
      waitOf(two.pid(1), [0], { preparedBlockers: [`${gidPrefix("f")}c:1:2::north`] }),
    ];
    await fleet.pass(50);
    assert.deepEqual(fleet.victims, [[], [2]]);
  });

  it("show every wait with its client, in whichever worker that is", async () => {
    const fleet = new DetectorFleet();
    fleet.pair();
    fleet.workers[1]!.queue.waiting.push({ owner: fleet.workers[1]!.client(3), pool: 2, sinceMs: 0 });
    const rows = await fleet.workers[0]!.detector.waits();
    assert.deepEqual(
      rows.map(({ client, blockedBy }) => [client, ...blockedBy]),
      [[1, "transaction t2 of client 2"], [2, "transaction t1 of client 1"], [3]],
    );
  });

  it("take the same victims as one process would, whichever workers the clients are in", async () => {
    const waits = fc.array(fc.tuple(fc.nat(7), fc.nat(2), fc.nat(7)), { minLength: 1, maxLength: 14 });
    const places = fc.array(fc.nat(2), { minLength: 8, maxLength: 8 });
    const writes = fc.array(fc.nat(3), { minLength: 8, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(waits, places, writes, async (edges, place, cost) => {
        const [fleet, alone] = [new DetectorFleet(3), new DetectorStage()];
        for (const id of place.keys()) {
          const runningOn = [...new Set(edges.flatMap(([from, shard]) => (from === id ? [shard] : [])))];
          fleet.workers[place[id]!]!.client(id + 1, ...runningOn).writes = cost[id]!;
          alone.client(id + 1, ...runningOn).writes = cost[id]!;
        }
        const all = fleet.workers.flatMap(({ clients }) => clients);
        const inFleet = (id: number) => all.find(({ client }) => client === id + 1)!;
        for (const [from, shard, to] of edges) {
          if (from === to) continue;
          fleet.wait(shard, inFleet(from), [inFleet(to)]);
          alone.wait(shard, alone.clients[from]!, [alone.clients[to]!]);
        }
        await fleet.pass(50);
        await alone.pass(50);
        assert.deepEqual(fleet.victims.flat().sort(), alone.victims.sort());
      }),
      { numRuns: 60 },
    );
  });
});

describe("circles through the connections that workers have together", () => {
  /** A client of the first worker wants a connection that one of the second has, who waits for a row of the first's. */
  function crossing(poolMax: number): DetectorFleet {
    const fleet = new DetectorFleet(2, poolMax);
    const [waiter, holder] = [fleet.workers[0]!.client(1), fleet.workers[1]!.client(2, 0)];
    fleet.workers[0]!.queueUp(1, waiter);
    fleet.workers[1]!.queue.held.set(1, [holder]);
    fleet.workers[1]!.queue.taken = 1;
    fleet.wait(0, holder, [waiter]);
    waiter.writes = 0;
    return fleet;
  }

  it("are broken where all connections are held by who waits, in whichever worker", async () => {
    const fleet = crossing(1);
    await fleet.pass(50);
    assert.deepEqual(fleet.victims, [[1], []]);
    assert.deepEqual(fleet.workers[0]!.queue.refused, ["1 40P01"]);
    assert.equal(fleet.workers[0]!.detector.history.records[0]!.cause, "pool");
  });

  it("are broken by the other worker, too", async () => {
    const fleet = crossing(1);
    fleet.workers[0]!.detector.watch.end(fleet.workers[0]!.clients[0]!);
    await fleet.pass(50);
    assert.deepEqual(fleet.workers[0]!.queue.refused, ["1 40P01"]);
  });

  it("are none while a connection is free, or on its way between workers", async () => {
    const fleet = crossing(2);
    await fleet.pass(5_000);
    assert.deepEqual(fleet.victims, [[], []]);
  });

  it("are none while another worker's holder of one can go on", async () => {
    const fleet = crossing(1);
    fleet.workers[1]!.queue.held.set(1, [...fleet.workers[1]!.clients, fleet.workers[1]!.client(3)]);
    await fleet.pass(5_000);
    assert.deepEqual(fleet.victims, [[], []]);
  });

  it("are none while another worker's holder of one to another shard can go on, for all shards have as many", async () => {
    const fleet = crossing(1);
    fleet.workers[1]!.queue.held.set(2, [fleet.workers[1]!.client(3)]);
    await fleet.pass(5_000);
    assert.deepEqual(fleet.victims, [[], []]);
  });

  it("are not believed while a worker does not answer, who may have some", async () => {
    const fleet = new DetectorFleet(3, 1);
    const [waiter, holder] = [fleet.workers[0]!.client(1), fleet.workers[1]!.client(2, 0)];
    fleet.workers[0]!.queueUp(1, waiter);
    fleet.workers[1]!.queue.held.set(1, [holder]);
    fleet.workers[1]!.queue.taken = 1;
    fleet.wait(0, holder, [waiter]);
    fleet.crew.workers[2]!.pause();
    await fleet.pass(2_000);
    assert.deepEqual(fleet.victims.flat(), []);
    fleet.crew.workers[2]!.resume();
    await fleet.pass(1_000);
    assert.equal(fleet.victims.flat().length, 1);
  });
});

describe("a worker that does not answer", () => {
  it("holds the others up once, for a quarter of a second, and no more", async () => {
    const fleet = new DetectorFleet(3);
    fleet.crew.workers[2]!.pause();
    const [, two] = fleet.pair();
    two.writes = 0;
    await fleet.pass(50 + 249);
    assert.deepEqual(fleet.victims.flat(), []);
    await fleet.pass(1);
    assert.deepEqual(fleet.victims, [[], [2], []]);
    two.moves += 1;
    await fleet.pass(250);
    assert.equal(fleet.victims.flat().length, 2, "the next look does not wait for it");
  });

  it("and goes on later, is asked again", async () => {
    const fleet = new DetectorFleet();
    fleet.crew.workers[1]!.pause();
    fleet.pair();
    await fleet.pass(3_000);
    assert.deepEqual(fleet.victims.flat(), []);
    fleet.crew.workers[1]!.resume();
    await fleet.pass(300);
    assert.equal(fleet.victims.flat().length, 1);
  });

  it("and is gone, is not waited for", async () => {
    const fleet = new DetectorFleet(3);
    fleet.crew.crew.leave(fleet.crew.workers[2]!.member);
    fleet.pair();
    await fleet.pass(50);
    assert.equal(fleet.victims.flat().length, 1);
  });

  it("does not execute what it hears too late", async () => {
    const fleet = new DetectorFleet();
    const [, two] = fleet.pair();
    two.writes = 0;
    let question = 0;
    fleet.shards[0].afterQuestion = () => {
      question += 1;
      if (question === 4) fleet.crew.workers[1]!.pause(); // before it is told
    };
    fleet.workers[1]!.detector.watch.end(two);
    await fleet.pass(50);
    await fleet.pass(20_000);
    fleet.workers[0]!.detector.close();
    fleet.crew.workers[1]!.resume();
    await fleet.pass(1_000);
    assert.ok(question >= 4);
    assert.deepEqual(two.told, []);
  });

  it("lets those who may wait for its clients wait no longer than their lock timeout", async () => {
    const fleet = new DetectorFleet();
    const [one] = fleet.pair();
    const other = fleet.workers[0]!.client(3, 2);
    for (const client of [one, other]) client.lockTimeoutMs = 5_000;
    fleet.crew.workers[1]!.pause();
    await fleet.pass(4_999);
    assert.deepEqual(one.told, []);
    await fleet.pass(1_001);
    assert.deepEqual(one.told.slice(0, 2), ["doomed 55P03", "cancel what runs"]);
    assert.match(one.fault!.detail!, /worker/);
    assert.deepEqual(other.told, [], "it waits for nobody");
  });

  it("and was to judge, loses its turn after a while", async () => {
    const fleet = new DetectorFleet(3);
    const [three, four] = [fleet.workers[2]!.client(3, 0), fleet.workers[2]!.client(4, 1)];
    fleet.wait(0, three, [four]);
    fleet.wait(1, four, [three]);
    let questions = 0;
    fleet.shards[0].afterQuestion = () => {
      questions += 1;
      if (questions === 3) fleet.crew.workers[2]!.pause(); // it proves, and cannot say that it is done
    };
    await fleet.pass(60);
    assert.equal(fleet.victims[2]!.length, 1);
    fleet.pair();
    await fleet.pass(TURN_MAX_MS - 100);
    assert.deepEqual(fleet.victims.slice(0, 2).flat(), []);
    await fleet.pass(500);
    assert.equal(fleet.victims.slice(0, 2).flat().length, 1);
  });
});
