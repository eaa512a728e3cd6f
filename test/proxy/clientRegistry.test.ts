/** Process ids of clients: told apart between workers and between processes of an online restart. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { systemEnvironment } from "../../src/cli/systemEnvironment.ts";
import type { ClientLimits } from "../../src/proxy/clientLimits.ts";
import { ClientRegistry, workerOf } from "../../src/proxy/clientRegistry.ts";
import type { NewClient } from "../../src/proxy/handshake.ts";
import type { Session } from "../../src/proxy/session.ts";

const KEYS = 2_000;

function pids(generation: number, worker: number | null): readonly number[] {
  const registry = new ClientRegistry(systemEnvironment.random, {} as ClientLimits, generation, worker);
  return Array.from({ length: KEYS }, () => registry.newKey(0).pid);
}

/** A client of the process id `pid`, and a session of nothing but what the register looks at. */
function entrant(pid: number): [client: NewClient, session: Session] {
  const key = { pid, secret: Buffer.from([0, 0, 0, pid]) };
  const identity = { user: "ann", database: "bank", address: "" };
  return [{ key, identity } as NewClient, { client: { place: -1 } } as unknown as Session];
}

describe("the register of clients", () => {
  const limits = { add() {}, remove() {} } as unknown as ClientLimits;

  test("knows who is in by key and by session, and those who have gone no more", () => {
    const registry = new ClientRegistry(systemEnvironment.random, limits);
    const sessions = [1, 2, 3].map((pid) => {
      const [client, session] = entrant(pid);
      registry.add(client, session);
      return session;
    });
    const [first, second, third] = sessions as [Session, Session, Session];
    registry.remove(second);
    registry.remove(second);
    assert.equal(registry.size, 2);
    assert.equal(registry.entryOf(second), null);
    assert.equal(registry.find(2, Buffer.from([0, 0, 0, 2])), null);
    assert.equal(registry.find(3, Buffer.from([0, 0, 0, 3])), third);
    assert.equal(registry.find(3, Buffer.from([0, 0, 0, 2])), null);
    assert.deepEqual([...registry.sessions], [first, third]);

    const [client, fourth] = entrant(4);
    registry.add(client, fourth); // where the second was
    assert.equal(registry.entryOf(second), null);
    assert.equal(registry.entryOf(fourth)?.client, client);
    assert.deepEqual(new Set(registry.sessions), new Set([first, third, fourth]));
  });

  test("tells when the last has gone", async () => {
    const registry = new ClientRegistry(systemEnvironment.random, limits);
    const [client, session] = entrant(1);
    registry.add(client, session);
    const empty = registry.whenEmpty();
    registry.remove(session);
    await empty;
    assert.equal(registry.size, 0);
    assert.equal(registry.has(1), false);
  });
});

describe("the process id of a client", () => {
  test("tells the worker that gave it", () => {
    for (const worker of [0, 1, 7, 63]) {
      for (const pid of pids(3, worker)) {
        assert.ok(pid > 0 && pid <= 0x7fff_ffff);
        assert.equal(workerOf(pid, 64), worker);
      }
    }
  });

  test("names a worker also if there are fewer now", () => {
    assert.deepEqual(new Set(pids(0, 3).map((pid) => workerOf(pid, 2))), new Set([1]));
  });

  test("of a process without workers names each of any number of workers about as often", () => {
    const counts = [0, 0, 0];
    for (const pid of pids(0, null)) counts[workerOf(pid, 3)]! += 1;
    for (const count of counts) assert.ok(count > KEYS / 6, String(counts));
  });

  test("is another in the process that follows, whatever workers there are", () => {
    const before = new Set([...pids(0, null), ...pids(0, 0), ...pids(0, 5)]);
    for (const worker of [null, 0, 5]) {
      for (const pid of pids(1, worker)) assert.ok(!before.has(pid));
    }
  });
});
