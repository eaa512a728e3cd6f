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

  it("about deadlocks are amounts, and point nowhere", () => {
    const hints = new Hints();
    hints.set("pgxa.lock_timeout", { value: "5s", shard: null, amount: 5_000 }, false);
    hints.set("pgxa.deadlock_priority", { value: "-3", shard: null, amount: -3 }, false);
    assert.equal(hints.shard, null);
    assert.equal(hints.get("pgxa.lock_timeout")?.amount, 5_000);
    hints.begin();
    hints.set("pgxa.lock_timeout", { value: "0", shard: null, amount: 0 }, true);
    hints.set("pgxa.deadlock_priority", { value: "7", shard: null, amount: 7 }, false);
    assert.equal(hints.get("pgxa.lock_timeout")?.amount, 0);
    hints.end(false);
    assert.equal(hints.get("pgxa.lock_timeout")?.amount, 5_000, "SET LOCAL ends with the transaction");
    assert.equal(hints.get("pgxa.deadlock_priority")?.amount, -3, "a rollback undoes SET");
  });

  it("set to their default for one transaction hide the session's until it ends", () => {
    const hints = new Hints();
    hints.set("pgxa.shard", east, false);
    hints.begin();
    hints.set("pgxa.shard", null, true);
    assert.equal(hints.shard, null);
    hints.end(true);
    assert.equal(hints.shard, 0);
  });

  it("are all forgotten at once", () => {
    const hints = new Hints();
    hints.set("pgxa.shard", east, false);
    hints.begin();
    hints.set("pgxa.key", west, true);
    hints.clear();
    assert.equal(hints.shard, null);
    assert.equal(hints.get("pgxa.key"), null);
  });
});
