/** Answers come in order, and one that does not come in time is noticed then, by one timer for all. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ControlQueue } from "../../src/pool/controlQueue.ts";
import type { ControlReply } from "../../src/pool/controlReply.ts";
import { ManualEnvironment } from "../txn/manualEnvironment.ts";

const ANSWER: ControlReply = { kind: "complete", tags: [], rows: [], status: "I" };
const LOST: ControlReply = { kind: "lost", reason: "gone" };

class Stage {
  readonly environment = new ManualEnvironment();
  readonly overdue: number[] = [];
  readonly heard: string[] = [];
  readonly queue = new ControlQueue(this.environment.clock, (timeoutMs) => void this.overdue.push(timeoutMs));

  ask(name: string, timeoutMs: number): void {
    this.queue.add(({ kind }) => void this.heard.push(`${name} ${kind}`), timeoutMs);
  }
}

describe("the questions on a connection", () => {
  it("are answered in their order", () => {
    const stage = new Stage();
    stage.ask("first", 100);
    stage.ask("second", 100);
    stage.queue.answer(ANSWER);
    stage.queue.answer(ANSWER);
    assert.deepEqual(stage.heard, ["first complete", "second complete"]);
  });

  it("are overdue when their own time is up, not before, whatever was asked before them", async () => {
    const stage = new Stage();
    stage.ask("early", 100);
    await stage.environment.pass(60);
    stage.queue.answer(ANSWER);
    stage.ask("late", 100);
    await stage.environment.pass(99);
    assert.deepEqual(stage.overdue, []);
    await stage.environment.pass(1);
    assert.deepEqual(stage.overdue, [100]);
  });

  it("are overdue in time behind one that may take longer", async () => {
    const stage = new Stage();
    stage.ask("long", 1_000);
    stage.ask("short", 100);
    await stage.environment.pass(100);
    assert.deepEqual(stage.overdue, [100]);
  });

  it("leave at most one timer behind, which ends by itself when nobody waits", async () => {
    const stage = new Stage();
    for (let i = 0; i < 5; i += 1) {
      stage.ask("one", 100);
      stage.queue.answer(ANSWER);
      await stage.environment.pass(1);
    }
    assert.equal(stage.environment.nextMs, 95);
    await stage.environment.pass(95);
    assert.equal(stage.environment.nextMs, null);
    assert.deepEqual(stage.overdue, []);
  });

  it("are lost when the connection is, and leave no timer", () => {
    const stage = new Stage();
    stage.ask("first", 100);
    stage.ask("second", 100);
    stage.queue.close(LOST);
    assert.deepEqual(stage.heard, ["first lost", "second lost"]);
    assert.equal(stage.environment.nextMs, null);
  });
});
