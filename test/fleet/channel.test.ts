import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Fault } from "../../src/base/fault.ts";
import { type Channel, topic } from "../../src/fleet/channel.ts";
import { Crew, type Member } from "../../src/fleet/crew.ts";
import { channelPair } from "./channelPair.ts";

const DOUBLE = topic<number, number>("double");
const NOTE = topic<string>("note");
const FAIL = topic<null, null>("fail");
const isFault = (id: string) => (error: unknown) => error instanceof Fault && error.id === id;

describe("a channel", () => {
  test("brings answers to who asked, in whatever order they come", async () => {
    const [here, there] = channelPair();
    const held: (() => void)[] = [];
    there.serve(DOUBLE, (n) => new Promise((resolve) => held.push(() => resolve(2 * n))));
    const asked = [here.ask(DOUBLE, 1), here.ask(DOUBLE, 2)];
    await new Promise((resolve) => setImmediate(resolve));
    for (const answer of held.reverse()) answer();
    assert.deepEqual(await Promise.all(asked), [2, 4]);
  });

  test("keeps the order of what is told", async () => {
    const [here, there] = channelPair();
    const notes: string[] = [];
    there.serve(NOTE, (text) => void notes.push(text));
    for (const text of ["a", "b", "c"]) here.tell(NOTE, text);
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(notes, ["a", "b", "c"]);
  });

  test("brings a fault as it was thrown", async () => {
    const [here, there] = channelPair();
    there.serve(FAIL, () => {
      throw new Fault("pool.queue_full", { detail: "20 wait." });
    });
    const error = await here.ask(FAIL, null).catch((one: unknown) => one);
    assert.ok(error instanceof Fault);
    assert.deepEqual(
      [error.id, error.detail, error.hint],
      ["pool.queue_full", "20 wait.", new Fault("pool.queue_full").hint],
    );
  });

  test("refuses what the other end does not serve", async () => {
    await assert.rejects(channelPair()[0].ask(DOUBLE, 1), isFault("fleet.gone"));
  });

  test("tells who waits that the other process is gone, and says nothing more", async () => {
    const [here, there] = channelPair();
    let asked = 0;
    there.serve(DOUBLE, () => {
      asked += 1;
      return new Promise<number>(() => {});
    });
    const waiting = here.ask(DOUBLE, 1);
    here.close();
    await assert.rejects(waiting, isFault("fleet.gone"));
    await assert.rejects(here.ask(DOUBLE, 2), isFault("fleet.gone"));
    here.tell(NOTE, "lost");
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(asked, 1);
  });

  test("hears nothing of what a process that is gone has sent before", async () => {
    const [here, there] = channelPair();
    const notes: string[] = [];
    here.serve(NOTE, (text) => void notes.push(text));
    there.tell(NOTE, "late");
    here.close();
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(notes, []);
  });
});

describe("a crew", () => {
  function memberOf(index: number): { member: Member; worker: Channel } {
    const [channel, worker] = channelPair();
    return { member: { index, pid: 100 + index, channel }, worker };
  }

  test("asks all but who asks, and leaves out who dies meanwhile", async () => {
    const crew = new Crew();
    const [a, b, c] = [memberOf(0), memberOf(1), memberOf(2)];
    for (const { member } of [a, b, c]) crew.join(member);
    for (const { worker } of [a, b]) worker.serve(DOUBLE, (n) => 2 * n);
    c.worker.serve(DOUBLE, () => {
      crew.leave(c.member);
      return 0;
    });
    const answers = await crew.askOthers(a.member, DOUBLE, 4);
    assert.deepEqual(
      answers.map(({ member, answer }) => [member.index, answer]),
      [[1, 8]],
    );
  });

  test("passes on a fault of one of them", async () => {
    const crew = new Crew();
    const { member, worker } = memberOf(0);
    crew.join(member);
    worker.serve(DOUBLE, () => {
      throw new Fault("pool.queue_full");
    });
    await assert.rejects(crew.askOthers(null, DOUBLE, 4), isFault("pool.queue_full"));
  });

  test("knows the one that followed a dead one by its number", () => {
    const crew = new Crew();
    const seen: string[] = [];
    const [first, second] = [memberOf(0).member, { ...memberOf(0).member, pid: 200 }];
    crew.join(first);
    crew.watch({
      onJoined: ({ pid }) => void seen.push(`joined ${pid}`),
      onLeft: ({ pid }) => void seen.push(`left ${pid}`),
    });
    crew.leave(first);
    crew.join(second);
    crew.leave(first);
    assert.deepEqual(seen, ["joined 100", "left 100", "joined 200"]);
    assert.equal(crew.at(0), second);
  });

  test("tells every worker but one", async () => {
    const crew = new Crew();
    const notes: string[] = [];
    const parts = [memberOf(0), memberOf(1)];
    for (const { member, worker } of parts) {
      crew.join(member);
      worker.serve(NOTE, (text) => void notes.push(`${member.index} ${text}`));
    }
    crew.tellOthers(parts[0]!.member, NOTE, "pause");
    crew.tellOthers(null, NOTE, "resume");
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(notes, ["1 pause", "0 resume", "1 resume"]);
  });
});
