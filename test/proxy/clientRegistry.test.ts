/** Process ids of clients: told apart between workers and between processes of an online restart. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { systemEnvironment } from "../../src/cli/systemEnvironment.ts";
import type { ClientLimits } from "../../src/proxy/clientLimits.ts";
import { ClientRegistry, workerOf } from "../../src/proxy/clientRegistry.ts";

const KEYS = 2_000;

function pids(generation: number, worker: number | null): readonly number[] {
  const registry = new ClientRegistry(systemEnvironment.random, {} as ClientLimits, generation, worker);
  return Array.from({ length: KEYS }, () => registry.newKey(0).pid);
}

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
