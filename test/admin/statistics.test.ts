/** Averages over the last whole minute. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { binaryCell } from "../../src/admin/binaryCells.ts";
import { TYPE } from "../../src/admin/consoleTable.ts";
import { Statistics } from "../../src/admin/statistics.ts";
import { Traffic } from "../../src/observe/traffic.ts";
import { ManualEnvironment } from "../txn/manualEnvironment.ts";

async function stage() {
  const world = new ManualEnvironment();
  const traffic = new Traffic();
  const statistics = new Statistics(traffic, world.clock);
  const { totals } = traffic.of("bank", "ann");
  /** `seconds` pass with ten queries of 3 ms in each. */
  const work = async (seconds: number): Promise<void> => {
    for (let i = 0; i < seconds; i += 1) {
      totals.queries += 10;
      totals.queryMs += 30;
      await world.pass(1_000);
    }
  };
  return { world, statistics, work };
}

describe("statistics", () => {
  it("are those of what has passed, before there was a whole minute", async () => {
    const { statistics, work } = await stage();
    await work(10);
    const { perSecond, queryMs } = statistics.of("bank");
    assert.deepEqual([perSecond.queries, queryMs], [10, 3]);
  });

  it("are those of the last whole minute after that", async () => {
    const { world, statistics, work } = await stage();
    await work(120);
    await world.pass(30_000);
    assert.equal(statistics.of("bank").perSecond.queries, 10);
    await world.pass(90_000);
    assert.deepEqual([statistics.of("bank").perSecond.queries, statistics.of("bank").queryMs], [0, 0]);
    statistics.stop();
    assert.equal(world.nextMs, null);
  });

  it("are 0 of a database that nobody uses", async () => {
    const { statistics } = await stage();
    assert.equal(statistics.of("other").perSecond.queries, 0);
  });
});

describe("binary values", () => {
  const cases: readonly (readonly [number, string, string])[] = [
    [TYPE.bool, "t", "01"],
    [TYPE.int4, "-2", "fffffffe"],
    [TYPE.int8, "4711", "0000000000001267"],
    [TYPE.text, "é", "c3a9"],
    [TYPE.timestamptz, "2000-01-01 00:00:01.000+00", "00000000000f4240"],
    // As numeric_send has them: digits, weight, sign, scale, then four decimal digits each.
    [TYPE.numeric, "0", "0000ffff00000000"],
    [TYPE.numeric, "12345678", "0002000100000000" + "04d2162e"],
    [TYPE.numeric, "-7", "0001000040000000" + "0007"],
  ];
  for (const [type, text, hex] of cases) {
    it(`${text} of type ${type} is ${hex}`, () => assert.equal(binaryCell(type, text).toString("hex"), hex));
  }
});
