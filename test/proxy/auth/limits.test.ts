/** Who is kept out for what others at its address do, and who is not. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Clock } from "../../../src/base/environment.ts";
import { originOf } from "../../../src/proxy/auth/address.ts";
import { FailureLimit } from "../../../src/proxy/auth/failureLimit.ts";
import { Turns } from "../../../src/proxy/auth/turns.ts";
import type { ClientLink } from "../../../src/proxy/clientLink.ts";
import { type Guest, HandshakeRoom } from "../../../src/proxy/handshakeRoom.ts";

const link = (remoteAddress: string): ClientLink => ({
  kind: remoteAddress === "" ? "unix" : "tcp",
  remoteAddress,
  tls: null,
  peerUser: () => Promise.resolve(null),
});

/** A clock that is set by hand. */
function handClock(): Clock & { nowMs: number } {
  return {
    nowMs: 0,
    wallMs: () => 0,
    monotonicMs() {
      return this.nowMs;
    },
    after: () => ({ cancel() {} }),
  };
}

const LIMITS = { failuresMax: 3, failuresWindowMs: 1000, failuresExemptLocal: false };

describe("failed logins", () => {
  it("count by address until the window is over", () => {
    const clock = handClock();
    const limit = new FailureLimit(LIMITS, clock);
    for (let i = 0; i < 3; i += 1) {
      assert.equal(limit.isReached(link("10.0.0.1")), false);
      limit.note(link("10.0.0.1"));
    }
    assert.equal(limit.isReached(link("10.0.0.1")), true);
    assert.equal(limit.isReached(link("::ffff:10.0.0.1")), true);
    assert.equal(limit.isReached(link("10.0.0.2")), false);
    clock.nowMs = 999;
    assert.equal(limit.isReached(link("10.0.0.1")), true);
    clock.nowMs = 1000;
    assert.equal(limit.isReached(link("10.0.0.1")), false);
    limit.note(link("10.0.0.1"));
    assert.equal(limit.isReached(link("10.0.0.1")), false);
  });

  it("count for a whole /64 of IPv6", () => {
    const limit = new FailureLimit(LIMITS, handClock());
    for (const host of ["1", "2", "dead:beef"]) limit.note(link(`2001:db8:0:1::${host}`));
    assert.equal(limit.isReached(link("2001:db8:0:1:ffff::9")), true);
    assert.equal(limit.isReached(link("2001:db8:0:2::1")), false);
  });

  it("count at home too, unless that is exempt", () => {
    for (const address of ["127.0.0.1", "::1", ""]) {
      for (const failuresExemptLocal of [false, true]) {
        const limit = new FailureLimit({ ...LIMITS, failuresExemptLocal }, handClock());
        for (let i = 0; i < 3; i += 1) limit.note(link(address));
        assert.equal(limit.isReached(link(address)), !failuresExemptLocal, address);
      }
    }
  });

  it("do not count where there is no limit", () => {
    const limit = new FailureLimit({ ...LIMITS, failuresMax: 0 }, handClock());
    for (let i = 0; i < 9; i += 1) limit.note(link("10.0.0.1"));
    assert.equal(limit.isReached(link("10.0.0.1")), false);
  });

  it("from very many addresses are forgotten, the oldest first", () => {
    const limit = new FailureLimit({ ...LIMITS, failuresMax: 1 }, handClock());
    const address = (i: number): string => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`;
    for (let i = 0; i < 10_001; i += 1) limit.note(link(address(i)));
    assert.equal(limit.isReached(link(address(0))), false);
    assert.equal(limit.isReached(link(address(1))), true);
    assert.equal(limit.isReached(link(address(10_000))), true);
  });
});

describe("connections on their way in", () => {
  class Named implements Guest<Named> {
    readonly name: string;
    berth: Guest<Named>["berth"] = null;
    constructor(name: string) {
      this.name = name;
    }
  }

  /** A room whose guests have names. */
  class Room {
    readonly room = new HandshakeRoom<Named>();
    readonly #guests = new Map<string, Named>();

    get guests(): string[] {
      return this.room.guests.map(({ name }) => name);
    }

    of(name: string): Named {
      const guest = this.#guests.get(name) ?? new Named(name);
      this.#guests.set(name, guest);
      return guest;
    }
  }

  const enter = (room: Room, guest: string, address: string, limits = ROOM): string[] => {
    const gone: string[] = [];
    room.room.enter(room.of(guest), address, limits, ({ name }) => gone.push(name));
    return gone;
  };
  const ROOM = { handshakesMax: 4, handshakesPerAddressMax: 3 };

  it("give way by address when it has too many, the oldest first", () => {
    const room = new Room();
    for (const guest of ["a", "b", "c"]) assert.deepEqual(enter(room, guest, "10.0.0.1"), []);
    assert.deepEqual(enter(room, "d", "10.0.0.1"), ["a"]);
    assert.deepEqual(enter(room, "x", "10.0.0.2"), []);
    assert.deepEqual(enter(room, "e", "10.0.0.1"), ["b"]);
  });

  it("let honest ones in however many are silent: the greediest address loses its own", () => {
    const room = new Room();
    for (const guest of ["a", "b", "c"]) enter(room, guest, "10.0.0.1");
    assert.deepEqual(enter(room, "x", "10.0.0.2"), []);
    assert.deepEqual(enter(room, "y", "10.0.0.3"), ["a"]);
    assert.deepEqual(room.guests.toSorted(), ["b", "c", "x", "y"]);
  });

  it("never give way once they have proved themselves", () => {
    const room = new Room();
    for (const guest of ["a", "b", "c"]) {
      enter(room, guest, "10.0.0.1");
      room.room.prove(room.of(guest));
    }
    for (const guest of ["d", "e", "f"]) assert.deepEqual(enter(room, guest, "10.0.0.1"), []);
    assert.deepEqual(enter(room, "g", "10.0.0.1"), ["d"]);
    assert.equal(room.room.provenCount, 3);
  });

  it("are never more than the limits, whatever comes and goes", () => {
    const act = fc.record({
      act: fc.constantFrom("enter", "prove", "leave"),
      guest: fc.integer({ min: 0, max: 30 }),
      address: fc.constantFrom("10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2", ""),
    });
    fc.assert(
      fc.property(fc.array(act, { maxLength: 200 }), (acts) => {
        const room = new Room();
        const strangers = new Map<string, string>();
        for (const { act: what, guest: number, address } of acts) {
          const guest = String(number);
          if (what === "enter" && !room.guests.includes(guest)) {
            for (const other of enter(room, guest, address)) strangers.delete(other);
            strangers.set(guest, originOf(address));
          } else if (what !== "enter") {
            if (what === "prove") room.room.prove(room.of(guest));
            else room.room.leave(room.of(guest));
            strangers.delete(guest);
          }
          assert.equal(room.room.count, strangers.size + room.room.provenCount);
          assert.equal(room.guests.length, room.room.count);
          assert.ok(strangers.size <= ROOM.handshakesMax);
          const crowds = Map.groupBy(strangers.values(), (origin) => origin);
          for (const crowd of crowds.values()) assert.ok(crowd.length <= ROOM.handshakesPerAddressMax);
        }
      }),
    );
  });
});

describe("turns", () => {
  it("are taken so many at a time, in order, and the queue has an end", async () => {
    const turns = new Turns(2, 1);
    const ends: (() => void)[] = [];
    const begun: number[] = [];
    const work = (i: number) => () =>
      new Promise<void>((resolve) => {
        begun.push(i);
        ends.push(resolve);
      });
    const [first, second, third] = [turns.take(work(1)), turns.take(work(2)), turns.take(work(3))];
    assert.deepEqual(begun, [1, 2]);
    await assert.rejects(turns.take(work(4)), /too many/);
    ends[0]!();
    await first;
    await new Promise(setImmediate);
    assert.deepEqual(begun, [1, 2, 3]);
    for (const end of ends) end();
    await Promise.all([second, third]);
    await turns.take(() => Promise.resolve());
  });
});
