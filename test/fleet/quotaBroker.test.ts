/** Dividing what workers share: never more than there is, whatever is under way and whoever dies, and enough for each. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { divideFairly } from "../../src/fleet/fairDivision.ts";
import { LastingBroker } from "../../src/fleet/lastingBroker.ts";
import { QuotaBroker } from "../../src/fleet/quotaBroker.ts";
import type { Grant, QuotaReport } from "../../src/fleet/quotaClaim.ts";

type Broker = QuotaBroker<Played> | LastingBroker<Played>;

/** A worker whose messages, in both directions, arrive when a test says so. */
class Played {
  readonly grants: Grant<Played>[] = [];
  readonly reports: QuotaReport[] = [];
  need = 0;
  held = 0;
  limit = 0;
  serial = 0;
  isFull = false;
  readonly isLasting: boolean;
  max: number;

  constructor(isLasting: boolean, max: number) {
    this.isLasting = isLasting;
    this.max = max;
    this.report();
  }

  report(): void {
    if (this.isLasting) this.limit = Math.max(this.limit, this.held);
    const { max, held, serial: seen } = this;
    this.reports.push({ max, need: this.isLasting ? Math.max(held, this.need) : this.need, held, seen });
  }

  take({ granted, serial, isFull }: Grant<Played>): void {
    this.limit = this.isLasting ? Math.max(granted, this.held) : granted;
    this.serial = serial;
    this.isFull = isFull;
    if (isFull) this.need = this.held;
    this.report();
  }

  /** Takes up to what it needs, as far as it may. */
  hold(): void {
    this.held = Math.max(this.held, Math.min(this.need, this.limit));
  }

  giveBack(count: number): void {
    const wasOver = this.held > this.limit;
    this.held = Math.max(0, this.held - count);
    if (wasOver) this.report();
  }
}

class Stage {
  readonly broker: Broker;
  readonly isLasting: boolean;
  readonly max: number;
  readonly workers: Played[] = [];

  constructor(isLasting: boolean, max: number, size: number) {
    this.broker = isLasting ? new LastingBroker<Played>(size) : new QuotaBroker<Played>(size);
    this.isLasting = isLasting;
    this.max = max;
  }

  join(): void {
    this.workers.push(new Played(this.isLasting, this.max));
  }

  die(worker: Played): void {
    this.workers.splice(this.workers.indexOf(worker), 1);
    this.send(this.broker.leave(worker));
  }

  send(grants: readonly Grant<Played>[]): void {
    for (const grant of grants) grant.claimant.grants.push(grant);
  }

  hear(worker: Played): void {
    const report = worker.reports.shift();
    if (report !== undefined) this.send(this.broker.report(worker, report));
  }

  tell(worker: Played): void {
    const grant = worker.grants.shift();
    if (grant !== undefined) worker.take(grant);
  }

  /** Delivers all there is; what is held beyond a limit comes back at once. */
  settle(): void {
    for (let i = 0; i < 10_000; i += 1) {
      let isQuiet = true;
      for (const worker of this.workers) {
        if (!this.isLasting && worker.held > worker.limit) worker.giveBack(worker.held - worker.limit);
        worker.hold();
        isQuiet &&= worker.reports.length === 0 && worker.grants.length === 0;
        this.hear(worker);
        this.tell(worker);
      }
      if (isQuiet) return;
    }
    assert.fail("they talk for ever");
  }

  want(worker: Played, need: number): void {
    worker.need = need;
    worker.report();
  }

  check(): void {
    let sum = 0;
    for (const { limit, held } of this.workers) sum += Math.max(limit, held);
    assert.ok(sum <= this.max, `${sum} of ${this.max}`);
  }
}

type Step =
  | { readonly kind: "want" | "giveBack"; readonly at: number; readonly count: number }
  | { readonly kind: "hear" | "tell" | "hold" | "die"; readonly at: number }
  | { readonly kind: "join" | "rotate" };

const at = fc.nat(7);
const count = fc.nat(12);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("want" as const), at, count }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("giveBack" as const), at, count }) },
  {
    weight: 20,
    arbitrary: fc.record({ kind: fc.constantFrom("hear" as const, "tell" as const, "hold" as const), at }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("die" as const), at }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom("join" as const, "rotate" as const) }) },
);
const steps = fc.array(step, { maxLength: 200 });
const max = fc.integer({ min: 1, max: 12 });
const size = fc.integer({ min: 1, max: 6 });

function play(stage: Stage, all: readonly Step[]): void {
  for (const one of all) {
    const worker = "at" in one ? stage.workers[one.at % Math.max(1, stage.workers.length)] : undefined;
    if (one.kind === "join") stage.join();
    else if (one.kind === "rotate") stage.send(stage.broker.rotate());
    else if (worker === undefined) continue;
    else if (one.kind === "want") stage.want(worker, one.count);
    else if (one.kind === "giveBack") worker.giveBack(one.count);
    else if (one.kind === "hear") stage.hear(worker);
    else if (one.kind === "tell") stage.tell(worker);
    else if (one.kind === "hold") worker.hold();
    else stage.die(worker);
    stage.check();
  }
}

const sum = (counts: readonly number[]): number => counts.reduce((total, one) => total + one, 0);

describe("a fair division", () => {
  it("gives each what it needs where there is enough, and else nobody more than one more than others who need more", () => {
    const needs = fc.array(fc.nat(20), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(needs, fc.nat(40), (each, total) => {
        const given = divideFairly(each, total);
        assert.equal(sum(given), Math.min(total, sum(each)));
        for (const [i, mine] of given.entries()) {
          assert.ok(mine <= each[i]!);
          if (mine === each[i]) continue;
          for (const others of given) assert.ok(others <= mine + 1);
        }
      }),
    );
  });
});

