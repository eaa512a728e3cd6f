/** The judgement itself: what a client may be told, and what the shards may have. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { SeededRandom } from "../sim/seededRandom.ts";
import { complaintAbout, type Entry, Ledger, type Row, type Told, toldBy } from "./ledger.ts";
import { planTransfer, type Step, type Transfer } from "./transfer.ts";

const STEPS: readonly Step[] = [
  { shard: 0, account: 1, amount: -3 },
  { shard: 2, account: 7, amount: 3 },
];
const TRANSFER: Transfer = { id: 1, steps: STEPS, statements: [], end: "COMMIT", isDoomed: false };
const [ONE, OTHER] = STEPS as [Row, Row];

const entry = (told: Told | null, transfer: Transfer = TRANSFER): Entry => ({
  transfer,
  told,
  words: "",
  pgxa: 0,
  beganMs: 0,
  endedMs: 0,
  phase: "",
});

describe("a transfer", () => {
  const BOTH = [OTHER, ONE];
  const NONE: Row[] = [];
  const CASES: readonly (readonly [Told | null, Row[], RegExp | null])[] = [
    ["committed", BOTH, null],
    ["committed", NONE, /acknowledged/],
    ["committed", [ONE], /some of its shards/],
    ["aborted", NONE, null],
    ["aborted", BOTH, /reported as failed/],
    ["aborted", [OTHER], /some of its shards/],
    ["unknown", NONE, null],
    ["unknown", BOTH, null],
    ["unknown", [ONE], /some of its shards/],
    [null, BOTH, null],
    [null, [OTHER], /some of its shards/],
    ["committed", [...BOTH, { shard: 1, account: 1, amount: -3 }], /nobody wrote/],
    ["committed", [ONE, { ...OTHER, amount: 4 }], /nobody wrote/],
  ];
  for (const [told, rows, complaint] of CASES) {
    const have = rows.length === 0 ? "nothing" : `${rows.length} rows`;
    test(`of which was said ${told} and the shards have ${have} is ${complaint === null ? "right" : `wrong: ${complaint.source}`}`, () => {
      const found = complaintAbout(entry(told), rows);
      if (complaint === null) assert.equal(found, null);
      else assert.match(found ?? "", complaint);
    });
  }

  test("that must not be is wrong if it is there, whatever was said", () => {
    const doomed = { ...TRANSFER, isDoomed: true };
    assert.match(complaintAbout(entry("unknown", doomed), BOTH) ?? "", /must not be/);
    assert.equal(complaintAbout(entry("aborted", doomed), NONE), null);
  });
});

describe("what a client was told", () => {
  test("is unknown only where COMMIT was said and no outcome came back", () => {
    assert.equal(toldBy("40001", true), "aborted");
    assert.equal(toldBy("08006", true), "aborted");
    assert.equal(toldBy("08007", true), "unknown");
    assert.equal(toldBy(null, true), "unknown");
    assert.equal(toldBy(null, false), "aborted");
    assert.equal(toldBy("08007", false), "aborted");
  });

  test("is counted in the phase in which it was", () => {
    const ledger = new Ledger();
    const one = ledger.begin(TRANSFER, 0, 1);
    ledger.phase = "storm";
    ledger.end(one, "unknown", "", 2);
    assert.deepEqual(ledger.countsOf("storm"), { committed: 0, aborted: 0, unknown: 1 });
    assert.equal(ledger.size, 1);
  });
});

test("every planned transfer conserves money, on accounts of its own", () => {
  const bank = {
    shardIds: ["east", "north", "west"],
    accounts: [
      [1, 4],
      [2, 5],
      [3, 6],
    ],
  };
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const { steps, statements } = planTransfer(1, bank, new SeededRandom(seed));
      assert.equal(
        steps.reduce((sum, { amount }) => sum + amount, 0),
        0,
      );
      assert.equal(new Set(steps.map(({ account }) => account)).size, steps.length);
      for (const { shard, account } of steps) assert.ok(bank.accounts[shard]!.includes(account));
      assert.ok(statements.length >= steps.length);
    }),
  );
});
