/** Letting clients in: nobody waits for ever for connections that others hold while they wait for more. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Fault } from "../../src/base/fault.ts";
import { Admission, AdmittedClient } from "../../src/pool/admission.ts";
import { SeededRandom } from "../sim/seededRandom.ts";
import { ManualEnvironment, settle } from "../txn/manualEnvironment.ts";

const CHECKOUT_TIMEOUT_MS = 1_000;
/** More than a free connection is ever kept back from one who holds others. */
const PATIENCE_MS = 250;

class Stage {
  readonly environment = new ManualEnvironment();
  readonly admission: Admission;
  /** Who was let in or refused, in order. */
  readonly events: string[] = [];

  constructor({ pools = 2, max = 1, queueMax = 100, checkoutTimeoutMs = CHECKOUT_TIMEOUT_MS } = {}) {
    this.admission = new Admission(pools, { max, queueMax, checkoutTimeoutMs }, this.environment.clock);
  }

  /** A client in a transaction that has entered `pools`. */
  open(name: string, ...pools: readonly number[]): AdmittedClient {
    const client = new AdmittedClient(name as unknown as object);
    client.isOpen = true;
    for (const pool of pools) assert.ok(this.admission.tryEnter(client, pool), `${name} enters ${pool}`);
    return client;
  }

  /** A client outside of one. */
  single(name: string, ...pools: readonly number[]): AdmittedClient {
    const client = this.open(name);
    client.isOpen = false;
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
    client.isOpen = false;
    for (const pool of [...client.held]) this.admission.leave(client, pool);
  }

  waits(): string[] {
    return [...this.admission.waits()].map(({ owner, pool, sinceMs }) => `${owner} ${pool} ${sinceMs}`);
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

  it("lets clients be everywhere at once as long as one of them can finish", () => {
    const stage = new Stage({ max: 3 });
    for (const name of ["a", "b", "c"]) stage.open(name, 0);
    for (const name of ["d", "e"]) stage.open(name, 1);
    assert.equal(stage.admission.tryEnter(stage.open("f"), 1), false, "the last is kept for a, b and c");
  });

  it("gives the last one of all to who then has them all", () => {
    const stage = new Stage({ max: 1 });
    const a = stage.open("a", 0);
    assert.equal(stage.admission.tryEnter(stage.open("b"), 1), false);
    assert.equal(stage.admission.tryEnter(a, 1), true);
  });

  it("lets statements outside transactions have whatever is free", () => {
    const stage = new Stage({ max: 1, pools: 3 });
    stage.open("a", 0);
    assert.equal(stage.admission.tryEnter(stage.open("b"), 1), false);
    stage.single("s", 1);
    stage.single("t", 2);
  });

  it("lets them pass those from whom it is kept back", async () => {
    const stage = new Stage({ max: 1 });
    stage.open("a", 0);
    stage.enter(stage.open("b"), 1);
    stage.enter(stage.single("s"), 1);
    await settle();
    assert.deepEqual(stage.events, ["s in 1"]);
  });

  it("counts as free what a statement outside a transaction will give back", () => {
    const stage = new Stage({ max: 1 });
    stage.single("s", 0);
    stage.open("a", 1);
  });

  it("serves in the order of arrival, but those first who hold connections", async () => {
    const stage = new Stage({ max: 2 });
    const holder = stage.open("holder", 1);
    const inside = [stage.single("s", 0), stage.single("t", 0)];
    for (const name of ["first", "second"]) stage.enter(stage.open(name), 0);
    stage.enter(stage.single("third"), 0);
    stage.enter(holder, 0);
    for (const client of inside) stage.end(client);
    await settle();
    assert.deepEqual(stage.events, ["holder in 0", "first in 0"]);
    stage.end(holder);
    await settle();
    assert.deepEqual(stage.events.slice(2), ["second in 0"]);
    assert.equal(stage.admission.queued, 1);
  });

  it("lets who comes first be overtaken by who can finish, and only then", async () => {
    const stage = new Stage({ pools: 3, max: 2 });
    const [y, x] = [stage.open("y", 0), stage.open("x", 0, 2)];
    for (const [name, pool] of [
      ["v", 1],
      ["u", 2],
    ] as const)
      stage.open(name, pool);
    stage.enter(y, 1);
    await settle();
    assert.deepEqual(stage.events, [], "with the last of pool 1 nobody else could finish");
    stage.enter(x, 1);
    await settle();
    assert.deepEqual(stage.events, ["x in 1"], "it has all it can want");
    stage.end(x);
    await settle();
    assert.deepEqual(stage.events, ["x in 1", "y in 1"]);
  });
});

describe("a connection kept back", () => {
  it("from one who holds nothing stays so, and it is known to wait", async () => {
    const stage = new Stage({ checkoutTimeoutMs: 60_000 });
    const a = stage.open("a", 0);
    stage.enter(stage.open("b"), 1);
    assert.deepEqual(stage.waits(), ["b 1 0"]);
    await stage.environment.pass(10 * PATIENCE_MS);
    assert.deepEqual(stage.events, []);
    stage.end(a);
    await settle();
    assert.deepEqual(stage.events, ["b in 1"]);
  });

  it("is given for a risk that the detector takes over", async () => {
    const stage = new Stage({ pools: 3, max: 2, checkoutTimeoutMs: 60_000 });
    const [x, y, z] = [stage.open("x", 0, 1), stage.open("y", 0), stage.open("z", 2)];
    const w = stage.single("w", 2);
    w.isOpen = true; // what it had to give back it keeps from now on
    stage.enter(y, 1); // the last of pool 1; then x, y, z and w all lack what is nowhere free
    await settle();
    assert.deepEqual(stage.events, []);
    assert.deepEqual(stage.waits(), [], "it is for a moment");
    await stage.environment.pass(PATIENCE_MS);
    assert.deepEqual(stage.events, ["y in 1"]);
    for (const client of [x, y]) stage.enter(client, 2);
    stage.enter(z, 0);
    assert.deepEqual(stage.waits(), ["z 0 250", "x 2 250", "y 2 250"]);
    assert.deepEqual([...stage.admission.holders(2)], ["z", "w"]);
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
      error.detail === "1 of 1 connections to the shard are in use; waited 1000 ms.";
    await Promise.all([assert.rejects(waiting, isFault), stage.environment.pass(CHECKOUT_TIMEOUT_MS)]);
  });

  it("can be refused by who knows better, which lets the next one in", async () => {
    const stage = new Stage({ max: 2, pools: 2 });
    const victim = stage.open("victim", 1);
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

  it("leaves no timer when it ends", async () => {
    const stage = new Stage();
    const a = stage.single("a", 0);
    stage.enter(stage.single("b"), 0);
    stage.end(a);
    await settle();
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
    client.isOpen = isOpen;
    for (const [i, pool] of wanted.entries()) {
      await admission.enter(client, pool);
      held[pool]! += 1;
      assert.ok(held[pool]! <= max, "no pool is exceeded");
      await think(i + 1);
    }
    client.isOpen = false;
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

  it("nearly all connections are in use at once", async () => {
    const random = new SeededRandom(7);
    const [pools, max] = [4, 5];
    const stage = new Stage({ pools, max });
    for (let i = 0; i < 200; i += 1) stage.admission.tryEnter(stage.open(`c${i}`), random.below(pools));
    const used = [0, 1, 2, 3].map((pool) => [...stage.admission.holders(pool)].length);
    assert.equal(
      used.reduce((sum, one) => sum + one, 0),
      pools * (max - 1) + 1,
    );
  });
});