for (const isLasting of [false, true]) {
  describe(isLasting ? "places that are kept" : "connections that come back", () => {
    it("are never more than there are, whatever is under way and whoever dies", () => {
      fc.assert(
        fc.property(max, size, steps, (total, workers, all) => {
          const stage = new Stage(isLasting, total, workers);
          for (let i = 0; i < workers; i += 1) stage.join();
          play(stage, all);
          stage.settle();
          stage.check();
        }),
        { numRuns: 500 },
      );
    });

    it("go to who needs them, when nobody else does", () => {
      fc.assert(
        fc.property(max, size, steps, fc.nat(7), (total, workers, all, who) => {
          const stage = new Stage(isLasting, total, workers);
          play(stage, all);
          stage.join();
          stage.settle();
          for (const worker of stage.workers) {
            worker.held = 0;
            stage.want(worker, 0);
          }
          stage.settle();
          const lucky = stage.workers[who % stage.workers.length]!;
          stage.want(lucky, total);
          stage.settle();
          assert.equal(lucky.held, total);
        }),
        { numRuns: 300 },
      );
    });
  });
}

describe("connections that come back", () => {
  it("are divided fairly among those who need them, and none is left unused", () => {
    const needs = fc.array(fc.nat(12), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(max, steps, needs, (total, all, each) => {
        const stage = new Stage(false, total, each.length);
        play(stage, all);
        for (const worker of [...stage.workers]) stage.die(worker);
        for (const _ of each) stage.join();
        stage.settle();
        for (const [i, worker] of stage.workers.entries()) stage.want(worker, Math.min(total, each[i]!));
        stage.settle();
        const held = stage.workers.map((worker) => worker.held);
        const fair = divideFairly(
          each.map((need) => Math.min(total, need)),
          total,
        );
        assert.equal(sum(held), sum(fair));
        assert.deepEqual(held.toSorted(), fair.toSorted());
      }),
      { numRuns: 300 },
    );
  });

  it("come to each worker in turn where there are fewer than workers that need one", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 2, max: 6 }), (total, workers) => {
        const stage = new Stage(false, total, workers);
        for (let i = 0; i < workers; i += 1) stage.join();
        for (const worker of stage.workers) stage.want(worker, total);
        stage.settle();
        const turns = stage.workers.map(() => 0);
        for (let i = 0; i < workers; i += 1) {
          for (const [who, { held }] of stage.workers.entries()) if (held > 0) turns[who]! += 1;
          stage.send(stage.broker.rotate());
          stage.settle();
        }
        assert.ok(Math.min(...turns) > 0, `${turns}`);
      }),
    );
  });

  it("are taken from those who have no use for them first", () => {
    const stage = new Stage(false, 12, 3);
    for (let i = 0; i < 3; i += 1) stage.join();
    stage.settle();
    const [busy, idle, asking] = stage.workers as [Played, Played, Played];
    stage.want(busy, 4);
    stage.settle();
    assert.deepEqual([busy.held, idle.limit], [4, 4]);
    stage.want(asking, 8);
    stage.settle();
    assert.deepEqual([busy.held, asking.held], [4, 8]);
  });

  it("of a lowered maximum are as many as there may be when those beyond it have come back", () => {
    const stage = new Stage(false, 10, 2);
    for (let i = 0; i < 2; i += 1) stage.join();
    for (const worker of stage.workers) stage.want(worker, 10);
    stage.settle();
    for (const worker of stage.workers) {
      worker.max = 3;
      stage.want(worker, 3);
    }
    stage.settle();
    assert.equal(sum(stage.workers.map(({ held }) => held)), 3);
    for (const worker of stage.workers) {
      worker.max = 6;
      stage.want(worker, 6);
    }
    stage.settle();
    assert.equal(sum(stage.workers.map(({ held }) => held)), 6);
  });
});

describe("places that are kept", () => {
  it("are refused only when all are taken", () => {
    fc.assert(
      fc.property(max, size, steps, fc.nat(7), (total, workers, all, who) => {
        const stage = new Stage(true, total, workers);
        stage.join();
        play(stage, all);
        if (stage.workers.length === 0) stage.join();
        stage.settle();
        for (const worker of stage.workers) worker.isFull = false;
        const asking = stage.workers[who % stage.workers.length]!;
        const before = sum(stage.workers.map(({ held }) => held));
        stage.want(asking, asking.held + 1);
        stage.settle();
        const held = sum(stage.workers.map((worker) => worker.held));
        assert.equal(held, Math.min(total, before + 1));
        assert.equal(asking.isFull, before === total);
      }),
      { numRuns: 500 },
    );
  });

  it("that were brought along count, and nobody comes in until there are fewer", () => {
    const stage = new Stage(true, 4, 2);
    for (let i = 0; i < 2; i += 1) stage.join();
    stage.settle();
    const [one, other] = stage.workers as [Played, Played];
    one.held = 4;
    stage.want(one, 4);
    stage.settle();
    stage.want(other, 1);
    stage.settle();
    assert.deepEqual([other.held, other.isFull], [0, true]);
    one.need = 3;
    one.giveBack(1);
    stage.want(other, 1);
    stage.settle();
    assert.deepEqual([one.held, other.held], [3, 1]);
  });
});
