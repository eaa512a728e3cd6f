/** Cancel requests and signals for clients of other workers. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ClientSignals, relaySignals } from "../../src/fleet/clientSignals.ts";
import { ManualEnvironment } from "../txn/manualEnvironment.ts";
import { PlayedCrew } from "./playedCrew.ts";

/** Three workers, of which client `pid` belongs to the one of its remainder by three; each has client 10 to 12. */
function open() {
  const environment = new ManualEnvironment();
  const crew = new PlayedCrew(3);
  relaySignals(crew.crew);
  const heard: string[] = [];
  const signals = crew.workers.map(({ membership }) => {
    const one = new ClientSignals(membership, environment.clock, (pid, size) => pid % size);
    one.serve({
      cancel: (pid, secret) =>
        void heard.push(`${membership.index}: cancel ${pid} ${secret.toString("hex")}`),
      signal(kind, pid) {
        heard.push(`${membership.index}: ${kind} ${pid}`);
        return pid <= 12;
      },
    });
    return one;
  });
  return { environment, crew, heard, signals };
}

describe("what a client does to another worker's", () => {
  it("reaches that worker and no other, with the secret as it was", async () => {
    const { environment, heard, signals } = open();
    signals[0]!.cancel(11, Buffer.from("c0ffee", "hex"));
    await environment.pass(0);
    assert.deepEqual(heard, ["2: cancel 11 c0ffee"]);
  });

  it("is answered by whether there is such a client", async () => {
    const { heard, signals } = open();
    assert.equal(await signals[0]!.signal("cancel", 10), true);
    assert.equal(await signals[0]!.signal("terminate", 100), false);
    assert.deepEqual(heard, ["1: cancel 10", "1: terminate 100"]);
  });

  it("is nobody else's where the process id is of this worker", async () => {
    const { environment, heard, signals } = open();
    signals[0]!.cancel(12, Buffer.alloc(4));
    assert.equal(signals[0]!.signal("cancel", 12), null);
    await environment.pass(0);
    assert.deepEqual(heard, []);
  });

  it("is not done where that worker is gone", async () => {
    const { crew, signals } = open();
    crew.crew.leave(crew.workers[1]!.member);
    signals[0]!.cancel(10, Buffer.alloc(4));
    assert.equal(await signals[0]!.signal("cancel", 10), false);
  });

  it("is not waited for long where that worker is paused", async () => {
    const { environment, crew, signals } = open();
    crew.workers[1]!.pause();
    const answer = signals[0]!.signal("cancel", 10);
    await environment.pass(2_000);
    assert.equal(await answer, false);
  });
});
