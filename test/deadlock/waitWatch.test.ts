/** When it is worth a look at those who wait. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { WaitWatch } from "../../src/deadlock/waitWatch.ts";
import { ManualEnvironment, settle } from "../txn/manualEnvironment.ts";
import { PlayedClient } from "./played.ts";

const PROBE_AFTER_MS = 50;

class Stage {
  readonly environment = new ManualEnvironment();
  /** When each look began. */
  readonly looks: number[] = [];
  readonly watch: WaitWatch;
  looking = 0;

  constructor(lookMs = 0) {
    const { clock } = this.environment;
    this.watch = new WaitWatch(clock, PROBE_AFTER_MS, async () => {
      this.looking += 1;
      assert.equal(this.looking, 1, "one look at a time");
      this.looks.push(clock.monotonicMs());
      if (lookMs > 0) await new Promise<void>((resolve) => void clock.after(lookMs, resolve));
      this.looking -= 1;
    });
  }

  pass(ms: number): Promise<void> {
    return this.environment.pass(ms);
  }
}

const [one, two] = [new PlayedClient(1), new PlayedClient(2)];

describe("the watch over waits", () => {
  it("has no timer and never looks while nobody is watched", async () => {
    const stage = new Stage();
    assert.equal(stage.environment.nextMs, null);
    await stage.pass(10_000);
    assert.deepEqual(stage.looks, []);
  });

  it("looks first when a wait has lasted, then at growing distances of a quarter of a second at most", async () => {
    const stage = new Stage();
    stage.watch.begin(one);
    await stage.pass(6_000);
    assert.deepEqual(stage.looks.slice(0, 8), [50, 100, 200, 400, 650, 900, 1_150, 1_400]);
  });

  it("never looks at a wait that ends early, and rests then", async () => {
    const stage = new Stage();
    for (let i = 0; i < 100; i += 1) {
      stage.watch.begin(one);
      await stage.pass(PROBE_AFTER_MS - 1);
      stage.watch.end(one);
      await stage.pass(1);
    }
    assert.deepEqual(stage.looks, []);
    await stage.pass(PROBE_AFTER_MS);
    assert.equal(stage.environment.nextMs, null);
  });

  it("gives a new wait a first look of its own, though an old one is looked at seldom by now", async () => {
    const stage = new Stage();
    stage.watch.begin(one);
    await stage.pass(3_700);
    const before = stage.looks.length;
    stage.watch.begin(two);
    await stage.pass(100);
    assert.deepEqual(stage.looks.slice(before), [3_750, 3_800]);
  });

  it("counts from the beginning when the same client waits again", async () => {
    const stage = new Stage();
    stage.watch.begin(one);
    await stage.pass(3_700);
    stage.watch.end(one);
    stage.watch.begin(one);
    const before = stage.looks.length;
    await stage.pass(60);
    assert.deepEqual(stage.looks.slice(before), [3_750]);
  });

  it("looks once where several are due together", async () => {
    const stage = new Stage();
    for (let client = 1; client <= 500; client += 1) stage.watch.begin(new PlayedClient(client));
    await stage.pass(100);
    assert.deepEqual(stage.looks, [50, 100]);
  });

  it("never looks twice at once; what becomes due meanwhile follows at once", async () => {
    const stage = new Stage(500);
    stage.watch.begin(one);
    await stage.pass(60);
    stage.watch.begin(two);
    await stage.pass(440);
    assert.deepEqual(stage.looks, [50]);
    await stage.pass(50);
    assert.deepEqual(stage.looks, [50, 550], "the distance counts from the end of a look");
    await stage.pass(450);
    assert.equal(stage.looking, 1);
  });

  it("rests after a look at one who has gone meanwhile", async () => {
    const stage = new Stage(10);
    stage.watch.begin(one);
    await stage.pass(55);
    stage.watch.end(one);
    await stage.pass(1_000);
    assert.deepEqual(stage.looks, [50]);
    assert.equal(stage.environment.nextMs, null);
  });

  it("knows who is watched, and for how long", async () => {
    const stage = new Stage();
    stage.watch.begin(one);
    await stage.pass(30);
    stage.watch.begin(two);
    await stage.pass(10);
    assert.deepEqual(
      [...stage.watch.waits()].map(([{ client }, waitedMs]) => [client, waitedMs]),
      [
        [1, 40],
        [2, 10],
      ],
    );
  });

  it("looks no more once it is closed, also where it is closed during a look", async () => {
    for (const closeAtMs of [20, 55]) {
      const stage = new Stage(10);
      stage.watch.begin(one);
      await stage.pass(closeAtMs);
      const before = stage.looks.length;
      stage.watch.close();
      await stage.pass(1_000);
      stage.watch.begin(two);
      await settle();
      await stage.pass(1_000);
      assert.equal(stage.looks.length, before);
      assert.equal(stage.environment.nextMs, null);
    }
  });
});
