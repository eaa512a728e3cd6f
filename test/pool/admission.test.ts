/** Letting clients in: nobody waits for ever for connections that others hold while they wait for more. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Fault } from "../../src/base/fault.ts";
import { Admission, AdmittedClient } from "../../src/pool/admission.ts";
import type { SeatLimits } from "../../src/pool/seats.ts";
import { type Asker, NO_CLIENT } from "../../src/pool/share.ts";
import { ManualEnvironment, settle } from "../txn/manualEnvironment.ts";

const CHECKOUT_TIMEOUT_MS = 1_000;
const STALLED_MS = 500; // how long nobody may have given a connection back before a risk is taken

const QUEUE = { checkoutTimeoutMs: CHECKOUT_TIMEOUT_MS, queueMax: 100, noticeAfterMs: 0 };
const LIMITS: SeatLimits = { ...QUEUE, max: 1, reserve: 0, reserveTimeoutMs: 300 };

class Stage {
  readonly environment = new ManualEnvironment();
  readonly admission: Admission;
  /** Who was let in or refused, in order. */
  readonly events: string[] = [];

  constructor({ pools = 2, ...limits }: Partial<SeatLimits> & { readonly pools?: number } = {}) {
    this.admission = new Admission(pools, { ...LIMITS, ...limits }, this.environment.clock);
  }

  /** A client in a transaction that has entered `pools`. */
  open(name: string, ...pools: readonly number[]): AdmittedClient {
    const client = new AdmittedClient(name as unknown as object);
    this.admission.begin(client);
    for (const pool of pools) assert.ok(this.admission.tryEnter(client, pool), `${name} enters ${pool}`);
    return client;
  }

  /** A client outside of one. */
  single(name: string, ...pools: readonly number[]): AdmittedClient {
    const client = new AdmittedClient(name as unknown as object);
    for (const pool of pools) assert.ok(this.admission.tryEnter(client, pool), `${name} enters ${pool}`);
    return client;
  }

  enter(client: AdmittedClient, pool: number): void {
    const name = String(client.owner);
    this.admission.enter(client, pool).then(
      () => this.events.push(`${name} in ${pool}`),
      (error: Fault) => this.events.push(`${name} ${error.id}`),
    );
  }

  end(client: AdmittedClient): void {
    this.admission.end(client);
    for (const pool of [...client.held]) this.admission.leave(client, pool);
  }

  waits(all = false): string[] {
    return [...this.admission.waits(all)].map(({ owner, pool, sinceMs }) => `${owner} ${pool} ${sinceMs}`);
  }
}

