/** Which standby may be read from, and how far one is behind. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { HostHealth } from "../../../src/pool/health/hostState.ts";
import { WrittenHistory } from "../../../src/pool/health/replicationLag.ts";
import { ageMaxMs, type StandbyFacts, whyUnfit } from "../../../src/pool/health/standbyFitness.ts";

const UP: HostHealth = { state: "up", sinceMs: 0, failures: 0, reason: { kind: "answered" } };
const FIT: StandbyFacts = {
  health: UP,
  isStandby: true,
  timeline: 3,
  shardTimeline: 3,
  lag: { ms: 10, atMs: 1_000 },
};
const BOUNDS = { lagMaxMs: 100, ageMaxMs: 500 };

describe("a standby", () => {
  it("may be read from if it answers, is one, was asked lately, and was close then", () => {
    assert.equal(whyUnfit(FIT, BOUNDS, 1_000), null);
    assert.equal(whyUnfit({ ...FIT, lag: { ms: 100, atMs: 500 } }, BOUNDS, 1_000), null);
    assert.equal(whyUnfit({ ...FIT, timeline: null }, BOUNDS, 1_000), null);
    assert.equal(whyUnfit({ ...FIT, shardTimeline: null }, BOUNDS, 1_000), null);
  });

  it("may not otherwise, and it is said why", () => {
    const cases: [Partial<StandbyFacts>, RegExp][] = [
      [{ health: { ...UP, state: "suspect" } }, /^is suspect/],
      [{ health: { ...UP, state: "down" } }, /^is down/],
      [{ isStandby: false }, /^is no standby$/],
      [{ timeline: 2 }, /timeline 2.*on 3/],
      [{ lag: null }, /not known/],
      [{ lag: { ms: null, atMs: 1_000 } }, /not known/],
      [{ lag: { ms: 0, atMs: 499 } }, /not known/],
      [{ lag: { ms: 101, atMs: 1_000 } }, /^is 101 ms behind$/],
    ];
    for (const [facts, says] of cases)
      assert.match(whyUnfit({ ...FIT, ...facts }, BOUNDS, 1_000) ?? "", says);
  });

  it("is asked in time however uneven the intervals of the monitor are", () => {
    assert.ok(ageMaxMs({ intervalMs: 2_000, timeoutMs: 1_000 }) > 2_000 * 1.25 + 1_000);
  });
});

describe("the lag of a standby", () => {
  const history = (): WrittenHistory => {
    const written = new WrittenHistory();
    for (const [bytes, atMs] of [
      [100, 1_000],
      [100, 2_000],
      [300, 3_000],
    ] as const) {
      written.note(bytes, atMs);
    }
    return written;
  };
  const at = (replayedBytes: number | null, replayAgeSeconds: number | null, nowMs: number) =>
    history().behindMs({ replayedBytes, replayAgeSeconds }, nowMs);

  it("is none where it has all that the primary had, however long ago that was written", () => {
    assert.equal(at(300, 3_600, 3_500), 0);
    assert.equal(at(400, null, 3_500), 0);
  });

  it("is the time since the primary was where the standby is now", () => {
    assert.equal(at(100, 3_600, 3_500), 1_500);
    assert.equal(at(299, null, 3_500), 1_500);
  });

  it("is the age of the last transaction where that is less", () => {
    assert.equal(at(200, 0.25, 3_500), 250);
    assert.equal(at(200, -4, 3_500), 0);
    assert.equal(at(50, 5, 3_500), 5_000);
  });

  it("is not known where nothing can be compared", () => {
    assert.equal(at(50, null, 3_500), null);
    assert.equal(at(null, 1, 3_500), null);
    assert.equal(new WrittenHistory().behindMs({ replayedBytes: 1, replayAgeSeconds: 0 }, 0), null);
  });

  it("is never less than it is, but for what was written since the primary was asked", () => {
    const step = fc.record({ bytes: fc.nat(50), ms: fc.integer({ min: 1, max: 100 }) });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), fc.nat(59), (steps, at) => {
        const written = new WrittenHistory();
        const positions: { bytes: number; atMs: number }[] = [];
        let [bytes, atMs] = [0, 0];
        for (const one of steps) {
          bytes += one.bytes;
          atMs += one.ms;
          positions.push({ bytes, atMs });
          written.note(bytes, atMs);
        }
        // A standby that is where the primary was at some step, and nowhere before.
        const replayedBytes = positions[at % positions.length]!.bytes;
        const behindMs = written.behindMs({ replayedBytes, replayAgeSeconds: null }, atMs);
        const reached = positions.findLast((one) => one.bytes <= replayedBytes)!;
        assert.ok(behindMs === null || behindMs >= atMs - reached.atMs);
      }),
    );
  });
});
