import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Chain, type Link } from "../../src/base/chain.ts";

interface Named extends Link<Named> {
  readonly name: string;
}
const named = (name: string): Named => ({ name, next: null });
const names = (first: Named | null): string[] => (first === null ? [] : [first.name, ...names(first.next)]);

describe("a chain", () => {
  it("gives its elements in the order in which they came", () => {
    const chain = new Chain<Named>();
    assert.equal(chain.shift(), null);
    chain.push(named("a"));
    chain.push(named("b"));
    assert.equal(chain.first?.name, "a");
    assert.equal(chain.shift()?.name, "a");
    chain.push(named("c"));
    assert.deepEqual([chain.shift()?.name, chain.shift()?.name, chain.shift()], ["b", "c", null]);
    chain.push(named("d"));
    assert.deepEqual(names(chain.first), ["d"]);
  });

  it("can be taken out whole, and what comes then begins another", () => {
    const chain = new Chain<Named>();
    for (const name of ["a", "b"]) chain.push(named(name));
    const taken = chain.takeAll();
    chain.push(named("c"));
    assert.deepEqual([names(taken), names(chain.first)], [["a", "b"], ["c"]]);
    assert.equal(new Chain<Named>().takeAll(), null);
  });
});
