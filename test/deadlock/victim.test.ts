/** Who gives way, by each policy. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type Candidate, chooseVictim, type VictimPolicy } from "../../src/deadlock/victim.ts";

const candidate = (node: string, more: Partial<Candidate> = {}): Candidate => ({
  node,
  priority: 0,
  writes: 5,
  startedAtMs: 100,
  wasVictim: false,
  ...more,
});

describe("the victim", () => {
  const small = candidate("small", { writes: 1 });
  const young = candidate("young", { startedAtMs: 200 });
  const humble = candidate("humble", { priority: -1 });
  const plain = candidate("plain");
  const beaten = (one: Candidate): Candidate => ({ ...one, wasVictim: true });

  const table: readonly (readonly [VictimPolicy, string, readonly Candidate[], string])[] = [
    ["least_work", "wrote least", [plain, young, small, humble], "small"],
    ["least_work", "is youngest where all wrote as much", [plain, young, humble], "young"],
    ["least_work", "was none before, though it wrote more", [beaten(small), plain], "plain"],
    ["least_work", "wrote least where all were victims", [beaten(small), beaten(plain)], "small"],
    ["youngest", "began last, whatever it wrote", [small, young, humble], "young"],
    ["youngest", "wrote least of those that began together", [plain, small], "small"],
    ["youngest", "was none before, though it is older", [beaten(young), plain], "plain"],
    ["priority", "ranks lowest", [plain, small, young, humble], "humble"],
    ["priority", "ranks lowest, though it was a victim before", [beaten(humble), plain], "humble"],
    ["priority", "was none before where all rank alike", [beaten(small), young], "young"],
    ["priority", "wrote least where all rank alike", [young, small, plain], "small"],
  ];
  for (const [policy, says, candidates, expected] of table) {
    it(`by ${policy} ${says}`, () => {
      assert.equal(chooseVictim(policy, candidates), expected);
      assert.equal(chooseVictim(policy, candidates.toReversed()), expected, "in whatever order");
    });
  }

  it("is nobody where there is no candidate", () => assert.equal(chooseVictim("least_work", []), null));

  it("is the same in whatever order they come, and always one of them", () => {
    const some = fc.record({
      node: fc.constantFrom(..."abcdef"),
      priority: fc.nat(1),
      writes: fc.nat(2),
      startedAtMs: fc.nat(2),
      wasVictim: fc.boolean(),
    });
    const shuffled = fc
      .uniqueArray(some, { minLength: 1, selector: ({ node }) => node })
      .chain((list) => fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })));
    const policies = fc.constantFrom<VictimPolicy>("least_work", "youngest", "priority");
    const run = (policy: VictimPolicy, [list, other]: [Candidate[], Candidate[]]) => {
      const victim = chooseVictim(policy, list);
      assert.equal(chooseVictim(policy, other), victim);
      assert.ok(list.some(({ node }) => node === victim));
    };
    fc.assert(fc.property(policies, shuffled, run));
  });
});
