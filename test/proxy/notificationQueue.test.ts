/** What a client has still to be told, in the order of the commits. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { NotificationQueue, type Teller, type Waiting } from "../../src/proxy/notificationQueue.ts";
import { notificationResponse } from "../../src/wire/backendWriters.ts";

const KEY = "0 ping";
const SERVER_PID = 7;
const CLIENT_PID = 8;

const message = (payload: string, pid = SERVER_PID): Buffer => notificationResponse(pid, "ping", payload);
const payloads = (waiting: readonly Waiting[] | null): readonly (string | null)[] | null =>
  waiting?.map((one) => one.message?.toString("latin1", 14, one.message.length - 1) ?? null) ?? null;

function queueOf(...all: readonly (readonly [payload: string, teller: Teller])[]): NotificationQueue {
  const queue = new NotificationQueue();
  for (const [payload, teller] of all) queue.push(KEY, message(payload), teller);
  return queue;
}

describe("the notifications that wait for a client", () => {
  test("are cut behind what its connection tells, whatever its process id is there", () => {
    const queue = queueOf(["a", "hub"], ["own", "either"], ["b", "hub"]);
    assert.deepEqual(payloads(queue.cut(KEY, message("own", CLIENT_PID))), ["a"]);
    assert.deepEqual(payloads(queue.take()), ["b"]);
    assert.ok(queue.isEmpty);
    assert.equal(queue.bytes, 0);
  });

  test("are not cut by what only the hub tells, by other words, or by another channel", () => {
    const queue = queueOf(["same", "hub"], ["own", "connection"]);
    assert.equal(queue.cut(KEY, message("same")), null);
    assert.equal(queue.cut(KEY, message("others")), null);
    assert.equal(queue.cut("0 pong", message("own")), null);
    assert.deepEqual(payloads(queue.take()), ["same", "own"]);
  });

  test("are told from here if the connection passes them over", () => {
    const queue = queueOf(["undone", "either"], ["own", "connection"]);
    assert.deepEqual(payloads(queue.cut(KEY, message("own"))), ["undone"]);
  });

  test("need no memory for how much a connection that listens will tell", () => {
    const queue = new NotificationQueue();
    const words = "x".repeat(7_000);
    for (let i = 0; i < 5_000; i += 1) queue.push(KEY, message(`${i} ${words}`), "connection");
    assert.ok(queue.bytes < 1_100_000);
    queue.push(KEY, message("last"), "hub");
    for (let i = 0; i < 5_000; i += 1)
      assert.deepEqual(payloads(queue.cut(KEY, message(`${i} ${words}`))), []);
    assert.equal(queue.bytes, message("last").length);
    assert.deepEqual(payloads(queue.take()), ["last"]);
  });

  test("go with their channel", () => {
    const queue = queueOf(["a", "hub"], ["own", "either"]);
    queue.push("0 pong", message("b"), "hub");
    queue.keep((key) => key !== KEY);
    assert.deepEqual(payloads(queue.take()), ["b"]);
  });
});
