/** What parents pass on between workers in an online restart, also when one of them dies in the middle. */
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { FleetArrivals } from "../../src/cli/workers/fleetArrivals.ts";
import { FleetDeparture } from "../../src/cli/workers/fleetDeparture.ts";
import {
  FOLLOW,
  LEAVE,
  PREDECESSOR_GONE,
  PREDECESSOR_SAYS,
  SUCCESSOR_SAYS,
  TO_PREDECESSOR,
  TO_SUCCESSOR,
} from "../../src/cli/workers/workerTopics.ts";
import type { Channel } from "../../src/fleet/channel.ts";
import { Crew, type Member } from "../../src/fleet/crew.ts";
import type { ClientState, ToPredecessor, ToSuccessor } from "../../src/proxy/handover/messages.ts";
import { channelPair } from "../fleet/channelPair.ts";

const SIZE = 2;
const settled = () => new Promise((resolve) => setImmediate(resolve));

class Handle {
  isClosed = false;
  close(): void {
    assert.ok(!this.isClosed, "it is closed once");
    this.isClosed = true;
  }
}

interface Worker {
  readonly member: Member;
  /** The worker's end. */
  readonly channel: Channel;
  /** What it was told. */
  readonly heard: string[];
}

function join(crew: Crew, index: number): Worker {
  const [own, channel] = channelPair();
  const heard: string[] = [];
  const note = (message: ToSuccessor | ToPredecessor, handle?: object): void =>
    void heard.push(
      [message.kind, "id" in message ? message.id : "", handle === undefined ? "" : "with"].join(" ").trim(),
    );
  channel.serve(LEAVE, () => 1);
  channel.serve(SUCCESSOR_SAYS, (message) => note(message));
  channel.serve(PREDECESSOR_SAYS, (message, handle) => note(message, handle));
  channel.serve(FOLLOW, () => void heard.push("follow"));
  channel.serve(PREDECESSOR_GONE, () => void heard.push("gone"));
  const member = { index, pid: 100 + index, channel: own };
  crew.join(member);
  return { member, channel, heard };
}

/** A client of the worker `index`. */
const client = (id: number, index: number): ToSuccessor => ({
  kind: "client",
  id,
  state: { pid: 512 + 8 * index } as ClientState,
});

describe("a parent whose workers leave", () => {
  let crew: Crew;
  let departure: FleetDeparture;
  let workers: Worker[];
  let sent: { readonly message: ToSuccessor; readonly handle: object | undefined }[];

  beforeEach(async () => {
    crew = new Crew();
    departure = new FleetDeparture(crew, SIZE);
    workers = [join(crew, 0), join(crew, 1)];
    sent = [];
    const successor = {
      send: (message: ToSuccessor, handle?: object) => void sent.push({ message, handle }),
    };
    assert.equal(await departure.leave(successor, true), SIZE);
  });

  const idOf = (at: number): number => (sent[at]!.message as { readonly id: number }).id;

  test("tells clients of two workers apart that have the same number there", async () => {
    for (const [index, { channel }] of workers.entries())
      channel.tell(TO_SUCCESSOR, client(7, index), new Handle());
    await settled();
    assert.notEqual(idOf(0), idOf(1));
    departure.onSuccessorSays({ kind: "taken", id: idOf(0) });
    departure.onSuccessorSays({ kind: "refused", id: idOf(1), reason: "so" });
    await settled();
    assert.deepEqual(
      workers.map(({ heard }) => heard),
      [["taken 7"], ["refused 7"]],
    );
    assert.ok(sent.every(({ handle }) => (handle as Handle).isClosed));
    workers[0]!.channel.tell(TO_SUCCESSOR, { kind: "go", id: 7 });
    await settled();
    assert.deepEqual(sent[2]!.message, { kind: "go", id: idOf(0) });
  });

  test("lets go in the place of one that is dead, once the client is known on the other side", async () => {
    workers[0]!.channel.tell(TO_SUCCESSOR, client(1, 0), new Handle());
    workers[0]!.channel.tell(TO_SUCCESSOR, client(2, 0), new Handle());
    await settled();
    departure.onSuccessorSays({ kind: "taken", id: idOf(0) });
    crew.leave(workers[0]!.member);
    assert.deepEqual(sent.slice(2), [{ message: { kind: "go", id: idOf(0) }, handle: undefined }]);
    departure.onSuccessorSays({ kind: "taken", id: idOf(1) });
    assert.deepEqual(sent[3], { message: { kind: "go", id: idOf(1) }, handle: undefined });
  });

  test("passes a cancel request to the one worker that can have the client", async () => {
    departure.onSuccessorSays({ kind: "cancel", pid: 512 + 8, secret: "" });
    await settled();
    assert.deepEqual(
      workers.map(({ heard }) => heard),
      [[], ["cancel"]],
    );
  });

  test("keeps nothing of what it was told when the new process is gone", async () => {
    const [before, after] = [new Handle(), new Handle()];
    workers[0]!.channel.tell(TO_SUCCESSOR, client(1, 0), before);
    await settled();
    departure.stop();
    workers[0]!.channel.tell(TO_SUCCESSOR, client(2, 0), after);
    await settled();
    assert.ok(before.isClosed && after.isClosed);
    assert.equal(sent.length, 1);
  });
});