describe("admission", () => {
  it("gives what is free at once, and what a client has again and again", () => {
    const stage = new Stage({ max: 2 });
    const [one] = [stage.single("one", 0, 0, 0), stage.single("two", 0)];
    const late = stage.single("late");
    assert.equal(stage.admission.tryEnter(late, 0), false);
    assert.equal(stage.admission.tryEnter(late, 1), true, "each pool has its own room");
    stage.admission.leave(one, 0);
    stage.admission.leave(one, 0);
    assert.equal(stage.admission.tryEnter(late, 0), true);
    assert.deepEqual([...stage.admission.holders(0)].sort(), ["late", "two"]);
  });

  it("counts a transaction in every pool, so that it finds what else it needs", () => {
    const stage = new Stage({ max: 2 });
    const [a, b] = [stage.open("a", 0), stage.open("b", 1)];
    assert.equal(stage.admission.tryEnter(stage.open("c"), 1), false);
    assert.equal(stage.admission.tryEnter(stage.single("s"), 1), false);
    assert.ok(stage.admission.tryEnter(a, 1));
    assert.ok(stage.admission.tryEnter(b, 0));
  });

  it("counts a statement outside a transaction in its own pool only", () => {
    const stage = new Stage({ max: 2 });
    stage.single("s", 0);
    const a = stage.open("a", 1);
    assert.equal(stage.admission.tryEnter(stage.open("b"), 1), false, "pool 0 has no room for it");
    stage.single("t", 1);
    stage.end(a);
    stage.single("u", 0);
  });

  it("lets users take turns, transactions and statements each among themselves", async () => {
    const stage = new Stage({ max: 1 });
    const plain = { name: "", weight: 1, connectionsMax: Number.POSITIVE_INFINITY };
    const askers = ["greedy", "modest"].map((user) => ({
      ...NO_CLIENT,
      share: { of: plain, user, userMax: Number.POSITIVE_INFINITY },
    }));
    const [greedy, modest] = askers;
    let holder = stage.single("holder", 0);
    const waiting = new Map<string, AdmittedClient>();
    const ask = (name: string, asker: Asker | undefined, isOpen: boolean): void => {
      const client = new AdmittedClient(name as unknown as object, asker);
      if (isOpen) stage.admission.begin(client);
      waiting.set(`${name} in 0`, client);
      stage.enter(client, 0);
    };
    for (const kind of ["transaction", "statement"]) {
      for (const n of [1, 2, 3]) ask(`greedy ${kind} ${n}`, greedy, kind === "transaction");
      ask(`modest ${kind}`, modest, kind === "transaction");
    }
    while (stage.events.length < 8) {
      const before = stage.events.length;
      stage.end(holder);
      await settle();
      assert.equal(stage.events.length, before + 1);
      holder = waiting.get(stage.events.at(-1)!)!;
    }
    for (const kind of ["transaction", "statement"]) {
      assert.deepEqual(
        stage.events.filter((event) => event.includes(kind)),
        [`greedy ${kind} 1`, `modest ${kind}`, `greedy ${kind} 2`, `greedy ${kind} 3`].map(
          (name) => `${name} in 0`,
        ),
      );
    }
  });

  it("bounds how many clients of a class hold connections, in whatever pool, and spares those who are in", async () => {
    const stage = new Stage({ max: 3 });
    const of = { name: "bulk", weight: 1, connectionsMax: 1 };
    const asker = { ...NO_CLIENT, share: { of, user: "u", userMax: Number.POSITIVE_INFINITY } };
    const [first, second] = ["first", "second"].map((name) => {
      const client = new AdmittedClient(name as unknown as object, asker);
      stage.admission.begin(client);
      return client;
    });
    assert.ok(stage.admission.tryEnter(first!, 0));
    assert.equal(stage.admission.tryEnter(second!, 1), false);
    assert.ok(stage.admission.tryEnter(first!, 1), "it holds one already");
    stage.enter(second!, 1);
    const other = stage.open("other");
    stage.enter(other, 1);
    await settle();
    assert.deepEqual(stage.events, ["other in 1"], "others do not wait behind the bound");
    stage.end(first!);
    await settle();
    assert.deepEqual(stage.events, ["other in 1", "second in 1"]);
  });

  it("opens the reserve while somebody has waited for long, and no longer", async () => {
    const stage = new Stage({ max: 1, reserve: 1, checkoutTimeoutMs: 10_000 });
    const holder = stage.single("holder", 0);
    stage.enter(stage.single("first"), 0);
    await stage.environment.pass(299);
    assert.deepEqual(stage.events, []);
    await stage.environment.pass(1);
    assert.deepEqual(stage.events, ["first in 0"]);
    stage.enter(stage.single("second"), 0);
    stage.admission.leave(holder, 0);
    await settle();
    assert.deepEqual(stage.events, ["first in 0"], "one is held, as many as there are without the reserve");
  });

  it("tells who waits for long, once", async () => {
    const stage = new Stage({ max: 1, noticeAfterMs: 100 });
    stage.single("holder", 0);
    const told: string[] = [];
    const client = new AdmittedClient({}, { ...NO_CLIENT, onLongWait: (detail) => told.push(detail) });
    stage.enter(client, 0);
    await stage.environment.pass(99);
    assert.deepEqual(told, []);
    await stage.environment.pass(800);
    assert.deepEqual(told, ["1 of 1 connections to the shard are in use, and 0 transactions are open."]);
  });

  it("counts a transaction that has taken nothing yet nowhere", () => {
    const stage = new Stage();
    stage.open("a");
    stage.single("s", 0);
  });

  it("serves transactions in the order of arrival, and in turn with statements", async () => {
    const stage = new Stage({ max: 2 });
    const [a, b] = [stage.open("a", 0), stage.open("b", 1)];
    for (const name of ["first", "second"]) stage.enter(stage.open(name), 0);
    stage.enter(stage.single("third"), 0);
    stage.end(a);
    await settle();
    assert.deepEqual(stage.events, ["first in 0"]);
    stage.end(b);
    await settle();
    assert.deepEqual(stage.events, ["first in 0", "third in 0"]);
    assert.equal(stage.admission.queued, 1);
  });

  it("lets a statement in although transactions never cease to wait, and the other way round", async () => {
    for (const isOpen of [true, false]) {
      const stage = new Stage({ max: 2 });
      const ask = (name: string, opens: boolean): AdmittedClient => {
        const client = opens ? stage.open(name) : stage.single(name);
        stage.enter(client, 0);
        return client;
      };
      const inside = [stage.open("a", 0), stage.open("b", 0)];
      const crowd = Array.from({ length: 10 }, (_, i) => ask(`crowd ${i}`, isOpen));
      ask("lonely", !isOpen);
      inside.push(...crowd);
      for (let i = 0; i < 3; i += 1) {
        stage.end(inside[i]!);
        await settle();
      }
      assert.ok(stage.events.includes("lonely in 0"), stage.events.join());
    }
  });

  it("lets the next in when a transaction ends whose client keeps a connection", async () => {
    const stage = new Stage({ max: 2 });
    const pinned = stage.open("pinned", 0);
    stage.open("a", 0);
    stage.enter(stage.open("b"), 1);
    stage.admission.end(pinned);
    await settle();
    assert.deepEqual(stage.events, [], "pool 0 is still full");
    stage.enter(stage.single("s"), 1);
    await settle();
    assert.deepEqual(stage.events, [], "room is left for b");
    stage.admission.leave(pinned, 0);
    await settle();
    assert.deepEqual(stage.events, ["b in 1"]);
  });
});

