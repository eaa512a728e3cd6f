/**
 * The applications on pg, and on postgres.js where it is installed, directly and through pgxa: what passes directly
 * passes through pgxa. `npm run test:drivers` has them all.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Belongings } from "../../bench/belongings.ts";
import type { ShardEndpoint } from "../../bench/pgxa.ts";
import { APPLICATIONS } from "./applications.ts";
import { reasonFor } from "./known.ts";
import { onlyMissedThere } from "./outcome.ts";
import { tryOut } from "./trial.ts";
import { openShard, type Way, waysTo } from "./ways.ts";

const QUICK = ["pg", "postgres.js"];

const belongings = new Belongings();
let shard: ShardEndpoint;
let ways: readonly Way[];
before(async () => {
  shard = await openShard(belongings);
  ways = await waysTo(shard, () => {});
});
after(() => belongings.stopAll());

describe("what passes directly passes through pgxa", () => {
  for (const application of APPLICATIONS.filter(({ name }) => QUICK.includes(name))) {
    const found = application.find();
    const skip = typeof found === "string" ? found : false;
    test(application.name, { skip }, async () => {
      assert.ok(typeof found !== "string");
      const on = (name: Way["name"]) => tryOut(found, ways.find((way) => way.name === name)!, shard);
      const [direct, through] = [await on("direct"), await on("pgxa")];
      assert.ok(direct.outcome.isWhole, direct.words);
      assert.ok(through.outcome.isWhole, through.words);
      const missed = onlyMissedThere(direct.outcome, through.outcome);
      assert.deepEqual(
        missed.filter(({ check }) => reasonFor(application.name, check) === null),
        [],
      );
    });
  }
});
