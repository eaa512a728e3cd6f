/** What is counted of a client, to the millisecond. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ClientMeter } from "../../src/observe/clientMeter.ts";
import { OTHER, Traffic } from "../../src/observe/traffic.ts";
import { ManualEnvironment } from "../txn/manualEnvironment.ts";

const QUERY = 0x51;
const PARSE = 0x50;
const COPY_DONE = 0x63;
const TERMINATE = 0x58;
const [IDLE, OPEN, FAILED] = [0x49, 0x54, 0x45];

async function meterAt(startMs = 1_000) {
  const world = new ManualEnvironment();
  await world.pass(startMs);
  const traffic = new Traffic().of("bank", "ann");
  return { world, meter: new ClientMeter(traffic, world.clock), totals: traffic.totals, traffic };
}

describe("a client's meter", () => {
  it("counts a query from its first message to its ReadyForQuery", async () => {
    const { world, meter, totals, traffic } = await meterAt();
    meter.begin(PARSE);
    await world.pass(5);
    meter.begin(QUERY); // more of the same, or presented again
    await world.pass(7);
    meter.end(IDLE, true);
    await world.pass(100);
    assert.deepEqual([totals.queries, totals.queryMs], [1, 12]);
    assert.deepEqual([totals.transactions, totals.transactionMs], [1, 12]);
    assert.equal(traffic.database.query.count, 1);
    assert.equal(meter.queryFromMs, 0);
  });

  it("counts a transaction from its first query to the end, with what the client thought in between", async () => {
    const { world, meter, totals } = await meterAt();
    for (const status of [OPEN, FAILED, IDLE]) {
      meter.begin(QUERY);
      await world.pass(10);
      meter.end(status, true);
      await world.pass(30);
    }
    assert.deepEqual([totals.queries, totals.queryMs], [3, 30]);
    assert.deepEqual([totals.transactions, totals.transactionMs], [1, 90]);
  });

  it("counts queries that were sent ahead one after another", async () => {
    const { world, meter, totals } = await meterAt();
    meter.begin(QUERY);
    meter.begin(QUERY);
    await world.pass(10);
    meter.end(IDLE, false);
    await world.pass(20);
    meter.end(IDLE, true);
    assert.deepEqual(
      [totals.queries, totals.queryMs, totals.transactions, totals.transactionMs],
      [2, 30, 2, 30],
    );
  });

  it("takes the wait for a server connection out of the query, and counts it by itself", async () => {
    const { world, meter, totals, traffic } = await meterAt();
    meter.begin(QUERY);
    meter.beginWait();
    await world.pass(40);
    meter.endWait();
    meter.endWait();
    await world.pass(2);
    meter.end(IDLE, true);
    assert.deepEqual([totals.waitMs, totals.queryMs, totals.transactionMs], [40, 2, 2]);
    assert.equal(traffic.database.wait.count, 1);
    assert.equal(meter.waitFromMs, 0);
  });

  it("ends a wait that fails, too", async () => {
    const { world, meter, totals } = await meterAt();
    const wait = meter.during(
      new Promise((_, reject) => world.clock.after(5, () => reject(new Error("no")))),
    );
    const failed = assert.rejects(wait, /no/);
    await world.pass(5);
    await failed;
    assert.deepEqual([totals.waitMs, meter.waitFromMs], [5, 0]);
  });

  it("begins nothing with the end of a COPY that failed, or of the session", async () => {
    const { meter, totals } = await meterAt();
    meter.begin(COPY_DONE);
    meter.begin(TERMINATE);
    assert.equal(meter.queryFromMs, 0);
    meter.end(IDLE, true);
    assert.equal(totals.queries, 0);
  });

  it("tells Parse and Bind from the rest", async () => {
    const { meter, totals } = await meterAt();
    for (const type of [PARSE, 0x42, 0x42, 0x45, 0x53, QUERY]) meter.taken(type);
    assert.deepEqual([totals.clientParses, totals.binds], [1, 2]);
  });

  it("counts errors by class", async () => {
    const { meter, traffic } = await meterAt();
    for (const sqlstate of ["23505", "23503", "40P01"]) meter.failed(sqlstate);
    assert.deepEqual(Object.fromEntries(traffic.database.errors), { "23": 2, "40": 1 });
  });
});

describe("traffic", () => {
  it("counts the users beyond the thousandth together", () => {
    const traffic = new Traffic();
    for (let i = 0; i < 1_100; i += 1) traffic.of("bank", `user${i}`).totals.queries += 1;
    const [bank] = traffic.databases;
    assert.equal(bank!.totals.queries, 1_100);
    assert.equal(bank!.users.get(OTHER)!.totals.queries, 100);
    assert.equal(traffic.of("bank", "user5").user, "user5");
  });
});