describe("a free connection that is claimed", () => {
  it("is given for a risk when nobody has given one back for a while, one at a time", async () => {
    const stage = new Stage({ max: 2, checkoutTimeoutMs: 60_000 });
    const [a, b] = [stage.open("a", 0), stage.open("b", 0)];
    for (const name of ["c", "d"]) stage.enter(stage.open(name), 1);
    await stage.environment.pass(STALLED_MS - 1);
    assert.deepEqual(stage.events, []);
    await stage.environment.pass(1);
    assert.deepEqual(stage.events, ["c in 1"]);
    await stage.environment.pass(STALLED_MS);
    assert.deepEqual(stage.events, ["c in 1", "d in 1"]);
    for (const client of [a, b]) stage.enter(client, 1);
    assert.deepEqual(stage.waits(), ["a 1 1000", "b 1 1000"], "now they hold and wait, and can be seen");
    assert.deepEqual([...stage.admission.holders(1)], ["c", "d"]);
  });

  it("is not while connections are given back", async () => {
    const stage = new Stage({ max: 2, checkoutTimeoutMs: 60_000 });
    stage.open("a", 0);
    const b = stage.open("b", 1);
    stage.enter(stage.open("c"), 1);
    for (let i = 0; i < 5; i += 1) {
      await stage.environment.pass(STALLED_MS - 1);
      assert.ok(stage.admission.tryEnter(b, 0));
      stage.admission.leave(b, 0);
    }
    assert.deepEqual(stage.events, []);
  });

  it("is given to statements as well, but nobody gets one that is not free", async () => {
    const stage = new Stage({ max: 1, checkoutTimeoutMs: 60_000 });
    stage.open("a", 0);
    stage.enter(stage.single("s"), 0);
    stage.enter(stage.single("t"), 1);
    await stage.environment.pass(5 * STALLED_MS);
    assert.deepEqual(stage.events, ["t in 1"]);
    assert.deepEqual(stage.waits(true), ["s 0 0"], "it holds nothing, so nobody can wait for it");
    assert.deepEqual(stage.waits(), []);
  });
});

