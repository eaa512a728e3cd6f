import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LogTurns, openInTurn } from "../../src/fleet/logTurns.ts";
import { ManualEnvironment } from "../txn/manualEnvironment.ts";
import { CrewStage, type StagedWorker } from "./crewStage.ts";

const WALL_MS = 5_000;

const passed = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function stageOf(inherited: number | null = null) {
  const stage = new CrewStage(3);
  const { clock } = new ManualEnvironment();
  const turns = new LogTurns({ ...clock, wallMs: () => WALL_MS }, inherited);
  turns.serve(stage.crew);
  return { stage, turns };
}

/** A worker that holds its turn until it is told to go on. */
function opening({ membership }: StagedWorker, inherited: number | null = null) {
  const begun: (number | null)[] = [];
  let end = (_latestEpoch: number | null): void => {};
  const opened = openInTurn(membership, inherited, (after) => {
    begun.push(after);
    return new Promise<{ latestEpoch: number }>((resolve, reject) => {
      end = (latestEpoch) =>
        latestEpoch === null ? reject(new Error("it could not be opened")) : resolve({ latestEpoch });
    });
  });
  opened.catch(() => {});
  return { begun, opened, end: (latestEpoch: number | null) => end(latestEpoch) };
}

describe("workers that open their decision logs", () => {
  test("do it one after the other: the first takes the directory, the others come after its epoch", async () => {
    const { stage } = stageOf();
    const [one, two, three] = [0, 1, 2].map((index) => opening(stage.join(index)));
    await passed();
    assert.deepEqual([one!.begun, two!.begun, three!.begun], [[null], [], []]);
    one!.end(9_000);
    await passed();
    assert.deepEqual([two!.begun, three!.begun], [[9_000], []]);
    two!.end(9_001);
    await passed();
    assert.ok(three!.begun[0]! > 9_001);
  });

  test("pass the directory on if the first cannot have it", async () => {
    const { stage } = stageOf();
    const [one, two] = [0, 1].map((index) => opening(stage.join(index)));
    await passed();
    one!.end(null);
    await assert.rejects(one!.opened, /could not be opened/);
    await passed();
    assert.deepEqual(two!.begun, [null]);
  });

  test("do not wait for one that died in its turn, or before it", async () => {
    const { stage } = stageOf();
    const workers = [0, 1, 2].map((index) => stage.join(index));
    const [, two, three] = workers.map((worker) => opening(worker));
    await passed();
    stage.leave(workers[1]!);
    stage.leave(workers[0]!);
    await passed();
    assert.deepEqual([two!.begun, three!.begun], [[], [null]]);
  });

  test("do not wait for one whose wish is heard after its death", async () => {
    const { stage } = stageOf();
    const dead = stage.join(0);
    opening(dead);
    stage.leave(dead);
    const next = opening(stage.join(0));
    await passed();
    assert.deepEqual(next.begun, [null]);
  });

  test("have epochs of their own also where one died before it could tell which it took", async () => {
    const { stage } = stageOf();
    const [first, second] = [stage.join(0), stage.join(1)];
    const one = opening(first);
    await passed();
    one.end(100);
    const two = opening(second);
    await passed();
    const after = two.begun[0]!;
    assert.ok(after >= WALL_MS);
    stage.leave(second);
    const three = opening(stage.join(1));
    await passed();
    assert.ok(three.begun[0]! > after + 5, "what the dead one may have tried");
  });

  test("take over from a process before them, all of them", async () => {
    const { stage, turns } = stageOf(7_000);
    const [one, two] = [opening(stage.join(0)), opening(stage.join(1), 8_000)];
    await passed();
    assert.deepEqual(one.begun, [7_000]);
    one.end(7_001);
    await passed();
    assert.deepEqual(two.begun, [8_000]);
    assert.ok(turns.latestEpoch! > 8_000);
  });

  test("fail when the parent is gone", async () => {
    const { stage } = stageOf();
    const worker = stage.join(0);
    worker.membership.parent.close();
    await assert.rejects(opening(worker).opened, { id: "fleet.gone" });
  });
});
