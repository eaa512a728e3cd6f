import assert from "node:assert/strict";
import { test } from "node:test";
import { type ConservationFigures, isConserved, type Outcome, tally } from "../../bench/conservation.ts";

const both = [new Set([1]), new Set([1])];
const one = [new Set([1]), new Set<number>()];
const none = [new Set<number>(), new Set<number>()];

/** Every outcome a client can be told, with every state the shards can be in. */
const TABLE: readonly [Outcome, Set<number>[], { lost: number; resurrected: number; half: number }][] = [
  ["acknowledged", both, { lost: 0, resurrected: 0, half: 0 }],
  ["acknowledged", one, { lost: 1, resurrected: 0, half: 1 }],
  ["acknowledged", none, { lost: 1, resurrected: 0, half: 0 }],
  ["failed", both, { lost: 0, resurrected: 1, half: 0 }],
  ["failed", one, { lost: 0, resurrected: 0, half: 1 }],
  ["failed", none, { lost: 0, resurrected: 0, half: 0 }],
  ["unknown", both, { lost: 0, resurrected: 0, half: 0 }],
  ["unknown", one, { lost: 0, resurrected: 0, half: 1 }],
  ["unknown", none, { lost: 0, resurrected: 0, half: 0 }],
];

for (const [outcome, applied, expected] of TABLE) {
  const parts = applied.filter((ids) => ids.has(1)).length;
  test(`a transfer told ${outcome} that is on ${parts} shards counts as it should`, () => {
    const { lost, resurrected, half } = tally(new Map([[1, outcome]]), applied);
    assert.deepEqual({ lost, resurrected, half }, expected);
  });
}

test("money is conserved only if nothing is lost, invented, halved or left prepared", () => {
  const good: ConservationFigures = {
    clients: 2,
    ...tally(new Map([[1, "acknowledged"]]), both),
    totalBefore: 10,
    totalAfter: 10,
    leftPrepared: 0,
    totalsRead: 5,
    totalsTorn: 1,
  };
  assert.equal(isConserved(good), true);
  for (const bad of [{ lost: 1 }, { resurrected: 1 }, { half: 1 }, { leftPrepared: 1 }, { totalAfter: 9 }]) {
    assert.equal(isConserved({ ...good, ...bad }), false, JSON.stringify(bad));
  }
});