describe("a wait for a connection", () => {
  it("is refused with 53300 where the queue is full, and when its time is up", async () => {
    const stage = new Stage({ queueMax: 1 });
    const a = stage.single("a", 0);
    stage.enter(stage.single("b"), 0);
    stage.enter(stage.single("c"), 0);
    await settle();
    assert.deepEqual(stage.events, ["c pool.queue_full"]);
    await stage.environment.pass(CHECKOUT_TIMEOUT_MS);
    assert.deepEqual(stage.events, ["c pool.queue_full", "b pool.checkout_timeout"]);
    assert.equal(stage.admission.queued, 0);
    stage.end(a);
    stage.single("d", 0);
  });

  it("says of its end how many connections there are", async () => {
    const stage = new Stage();
    stage.single("a", 0);
    const waiting = stage.admission.enter(stage.single("b"), 0);
    const isFault = (error: Fault) =>
      error.detail ===
      "1 of 1 connections to the shard are in use, and 0 transactions are open; waited 1000 ms.";
    await Promise.all([assert.rejects(waiting, isFault), stage.environment.pass(CHECKOUT_TIMEOUT_MS)]);
  });

  it("can be refused by who knows better, which lets the next one in", async () => {
    const stage = new Stage({ max: 2, pools: 2 });
    const victim = stage.single("victim", 1); // its connection stays with it
    for (const name of ["a", "b"]) stage.single(name, 0);
    stage.enter(victim, 0);
    assert.deepEqual(stage.waits(), ["victim 0 0"]);
    stage.admission.refuse(victim.owner, new Fault("deadlock.victim"));
    stage.admission.refuse(victim.owner, new Fault("deadlock.victim"));
    await settle();
    assert.deepEqual(stage.events, ["victim deadlock.victim"]);
    assert.deepEqual([stage.waits(), stage.admission.queued], [[], 0]);
    assert.deepEqual([...stage.admission.holders(1)], ["victim"], "what it holds it gives back itself");
  });

  it("leaves no timer for long when it ends", async () => {
    const stage = new Stage();
    const a = stage.single("a", 0);
    stage.enter(stage.single("b"), 0);
    stage.end(a);
    await stage.environment.pass(STALLED_MS);
    assert.equal(stage.environment.nextMs, null);
  });
});

interface Plan {
  readonly isOpen: boolean;
  /** Which pools, in which order. */
  readonly pools: readonly number[];
  /** How many turns it waits before the first and after each. */
  readonly turns: readonly number[];
}

const TURNS_MAX = 60;

/** Lets every one of `plans` go its way while no time passes, so that no risk is taken; how many never come to its end. */
async function play(plans: readonly Plan[], pools: number, max: number): Promise<number> {
  const { admission } = new Stage({ pools, max });
  const held = Array.from({ length: pools }, () => 0);
  let left = plans.length;
  const visit = async ({ isOpen, pools: wanted, turns }: Plan, index: number) => {
    const client = new AdmittedClient({ index });
    const think = async (step: number) => {
      for (let turn = 0; turn < turns[step % turns.length]!; turn += 1) await Promise.resolve();
    };
    await think(0);
    if (isOpen) admission.begin(client);
    for (const [i, pool] of wanted.entries()) {
      await admission.enter(client, pool);
      held[pool]! += 1;
      assert.ok(held[pool]! <= max, "no pool is exceeded");
      await think(i + 1);
    }
    if (isOpen) admission.end(client);
    for (const pool of wanted) {
      held[pool]! -= 1;
      admission.leave(client, pool);
    }
    left -= 1;
  };
  const visits = Promise.all(plans.map(visit));
  await Promise.race([visits, settle()]); // a settling is far longer than all turns
  if (left > 0) return left;
  await visits;
  assert.equal(admission.queued, 0);
  return 0;
}

interface Crowd {
  readonly pools: number;
  readonly max: number;
  readonly plans: readonly Plan[];
}

/** Visitors of which those in a transaction want `poolsMin` pools or more, or all; the others one. */
const crowds = (poolsMin: number | null): fc.Arbitrary<Crowd> =>
  fc.integer({ min: 2, max: 4 }).chain((pools) => {
    const order = fc.shuffledSubarray([...Array(pools).keys()], { minLength: poolsMin ?? pools });
    const turns = fc.array(fc.nat(TURNS_MAX), { minLength: 1, maxLength: 5 });
    const plan = fc
      .record({ isOpen: fc.boolean(), pools: order, turns })
      .map((one): Plan => (one.isOpen ? one : { ...one, pools: one.pools.slice(0, 1) }));
    const plans = fc.array(plan, { minLength: 5, maxLength: 30 });
    return fc.record({ pools: fc.constant(pools), max: fc.integer({ min: 1, max: 4 }), plans });
  });

describe("in any order of coming and going", () => {
  const run = async ({ pools, max, plans }: Crowd) => assert.equal(await play(plans, pools, max), 0);

  it("everybody who wants every pool gets through, with nobody's help", async () => {
    await fc.assert(fc.asyncProperty(crowds(null), run), { numRuns: 300 });
  });

  it("and everybody who wants some of them", async () => {
    await fc.assert(fc.asyncProperty(crowds(1), run), { numRuns: 300 });
  });
});
