/** For how long a client has been at what it is at. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Activity, ActivityWatch, type Phase } from "../../src/proxy/activity.ts";

const NONE = { clientIdleMs: 0, idleInTransactionMs: 0, transactionMs: 0, statementMs: 0 };

describe("a watch of a client's activity", () => {
  it("finds it idle for too long, from the first look at it on", () => {
    const [watch, activity] = [new ActivityWatch(), new Activity()];
    const look = (atMs: number) => watch.look("idle", activity, { ...NONE, clientIdleMs: 100 }, atMs);
    assert.deepEqual([1_000, 1_099, 1_100].map(look), [null, null, "session.idle_timeout"]);
  });

  it("begins anew when something was read or answered between two looks", () => {
    const [watch, activity] = [new ActivityWatch(), new Activity()];
    const look = (atMs: number) => watch.look("idle", activity, { ...NONE, clientIdleMs: 100 }, atMs);
    assert.equal(look(0), null);
    activity.reads += 1;
    activity.answers += 1;
    assert.equal(look(99), null);
    assert.equal(look(198), null);
    assert.equal(look(199), "session.idle_timeout");
  });

  it("counts what a client sends as part of the same statement, and an answer as its end", () => {
    const [watch, activity] = [new ActivityWatch(), new Activity()];
    const look = (atMs: number) => watch.look("running", activity, { ...NONE, statementMs: 100 }, atMs);
    look(0);
    activity.reads += 7;
    assert.equal(look(100), "session.statement_timeout");
    assert.equal(look(101), null, "it has been told");
    activity.answers += 1;
    look(150);
    assert.equal(look(249), null);
    assert.equal(look(250), "session.statement_timeout");
  });

  it("counts a transaction through its statements, pauses and waits, and a commit not at all", () => {
    const [watch, activity] = [new ActivityWatch(), new Activity()];
    const limits = { ...NONE, transactionMs: 100 };
    const phases: Phase[] = ["running", "idleInTransaction", "waitingInTransaction", "running"];
    for (const [i, phase] of phases.entries()) {
      activity.answers += 1;
      assert.equal(watch.look(phase, activity, limits, i * 30), null);
    }
    assert.equal(watch.look("beyondRecall", activity, limits, 1_000), null);
    assert.equal(watch.look("running", activity, limits, 1_001), "session.transaction_timeout");
    activity.transactions += 1;
    assert.equal(watch.look("running", activity, limits, 1_002), null, "another one");
  });

  it("never counts a wait in the queue", () => {
    const [watch, activity] = [new ActivityWatch(), new Activity()];
    const limits = { clientIdleMs: 1, idleInTransactionMs: 1, transactionMs: 1, statementMs: 1 };
    for (let atMs = 0; atMs < 100; atMs += 10)
      assert.equal(watch.look("waiting", activity, limits, atMs), null);
  });

  it("never strikes early, and late by one interval at most", () => {
    const limits = { ...NONE, clientIdleMs: 100 };
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 10 }), { minLength: 30 }),
        fc.integer({ min: 0, max: 50 }),
        (steps, idleAtMs) => {
          const [watch, activity] = [new ActivityWatch(), new Activity()];
          let atMs = 0;
          for (const step of steps) {
            atMs += step;
            if (atMs <= idleAtMs) activity.reads += 1;
            const overrun = watch.look("idle", activity, limits, atMs);
            if (overrun !== null) {
              assert.ok(atMs - idleAtMs >= 100 - 10 && atMs - idleAtMs <= 100 + 20, `${atMs} ${idleAtMs}`);
              return;
            }
          }
          assert.ok(atMs - idleAtMs < 120);
        },
      ),
    );
  });
});
