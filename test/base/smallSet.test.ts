import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SmallSet } from "../../src/base/smallSet.ts";

const [A, B, C] = [{ name: "a" }, { name: "b" }, { name: "c" }];

describe("a small set", () => {
  it("has each element once, in the order in which they came", () => {
    const set = new SmallSet<object>();
    for (const element of [A, A, B, A, C, B]) set.add(element);
    assert.equal(set.size, 3);
    assert.deepEqual([...set], [A, B, C]);
  });

  it("has nothing at first, and nothing once it was cleared", () => {
    const set = new SmallSet<object>();
    assert.deepEqual([set.size, [...set]], [0, []]);
    set.add(A);
    set.add(B);
    set.clear();
    assert.deepEqual([set.size, [...set]], [0, []]);
    set.add(B);
    assert.deepEqual([set.size, [...set]], [1, [B]]);
  });
});
