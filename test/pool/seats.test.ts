/** Who may have a connection of one pool. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Fault } from "../../src/base/fault.ts";
import { type SeatLimits, Seats } from "../../src/pool/seats.ts";
import { type Asker, NO_CLIENT, type Share } from "../../src/pool/share.ts";
import { ManualEnvironment, settle } from "../txn/manualEnvironment.ts";

const LIMITS: SeatLimits = {
  max: 1,
  reserve: 0,
  reserveTimeoutMs: 300,
  noticeAfterMs: 0,
  checkoutTimeoutMs: 1_000,
  queueMax: 100,
};
const NONE = Number.POSITIVE_INFINITY;
const PLAIN = { name: "", weight: 1, connectionsMax: NONE };

class Stage {
  readonly environment = new ManualEnvironment();
  readonly seats: Seats;
  readonly events: string[] = [];

  constructor(limits: Partial<SeatLimits> = {}) {
    this.seats = new Seats({
      limits: { ...LIMITS, ...limits },
      clock: this.environment.clock,
      fault: (id) => new Fault(id),
      about: () => "about",
    });
  }

  ask(name: string, asker: Partial<Asker> = {}): void {
    const onSeat = (): void => void this.events.push(name);
    const onRefused = (fault: Fault): void => void this.events.push(`${name} ${fault.id}`);
    if (this.seats.take({ ...NO_CLIENT, ...asker }, { onSeat, onRefused })) onSeat();
  }

  give(share: Share = NO_CLIENT.share): void {
    this.seats.give(share);
  }
}

describe("the seats of a pool", () => {
  it("are had at once while there are any, and in turn afterwards", async () => {
    const stage = new Stage({ max: 2 });
    for (const name of ["a", "b", "c", "d"]) stage.ask(name);
    await settle();
    assert.deepEqual(stage.events, ["a", "b"]);
    assert.equal(stage.seats.tryTake(NO_CLIENT.share), false);
    stage.give();
    await settle();
    assert.deepEqual(stage.events, ["a", "b", "c"]);
  });

  it("are refused when the time is up or the queue is full", async () => {
    const stage = new Stage({ queueMax: 1 });
    for (const name of ["a", "b", "c"]) stage.ask(name);
    await stage.environment.pass(1_000);
    assert.deepEqual(stage.events, ["a", "c pool.queue_full", "b pool.checkout_timeout"]);
    assert.equal(stage.seats.queued, 0);
  });

  it("are more while somebody has waited for long", async () => {
    const stage = new Stage({ reserve: 2 });
    for (const name of ["a", "b"]) stage.ask(name);
    await stage.environment.pass(200);
    for (const name of ["c", "d"]) stage.ask(name);
    await stage.environment.pass(100);
    assert.deepEqual(stage.events, ["a", "b"]);
    stage.give();
    await settle();
    assert.deepEqual(stage.events, ["a", "b"], "one is taken still, and c has not waited for long enough");
    await stage.environment.pass(200);
    assert.deepEqual(stage.events, ["a", "b", "c", "d"]);
    assert.equal(stage.seats.taken, 3);
  });

  it("are not kept from others by who may not have more", async () => {
    const stage = new Stage({ max: 2 });
    const share = { of: PLAIN, user: "bounded", userMax: 1 };
    for (const name of ["a", "b"]) stage.ask(name, { share });
    stage.ask("c");
    await settle();
    assert.deepEqual(stage.events, ["a", "c"]);
    stage.give(share);
    await settle();
    assert.deepEqual(stage.events, ["a", "c", "b"]);
  });

  it("do not go to who is gone, and a notice is given once", async () => {
    const stage = new Stage({ noticeAfterMs: 10 });
    stage.ask("a");
    stage.ask("gone", { isGone: true });
    stage.ask("b", { onLongWait: (detail) => stage.events.push(`b is told: ${detail}`) });
    await stage.environment.pass(500);
    stage.give();
    await settle();
    assert.deepEqual(stage.events, ["a", "b is told: about", "gone session.canceled", "b"]);
  });

  it("are never more than there are, and nobody waits while one is free that it may have", () => {
    const shares = [1, 2, NONE].flatMap((max) => {
      const of = { name: `at most ${max}`, weight: 1, connectionsMax: max };
      return [shareOf(of, "a", NONE), shareOf(of, "b", 1)];
    });
    const step = fc.oneof(
      fc.record({ kind: fc.constant("ask" as const), which: fc.nat(shares.length - 1) }),
      fc.record({ kind: fc.constant("give" as const), which: fc.nat(100) }),
    );
    return fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 60 }),
        fc.integer({ min: 1, max: 4 }),
        async (steps, max) => {
          const { seats } = new Stage({ max });
          const taken: Share[] = [];
          const waiting: Share[] = [];
          for (const { kind, which } of steps) {
            if (kind === "ask") {
              const share = shares[which]!;
              waiting.push(share);
              const onSeat = (): void => {
                waiting.splice(waiting.indexOf(share), 1);
                taken.push(share);
              };
              if (seats.take({ ...NO_CLIENT, share }, { onSeat, onRefused: assert.fail })) onSeat();
            } else if (taken.length > 0) seats.give(taken.splice(which % taken.length, 1)[0]!);
            await null;
            await null;
            assert.equal(seats.taken, taken.length);
            assert.ok(taken.length <= max);
            const isAllowed = (share: Share): boolean =>
              taken.filter(({ of }) => of === share.of).length < share.of.connectionsMax &&
              taken.filter(({ user }) => user === share.user && share.userMax < NONE).length < share.userMax;
            if (taken.length < max) assert.ok(!waiting.some(isAllowed), "somebody waits for nothing");
          }
        },
      ),
    );
  });
});

const shareOf = (of: Share["of"], user: string, userMax: number): Share => ({ of, user, userMax });
