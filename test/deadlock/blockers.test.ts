/** Who blocks whom as it is worked out: holders exactly, and enough of the queue to lead on. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type HeldLock, workOutBlockers } from "../../src/deadlock/blockers.ts";

/** https://www.postgresql.org/docs/current/explicit-locking.html, table 13.2, row by row: 1 where two modes conflict. */
const MODES = [
  "AccessShareLock",
  "RowShareLock",
  "RowExclusiveLock",
  "ShareUpdateExclusiveLock",
  "ShareLock",
  "ShareRowExclusiveLock",
  "ExclusiveLock",
  "AccessExclusiveLock",
];
const TABLE = [
  "00000001",
  "00000011",
  "00001111",
  "00011111",
  "00110111",
  "00111111",
  "01111111",
  "11111111",
];

const conflict = (one: string, other: string): boolean =>
  TABLE[MODES.indexOf(one)]![MODES.indexOf(other)] === "1";

const holder = (pid: number | null, mode = "ExclusiveLock"): HeldLock => ({
  pid,
  mode,
  isGranted: true,
  waitStart: null,
});
const waiter = (pid: number, waitStart: string | null, mode = "ExclusiveLock"): HeldLock => ({
  pid,
  mode,
  isGranted: false,
  waitStart,
});

const blockersOf = (...locks: readonly HeldLock[]): Record<number, readonly number[]> => {
  const blockers = workOutBlockers(locks);
  return Object.fromEntries([...blockers].map(([{ pid }, by]) => [pid!, [...by].sort((a, b) => a - b)]));
};

describe("who blocks whom", () => {
  it("by holding follows Postgres's table of conflicts", () => {
    for (const mine of MODES) {
      for (const other of MODES) {
        const expected = conflict(mine, other) ? [1] : [];
        assert.deepEqual(
          blockersOf(holder(1, other), waiter(2, "b", mine)),
          { 2: expected },
          `${mine} ${other}`,
        );
      }
    }
  });

  it("by standing before it in the queue, of which the last says enough", () => {
    const locks = [waiter(5, null), waiter(4, "c"), holder(1), waiter(2, "a"), waiter(3, "b")];
    assert.deepEqual(blockersOf(...locks), { 2: [1], 3: [1, 2], 4: [1, 3], 5: [1, 4] });
  });

  it("names every one before it that does not conflict with its like", () => {
    const shared = [waiter(2, "a", "ShareLock"), waiter(3, "b", "ShareLock")];
    assert.deepEqual(blockersOf(holder(1), ...shared, waiter(4, "c")), { 2: [1], 3: [1], 4: [1, 2, 3] });
  });

  it("has 0 for what is prepared, and nobody for the session's own", () => {
    assert.deepEqual(blockersOf(holder(null), holder(null), waiter(2, "a")), { 2: [0] });
    assert.deepEqual(blockersOf(holder(2), waiter(2, "a"), waiter(2, "b")), { 2: [] });
  });

  it("leads from each waiter to everybody whom it waits for in the end, and to nobody else", () => {
    const mode = fc.constantFrom(...MODES);
    const held = fc.uniqueArray(mode, { maxLength: 3 });
    const queued = fc.array(mode, { minLength: 1, maxLength: 8 });
    const run = (modesHeld: readonly string[], modesQueued: readonly string[]) => {
      const locks = [
        ...modesHeld.map((one, i) => holder(100 + i, one)),
        ...modesQueued.map((one, i) => waiter(i + 1, `t${i}`, one)),
      ];
      const blockers = blockersOf(...locks);
      const exact = (index: number): number[] => [
        ...modesHeld.flatMap((one, i) => (conflict(one, modesQueued[index]!) ? [100 + i] : [])),
        ...modesQueued
          .slice(0, index)
          .flatMap((one, i) => (conflict(one, modesQueued[index]!) ? [i + 1] : [])),
      ];
      for (const [index] of modesQueued.entries()) {
        for (const pid of blockers[index + 1]!) assert.ok(exact(index).includes(pid), "it does block");
        const reached = reach(index + 1, (pid) => blockers[pid] ?? []);
        assert.deepEqual(
          reached,
          reach(index + 1, (pid) => (pid < 100 ? exact(pid - 1) : [])),
        );
      }
    };
    fc.assert(fc.property(held, queued, run), { numRuns: 500 });
  });
});

function reach(from: number, next: (pid: number) => readonly number[]): readonly number[] {
  const seen = new Set<number>();
  const open = [...next(from)];
  for (let pid = open.pop(); pid !== undefined; pid = open.pop()) {
    if (seen.has(pid)) continue;
    seen.add(pid);
    open.push(...next(pid));
  }
  return [...seen].sort((a, b) => a - b);
}