describe("a parent whose workers take clients over", () => {
  let crew: Crew;
  let arrivals: FleetArrivals;
  let workers: Worker[];
  let sent: ToPredecessor[];

  beforeEach(() => {
    crew = new Crew();
    arrivals = new FleetArrivals(crew, SIZE);
    workers = [join(crew, 0), join(crew, 1)];
    sent = [];
    arrivals.follow({ send: (message) => void sent.push(message) });
  });

  test("gives each client to the worker that its process id names", async () => {
    const handles = [new Handle(), new Handle()];
    for (const [index, handle] of handles.entries()) arrivals.onPredecessorSays(client(index, index), handle);
    await settled();
    for (const [id, { channel }] of workers.entries()) channel.tell(TO_PREDECESSOR, { kind: "taken", id });
    await settled();
    assert.ok(handles.every(({ isClosed }) => isClosed));
    assert.deepEqual(sent, [
      { kind: "taken", id: 0 },
      { kind: "taken", id: 1 },
    ]);
    for (const id of [0, 1]) arrivals.onPredecessorSays({ kind: "go", id }, undefined);
    await settled();
    assert.deepEqual(
      workers.map(({ heard }) => heard),
      [
        ["follow", "client 0 with", "go 0"],
        ["follow", "client 1 with", "go 1"],
      ],
    );
  });

  test("leaves with the old process who was on the way to a worker that died", async () => {
    const handle = new Handle();
    arrivals.onPredecessorSays(client(1, 0), handle);
    crew.leave(workers[0]!.member);
    assert.ok(handle.isClosed);
    assert.deepEqual(sent, [{ kind: "refused", id: 1, reason: "its worker has ended" }]);
    // It may have crossed this.
    arrivals.onPredecessorSays({ kind: "go", id: 1 }, undefined);
  });

  test("keeps for the next worker who comes while there is none", async () => {
    crew.leave(workers[0]!.member);
    arrivals.onPredecessorSays(client(1, 0), new Handle());
    const next = join(crew, 0);
    await settled();
    assert.deepEqual(next.heard, []);
    arrivals.onServing(next.member);
    await settled();
    assert.deepEqual(next.heard, ["follow", "client 1 with"]);
  });

  test("keeps connections open until all workers have heard that the old process is gone", async () => {
    const handle = new Handle();
    arrivals.onPredecessorSays(client(1, 0), handle);
    arrivals.onPredecessorGone();
    assert.ok(!handle.isClosed);
    await settled();
    await settled();
    assert.ok(handle.isClosed);
    assert.deepEqual(workers[0]!.heard, ["follow", "client 1 with", "gone"]);
  });
});
