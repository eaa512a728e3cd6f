/** Letting transactions in: nobody who is in waits for a lease, and nobody waits for ever. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Clock } from "../../src/base/environment.ts";
import { Fault } from "../../src/base/fault.ts";
import { Admission } from "../../src/pool/admission.ts";

/** A clock whose timers run when they are told to. */
class HandClock implements Clock {
  readonly timers = new Set<() => void>();
  wallMs(): number {
    return 0;
  }
  monotonicMs(): number {
    return 0;
  }
  after(_delayMs: number, callback: () => void) {
    this.timers.add(callback);
    return { cancel: () => void this.timers.delete(callback) };
  }
  ring(): void {
    const [callback] = this.timers;
    this.timers.delete(callback!);
    callback!();
  }
}

const setUp = (max: number, queueMax = 100) => {
  const clock = new HandClock();
  return { clock, admission: new Admission(2, { max, queueMax, checkoutTimeoutMs: 1_000 }, clock) };
};

/** Whether a promise has settled by now. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol("pending");
  await new Promise((resolve) => setImmediate(resolve));
  return (await Promise.race([promise.catch(() => {}), Promise.resolve(pending)])) !== pending;
}

describe("admission", () => {
  it("lets as many transactions in as each pool has room for", () => {
    const { admission } = setUp(3);
    assert.deepEqual(
      [1, 2, 3, 4].map(() => admission.tryTransaction()),
      [true, true, true, false],
    );
    assert.equal(admission.tryStatement(0), false, "the room is kept for those who are in");
    admission.endTransaction();
    assert.equal(admission.tryStatement(0), true);
    assert.equal(admission.tryStatement(1), true, "each pool has its own room");
  });

  it("serves who waits in the order of arrival", async () => {
    const { admission } = setUp(1);
    await admission.transaction();
    const second = admission.transaction();
    const third = admission.transaction();
    admission.endTransaction();
    await second;
    assert.equal(await isSettled(third), false);
    admission.endTransaction();
    await third;
  });

  it("keeps statements from starving a transaction", async () => {
    const { admission } = setUp(2);
    await admission.statement(0);
    await admission.statement(0);
    const transaction = admission.transaction();
    const late = admission.statement(0);
    admission.endStatement(0);
    await transaction;
    assert.equal(await isSettled(late), false, "it came later");
    admission.endTransaction();
    await late;
  });

  it("lets statements on a pool pass that has room while a transaction waits for another", async () => {
    const { admission } = setUp(3);
    for (let i = 0; i < 3; i += 1) await admission.statement(0);
    const transaction = admission.transaction();
    await admission.statement(1);
    assert.equal(await isSettled(transaction), false);
    admission.endStatement(0);
    await transaction;
  });

  it("refuses with 53300 whom it cannot queue, and whose time is up", async () => {
    const { admission, clock } = setUp(1, 1);
    await admission.transaction();
    const queued = admission.transaction();
    await assert.rejects(
      admission.transaction(),
      (error) => error instanceof Fault && error.id === "pool.queue_full",
    );
    clock.ring();
    await assert.rejects(queued, (error) => error instanceof Fault && error.id === "pool.checkout_timeout");
    admission.endTransaction();
    assert.equal(admission.tryTransaction(), true, "who gave up holds up nobody");
  });

  it("never lets in more than there is room for, and everybody in the end", async () => {
    const visitor = fc.record({ pool: fc.constantFrom(-1, 0, 1), stays: fc.nat({ max: 5 }) });
    await fc.assert(
      fc.asyncProperty(
        fc.array(visitor, { maxLength: 30 }),
        fc.integer({ min: 1, max: 4 }),
        async (visitors, max) => {
          const { admission } = setUp(max);
          const statements = [0, 0];
          let transactions = 0;
          await Promise.all(
            visitors.map(async ({ pool, stays }) => {
              await (pool < 0 ? admission.transaction() : admission.statement(pool));
              if (pool < 0) transactions += 1;
              else statements[pool]! += 1;
              assert.ok(statements.every((count) => count + transactions <= max));
              for (let i = 0; i < stays; i += 1) await Promise.resolve();
              if (pool < 0) {
                transactions -= 1;
                admission.endTransaction();
              } else {
                statements[pool]! -= 1;
                admission.endStatement(pool);
              }
            }),
          );
          assert.equal(admission.queued, 0);
        },
      ),
      { numRuns: 200 },
    );
  });
});
