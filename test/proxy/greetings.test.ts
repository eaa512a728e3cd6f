/** Which shard is asked what a client is told at login; against pools that are played. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Fault } from "../../src/base/fault.ts";
import type { Pool } from "../../src/pool/pool.ts";
import { ClientParameters } from "../../src/proxy/clientParameters.ts";
import { Greetings } from "../../src/proxy/greetings.ts";

const PARAMETERS = new ClientParameters(new Map([["user", "ann"]]));

/** A pool that lends a connection with the parameter `name`, or fails with the error of that id. */
function pool(name: string, fails: Fault["id"] | null, asked: string[], refusal: Fault | null = null): Pool {
  const lease = { settings: "", parameters: new Map([["server", name]]) };
  const checkout = async () => {
    asked.push(name);
    if (fails !== null) throw new Fault(fails);
    return lease;
  };
  return { refusal, checkout, checkIn() {} } as unknown as Pool;
}

describe("what a client is told at login", () => {
  test("comes from another shard if one that seemed to be there is down", async () => {
    const asked: string[] = [];
    const down = new Fault("pool.shard_down");
    const greetings = new Greetings([
      pool("known to be down", null, asked, down),
      pool("down", "pool.shard_down", asked),
      pool("out of reach", "pool.connect_failed", asked),
      pool("there", null, asked),
    ]);
    assert.equal((await greetings.of(PARAMETERS)).parameters.get("server"), "there");
    assert.deepEqual(asked, ["down", "out of reach", "there"]);
    assert.equal(greetings.of(PARAMETERS), greetings.of(PARAMETERS), "one greeting for all who are alike");
    assert.equal(asked.length, 3, "and is known from then on");
  });

  test("is an error if all are down, and at once if the error is the client's", async () => {
    const asked: string[] = [];
    const isFault = (id: string) => (error: unknown) => error instanceof Fault && error.id === id;
    const down = new Greetings([
      pool("a", "pool.shard_down", asked),
      pool("b", "pool.connect_failed", asked),
    ]);
    await assert.rejects(async () => down.of(PARAMETERS), isFault("pool.connect_failed"));
    const refused = new Greetings([pool("c", "pool.no_database", asked), pool("d", null, asked)]);
    await assert.rejects(async () => refused.of(PARAMETERS), isFault("pool.no_database"));
    const none = new Greetings([pool("e", "pool.shard_down", asked, new Fault("pool.shard_down"))]);
    await assert.rejects(async () => none.of(PARAMETERS), isFault("pool.shard_down"));
    assert.deepEqual(asked, ["a", "b", "c", "e"]);
  });
});
