/** The queue in which nobody gains by coming often. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { FairQueue, type Ticket } from "../../src/pool/fairQueue.ts";
import { Holdings, type Share, type ShareClass, Shares } from "../../src/pool/share.ts";

const NONE = Number.POSITIVE_INFINITY;
const classOf = (name: string, weight = 1, connectionsMax = NONE): ShareClass => ({
  name,
  weight,
  connectionsMax,
});
const shareOf = (of: ShareClass, user: string, userMax = NONE): Share => ({ of, user, userMax });

/** Serves one, if anybody may be. */
function serve<T>(queue: FairQueue<T>, allows?: (share: Share) => boolean): T | null {
  const ticket = queue.next(allows);
  if (ticket === null) return null;
  queue.take(ticket);
  return ticket.item;
}

const serveAll = <T>(queue: FairQueue<T>): T[] => Array.from({ length: queue.size }, () => serve(queue)!);

describe("a fair queue", () => {
  const plain = classOf("");

  it("serves the clients of one user in the order in which they came", () => {
    const queue = new FairQueue<number>();
    const share = shareOf(plain, "a");
    for (const n of [1, 2, 3]) queue.add(share, n);
    assert.deepEqual(serveAll(queue), [1, 2, 3]);
  });

  it("lets users take turns, however many clients each has", () => {
    const queue = new FairQueue<string>();
    const [greedy, modest] = [shareOf(plain, "greedy"), shareOf(plain, "modest")];
    for (let i = 0; i < 5; i += 1) queue.add(greedy, `g${i}`);
    for (let i = 0; i < 2; i += 1) queue.add(modest, `m${i}`);
    assert.deepEqual(serveAll(queue), ["g0", "m0", "g1", "m1", "g2", "g3", "g4"]);
  });

  it("divides what there is among classes by their weights", () => {
    const queue = new FairQueue<string>();
    const [heavy, light] = [shareOf(classOf("heavy", 3), "a"), shareOf(classOf("light", 1), "b")];
    for (let i = 0; i < 40; i += 1) for (const share of [heavy, light]) queue.add(share, share.user);
    const served = Array.from({ length: 40 }, () => serve(queue));
    assert.equal(served.filter((user) => user === "a").length, 30);
  });

  it("saves nothing up for a class that was away", () => {
    const queue = new FairQueue<string>();
    const [a, b] = [shareOf(classOf("a"), "a"), shareOf(classOf("b"), "b")];
    for (let i = 0; i < 100; i += 1) queue.add(a, "a");
    for (let i = 0; i < 90; i += 1) serve(queue);
    for (let i = 0; i < 10; i += 1) queue.add(b, "b");
    const served = Array.from({ length: 10 }, () => serve(queue));
    assert.equal(served.filter((user) => user === "b").length, 5);
  });

  it("saves nothing up for a class that could not be served", () => {
    const queue = new FairQueue<string>();
    const [a, b] = [shareOf(classOf("a"), "a"), shareOf(classOf("b"), "b")];
    for (let i = 0; i < 100; i += 1) for (const share of [a, b]) queue.add(share, share.user);
    for (let i = 0; i < 50; i += 1)
      assert.equal(
        serve(queue, ({ user }) => user === "a"),
        "a",
      );
    const served = Array.from({ length: 10 }, () => serve(queue));
    assert.equal(served.filter((user) => user === "b").length, 5);
  });

  it("passes over who is not allowed, and says when nobody is", () => {
    const queue = new FairQueue<string>();
    queue.add(shareOf(plain, "a"), "a");
    queue.add(shareOf(plain, "b"), "b");
    assert.equal(
      serve(queue, ({ user }) => user === "b"),
      "b",
    );
    assert.equal(
      serve(queue, ({ user }) => user === "b"),
      null,
    );
    assert.equal(queue.oldest, "a");
  });

  it("forgets who leaves, as often as that is said", () => {
    const queue = new FairQueue<string>();
    const share = shareOf(plain, "a");
    const first = queue.add(share, "first");
    queue.add(share, "second");
    queue.remove(first);
    queue.remove(first);
    assert.deepEqual([...queue], ["second"]);
    assert.deepEqual(serveAll(queue), ["second"]);
    assert.equal(queue.size, 0);
  });
});

