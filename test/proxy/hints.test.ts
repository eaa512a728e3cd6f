/** Hints set by SET: as strong and as lasting as a setting of Postgres. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Hints } from "../../src/proxy/hints.ts";

const east = { value: "east", shard: 0, amount: null };
const west = { value: "west", shard: 1, amount: null };

describe("hints", () => {
  it("name a shard until they are reset", () => {
    const hints = new Hints();
    assert.equal(hints.shard, null);
    hints.set("pgxa.key", west, false);
    assert.equal(hints.shard, 1);
    hints.set("pgxa.shard", east, false);
    assert.equal(hints.shard, 0, "a shard is stronger than a key");
    hints.set("pgxa.shard", null, false);
    assert.equal(hints.shard, 1);
  });

  it("made with SET LOCAL end with the transaction", () => {
    const hints = new Hints();
    hints.set("pgxa.shard", east, false);
    hints.begin();
    hints.set("pgxa.shard", west, true);
    assert.equal(hints.shard, 1);
    hints.end(true);
    assert.equal(hints.shard, 0);
  });

  it("made in a transaction are undone by its rollback", () => {
    const hints = new Hints();
    hints.begin();
    hints.set("pgxa.shard", west, false);
    hints.end(false);
    assert.equal(hints.shard, null);
  });
});
