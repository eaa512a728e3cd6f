/** What is thought of servers and shards, over every cell of the tables; and pauses, primaries and lag. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { readHosts } from "../../../src/config/hosts.ts";
import { pauseMs } from "../../../src/pool/health/backoff.ts";
import {
  admits,
  BREAKER_TABLE,
  type Breaker,
  type BreakerEvent,
  type BreakerState,
  type BreakerWorld,
  breakerStep,
  CLOSED,
  letThrough,
  TRIALS_MAX,
} from "../../../src/pool/health/breaker.ts";
import {
  HOST_TABLE,
  type HostEvent,
  type HostHealth,
  type HostNews,
  type HostState,
  hostStep,
  hostUnasked,
} from "../../../src/pool/health/hostState.ts";
import {
  choosePrimary,
  connectOrder,
  fitnessOf,
  type KnownShard,
  knownAfter,
  type ServerFacts,
} from "../../../src/pool/health/primary.ts";
import { replicationLag } from "../../../src/pool/health/replicationLag.ts";

const FAILURES_MAX = 3;
const REFUSED = { kind: "refused", says: "connection refused" } as const;
const NEWS: Readonly<Record<HostEvent, HostNews>> = {
  answered: { kind: "answered" },
  lost: { kind: "lost", reason: { kind: "lost", says: "terminated" } },
  failed: { kind: "failed", reason: REFUSED },
  failedOften: { kind: "failed", reason: REFUSED },
};

describe("a server of a shard", () => {
  for (const [state, row] of Object.entries(HOST_TABLE)) {
    for (const [event, cell] of Object.entries(row)) {
      it(`that is ${state} is ${cell === "ignored" ? state : cell} after ${event}`, () => {
        const failures = event === "failedOften" ? FAILURES_MAX - 1 : 0;
        const before: HostHealth = { ...hostUnasked(0), state: state as HostState, failures };
        const after = hostStep(before, NEWS[event as HostEvent], FAILURES_MAX, 7);
        assert.equal(after.state, cell === "ignored" ? state : cell);
        assert.equal(after.sinceMs, cell === "ignored" ? 0 : 7);
      });
    }
  }

  it("is down after that many failures in a row, and not after fewer", () => {
    let host = hostUnasked(0);
    for (let i = 1; i < FAILURES_MAX; i += 1) host = hostStep(host, NEWS.failed, FAILURES_MAX, i);
    assert.equal(host.state, "suspect");
    assert.equal(hostStep(host, NEWS.failed, FAILURES_MAX, 9).state, "down");
    const answered = hostStep(host, NEWS.answered, FAILURES_MAX, 9);
    assert.equal(answered.failures, 0);
    assert.equal(hostStep(answered, NEWS.failed, FAILURES_MAX, 10).state, "suspect");
  });

  it("keeps the first reason for which it is suspected, until it fails itself", () => {
    const lost = hostStep({ ...hostUnasked(0), state: "up" }, NEWS.lost, FAILURES_MAX, 1);
    assert.deepEqual(hostStep(lost, NEWS.lost, FAILURES_MAX, 2).reason, { kind: "lost", says: "terminated" });
    assert.deepEqual(hostStep(lost, NEWS.failed, FAILURES_MAX, 2).reason, REFUSED);
  });
});

const PAUSE_MS = 100;
const worldAt = (nowMs: number): BreakerWorld => ({
  failuresMax: FAILURES_MAX,
  nowMs,
  pauseMs: (pauses) => PAUSE_MS * pauses,
});
const BREAKERS: Readonly<Record<BreakerState, Breaker>> = {
  closed: CLOSED,
  open: { state: "open", pauses: 2, untilMs: 50 },
  halfOpen: { state: "halfOpen", pauses: 2, trialsLeft: 1 },
};

describe("a circuit breaker", () => {
  for (const [state, row] of Object.entries(BREAKER_TABLE)) {
    for (const [event, cell] of Object.entries(row) as [BreakerEvent, string][]) {
      it(`that is ${state} is ${cell === "ignored" ? `still ${state}` : cell} after ${event}`, () => {
        const isOften = event === "failedOften";
        const before =
          isOften && state === "closed"
            ? { state, failures: FAILURES_MAX - 1 }
            : BREAKERS[state as BreakerState];
        const news = isOften ? "failed" : event;
        const step = () => breakerStep(before as Breaker, news, worldAt(0)).state;
        // Only of one that is closed failures are counted.
        const expected = isOften && state !== "closed" ? BREAKER_TABLE[state as BreakerState].failed : cell;
        if (cell === "illegal") assert.throws(step, /circuit breaker/);
        else assert.equal(step(), expected === "ignored" ? state : expected);
      });
    }
  }

  it("lets nobody through while its pause lasts, then a few, then nobody until they are back", () => {
    let breaker = breakerStep(CLOSED, "judgedDown", worldAt(0));
    assert.equal(admits(breaker, PAUSE_MS - 1), false);
    for (let i = 0; i < TRIALS_MAX; i += 1) {
      assert.equal(admits(breaker, PAUSE_MS), true);
      breaker = letThrough(breaker, worldAt(PAUSE_MS));
      assert.equal(breaker.state, "halfOpen");
    }
    assert.equal(admits(breaker, PAUSE_MS + 10_000), false);
    assert.throws(() => letThrough(breaker, worldAt(PAUSE_MS)), /lets nothing through/);
    assert.equal(breakerStep(breaker, "succeeded", worldAt(0)), CLOSED);
    assert.deepEqual(breakerStep(breaker, "failed", worldAt(200)), {
      state: "open",
      pauses: 2,
      untilMs: 200 + 2 * PAUSE_MS,
    });
  });

  it("forgets failures before a success", () => {
    const failed = breakerStep(breakerStep(CLOSED, "failed", worldAt(0)), "failed", worldAt(0));
    const again = breakerStep(breakerStep(failed, "succeeded", worldAt(0)), "failed", worldAt(0));
    assert.deepEqual(again, { state: "closed", failures: 1 });
  });

  it("is never left by anything that happens in a way it does not have", () => {
    const events = fc.constantFrom("succeeded", "failed", "judgedDown", "judgedUp", "try" as const);
    fc.assert(
      fc.property(fc.array(fc.tuple(events, fc.nat(500))), (history) => {
        let breaker = CLOSED;
        let nowMs = 0;
        for (const [event, passedMs] of history) {
          nowMs += passedMs;
          if (event !== "try") breaker = breakerStep(breaker, event, worldAt(nowMs));
          else if (admits(breaker, nowMs)) breaker = letThrough(breaker, worldAt(nowMs));
          if (breaker.state === "halfOpen") assert.ok(breaker.trialsLeft >= 0);
        }
      }),
    );
  });
});

describe("a pause", () => {
  const limits = fc
    .tuple(fc.integer({ min: 1, max: 10_000 }), fc.integer({ min: 0, max: 100_000 }))
    .map(([min, more]) => ({ backoffMinMs: min, backoffMaxMs: min + more }));
  const fraction = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

  it("is never shorter than the shortest or longer than the longest", () => {
    fc.assert(
      fc.property(fc.nat(10_000), limits, fraction, (failures, between, chance) => {
        const ms = pauseMs(failures, between, chance);
        assert.ok(ms >= between.backoffMinMs && ms <= between.backoffMaxMs);
      }),
    );
  });

  it("has a range that doubles with each failure, all of which is used", () => {
    const between = { backoffMinMs: 100, backoffMaxMs: 1_000 };
    assert.deepEqual(
      [1, 2, 3, 4, 5].map((failures) => pauseMs(failures, between, 1)),
      [200, 400, 800, 1_000, 1_000],
    );
    assert.equal(pauseMs(5, between, 0), 100);
  });
});

const primary = (timeline: number | null, systemIdentifier: string | null = "7"): ServerFacts => ({
  role: "primary",
  systemIdentifier,
  timeline,
});
const STANDBY: ServerFacts = { role: "standby", systemIdentifier: "7", timeline: 1 };
const KNOWN: KnownShard = { systemIdentifier: "7", timeline: 2 };

describe("what a server is of its shard", () => {
  const cases: readonly (readonly [string, ServerFacts, string])[] = [
    ["a primary of the timeline that is known", primary(2), "primary"],
    ["a primary that was promoted since", primary(3), "primary"],
    ["a primary over which another was promoted", primary(1), "superseded"],
    ["a primary of no known timeline", primary(null), "primary"],
    ["a standby", STANDBY, "standby"],
    ["a primary of another system", primary(3, "8"), "stranger"],
    ["a standby of another system", { ...STANDBY, systemIdentifier: "8" }, "stranger"],
    ["one that may not say which system it is", primary(2, null), "primary"],
  ];
  for (const [what, facts, fitness] of cases) {
    it(`${what} is ${fitness}`, () => assert.equal(fitnessOf(facts, KNOWN), fitness));
  }

  it("is learnt from the first primary", () => {
    const first = knownAfter({ systemIdentifier: null, timeline: null }, primary(4));
    assert.deepEqual(first, { systemIdentifier: "7", timeline: 4 });
    assert.deepEqual(knownAfter(first, primary(null, null)), first);
  });
});

describe("the primary of a shard", () => {
  const host = (state: HostState, facts: ServerFacts | null) => ({ state, facts });
  const cases = [
    ["is the one that is no standby", [host("up", STANDBY), host("up", primary(2))], 0, 1],
    ["is the one that was promoted last", [host("up", primary(2)), host("up", primary(3))], 0, 1],
    [
      "is not one that came back after another was promoted",
      [host("up", primary(1)), host("down", primary(2))],
      1,
      1,
    ],
    ["is the one that was it before among equals", [host("up", primary(2)), host("up", primary(2))], 1, 1],
    ["is not one that is down", [host("down", primary(2)), host("up", STANDBY)], 1, 1],
    ["may be suspect", [host("suspect", primary(2)), host("up", STANDBY)], 1, 0],
    ["is none of another system", [host("up", STANDBY), host("up", primary(3, "8"))], 0, 0],
  ] as const;
  for (const [what, hosts, current, expected] of cases) {
    it(what, () => assert.equal(choosePrimary(hosts, current, KNOWN), expected));
  }

  it("is tried first, those that are down last, and strangers never", () => {
    const hosts = [
      host("down", STANDBY),
      host("up", primary(9, "8")),
      host("up", primary(2)),
      host("up", STANDBY),
    ];
    assert.deepEqual(connectOrder(hosts, 2, KNOWN), [2, 3, 0]);
  });
});

describe("a standby", () => {
  it("that has all of an idle primary is not behind, however long nothing happened", () => {
    const lag = replicationLag({ replayedBytes: 100, replayAgeSeconds: 3_600 }, 100);
    assert.deepEqual(lag, { bytes: 0, seconds: 0 });
  });

  it("that lacks something is behind by the age of what it has", () => {
    const lag = replicationLag({ replayedBytes: 60, replayAgeSeconds: 5 }, 100);
    assert.deepEqual(lag, { bytes: 40, seconds: 5 });
  });

  it("of a primary that cannot be asked is behind by bytes nobody knows", () => {
    const lag = replicationLag({ replayedBytes: 60, replayAgeSeconds: 5 }, null);
    assert.deepEqual(lag, { bytes: null, seconds: 5 });
  });
});

describe("a list of hosts", () => {
  it("is of names and addresses, with a port each if it is another", () => {
    assert.deepEqual(readHosts("a.example, 10.0.0.1:5433,[::1]:5434", 5432), [
      { host: "a.example", port: 5432 },
      { host: "10.0.0.1", port: 5433 },
      { host: "::1", port: 5434 },
    ]);
  });

  for (const text of ["", "a,,b", "a b", "a:0", "a:65536", "::1", "a,a", "a:5432,a", "[::1"]) {
    it(`is not ${JSON.stringify(text)}`, () => assert.equal(readHosts(text, 5432), null));
  }
});
