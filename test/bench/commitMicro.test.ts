/** What a transfer makes pgxa do, counted where it costs: writes, timers. The time is for `node bench/micro/commit.ts`. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { commitFigure } from "../../bench/micro/commit.ts";
import { loadParser } from "../../src/routing/parse.ts";
import { ManualEnvironment } from "../txn/manualEnvironment.ts";

const TRANSFERS = 50;

describe("a transfer over two shards", () => {
  before(loadParser);

  it("takes 4 writes to the client, 2 of statements, and 3 of the commit with the log on a shard", async () => {
    const figure = await commitFigure("shard", TRANSFERS, 1);
    assert.equal(figure.writes, 9);
  });

  it("takes 4 writes of the commit with the log in files", async () => {
    const figure = await commitFigure("file", TRANSFERS, 1);
    assert.equal(figure.writes, 10);
  });

  it("sets no timer", async () => {
    // Those of a connection and of the deadlock detector serve many transfers; here no time passes for them.
    const { clock } = new ManualEnvironment();
    const figure = await commitFigure("shard", TRANSFERS, 1, clock);
    assert.equal(figure.timers, 0);
  });

  it("has a shard parse nothing that was kept prepared before", async () => {
    const { clock } = new ManualEnvironment(); // in which no shared name grows old
    for (const log of ["shard", "file"] as const)
      assert.equal((await commitFigure(log, TRANSFERS, 1, clock)).made, 0);
  });
});