/** Random comings, leavings and servings; what must hold in all of them. */
describe("a fair queue, whatever happens", () => {
  const classes = [classOf("", 1), classOf("b", 2), classOf("c", 5)];
  const shares = classes.flatMap((of) => ["x", "y", "z"].map((user) => shareOf(of, user)));
  const step = fc.oneof(
    fc.record({ kind: fc.constant("add" as const), who: fc.nat(shares.length - 1) }),
    fc.record({ kind: fc.constant("remove" as const), who: fc.nat(1_000) }),
    fc.record({ kind: fc.constant("serve" as const), who: fc.nat(2 ** shares.length - 1) }),
  );

  it("serves everybody once, and nobody who left or is not allowed", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const queue = new FairQueue<number>();
        const waiting = new Map<number, Ticket<number>>();
        let next = 0;
        for (const { kind, who } of steps) {
          if (kind === "add") waiting.set(next, queue.add(shares[who]!, next++));
          else if (kind === "remove") {
            const ticket = waiting.get(who % (next + 1));
            if (ticket !== undefined) queue.remove(ticket);
            waiting.delete(who % (next + 1));
          } else {
            const allows = (share: Share): boolean => ((who >> shares.indexOf(share)) & 1) === 1;
            const could = [...waiting.values()].some(({ share }) => allows(share));
            const served = serve(queue, allows);
            assert.equal(served !== null, could, "nobody is served only if nobody may be");
            if (served !== null) assert.ok(allows(waiting.get(served)!.share));
            if (served !== null) assert.ok(waiting.delete(served));
          }
          assert.deepEqual([...queue], [...waiting.keys()], "in the order of arrival");
        }
        assert.deepEqual(serveAll(queue).sort(numerically), [...waiting.keys()]);
      }),
    );
  });

  it("divides by weights over any time in which all wait, within one serving of each", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 5 }),
        fc.integer({ min: 1, max: 300 }),
        (weights, servings) => {
          const queue = new FairQueue<number>();
          const all = weights.map((weight, i) => shareOf(classOf(`${i}`, weight), "u"));
          for (const [i, share] of all.entries())
            for (let n = 0; n < servings + 1; n += 1) queue.add(share, i);
          const served = weights.map(() => 0);
          for (let n = 0; n < servings; n += 1) served[serve(queue)!]! += 1;
          const normal = served.map((count, i) => count / weights[i]!);
          for (const [i, one] of normal.entries())
            for (const [j, other] of normal.entries())
              assert.ok(Math.abs(one - other) <= 1 / weights[i]! + 1 / weights[j]! + 1e-9);
        },
      ),
    );
  });

  it("passes nobody over by more than one of each other user of its class", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 2, maxLength: 8 }), (counts) => {
        const queue = new FairQueue<number>();
        const users = counts.map((_, i) => shareOf(classes[0]!, `${i}`));
        for (const [i, count] of counts.entries()) for (let n = 0; n < count; n += 1) queue.add(users[i]!, i);
        const order = serveAll(queue);
        for (const user of counts.keys()) {
          const firstAt = order.indexOf(user);
          assert.ok(firstAt < counts.length, "the first of each is among the first");
        }
      }),
    );
  });
});

const numerically = (a: number, b: number): number => a - b;

describe("what classes and users may hold", () => {
  it("is bounded for each by itself", () => {
    const holdings = new Holdings();
    const bulk = classOf("bulk", 1, 2);
    const [a, b, free] = [shareOf(bulk, "a", 1), shareOf(bulk, "b"), shareOf(classOf(""), "c")];
    holdings.add(a);
    assert.equal(holdings.allows(a), false, "a has one");
    assert.equal(holdings.allows(b), true);
    holdings.add(b);
    assert.equal(holdings.allows(b), false, "its class has two");
    assert.equal(holdings.allows(free), true);
    holdings.remove(a);
    assert.equal(holdings.allows(a), true);
  });
});

describe("whose a client is", () => {
  const shares = new Shares({
    users: [
      { name: "app", password: undefined, mode: undefined, clientsMax: undefined, poolMax: 3, timeouts: {} },
    ],
    classes: [
      {
        name: "jobs",
        users: null,
        databases: ["bank"],
        applications: ["job_*", "cron"],
        weight: 2,
        connectionsMax: 4,
      },
      {
        name: "staff",
        users: ["anna", "bo"],
        databases: null,
        applications: null,
        weight: 5,
        connectionsMax: undefined,
      },
    ],
  });

  it("is told by the first class of which all is true", () => {
    const name = (user: string, database: string, application: string) =>
      shares.of(user, database, application).of.name;
    assert.equal(name("anna", "bank", "job_1"), "jobs");
    assert.equal(name("anna", "bank", "cron"), "jobs");
    assert.equal(name("anna", "bank", "cron2"), "staff");
    assert.equal(name("bo", "other", "job_1"), "staff");
    assert.equal(name("app", "other", "job_1"), "");
  });

  it("is one object for all clients of a user in a class, with the user's bound", () => {
    assert.equal(shares.of("app", "bank", "x"), shares.of("app", "other", "y"));
    assert.notEqual(shares.of("app", "bank", "cron"), shares.of("app", "bank", "x"));
    assert.equal(shares.of("app", "bank", "x").userMax, 3);
    assert.equal(shares.of("anna", "bank", "x").userMax, NONE);
  });
});
