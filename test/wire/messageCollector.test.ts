import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { FrameScanner } from "../../src/wire/frameScanner.ts";
import { MessageCollector } from "../../src/wire/messageCollector.ts";
import { MessageFeed } from "../../src/wire/messageFeed.ts";
import { MESSAGE_BYTES_MAX } from "../../src/wire/messageTypes.ts";
import { violationFault } from "../../src/wire/violationFault.ts";
import { clientStream, cutAt, cuts, i32, message } from "./wireBytes.ts";

const scannerOf = (chunk: Buffer): FrameScanner => {
  const scanner = new FrameScanner("client", MESSAGE_BYTES_MAX);
  scanner.begin(chunk, 0, chunk.length);
  assert.ok(scanner.next());
  return scanner;
};

/** Goes on with the next chunk. */
function advance(scanner: FrameScanner, chunk: Buffer): void {
  assert.ok(!scanner.next());
  scanner.begin(chunk, 0, chunk.length);
  assert.ok(scanner.next());
}

describe("the message collector", () => {
  it("shows a message that lies whole in its chunk without copying it", () => {
    const chunk = Buffer.concat([message("Q", "SELECT 1"), message("S")]);
    const collector = new MessageCollector();
    assert.ok(collector.take(chunk, scannerOf(chunk)));
    assert.equal(collector.buffer, chunk);
    assert.deepEqual([collector.start, collector.end], [0, chunk.length - 5]);
  });

  it("puts the pieces of a message into a buffer of its own, which stays when the chunks are reused", () => {
    const bytes = message("Q", "x".repeat(10_000));
    const chunk = Buffer.from(bytes.subarray(0, 3000));
    const scanner = scannerOf(chunk);
    const collector = new MessageCollector();
    assert.ok(!collector.take(chunk, scanner));
    for (let at = 3000; at < bytes.length; at += 3000) {
      const next = Buffer.from(bytes.subarray(at, at + 3000));
      chunk.fill(0);
      advance(scanner, next);
      assert.equal(collector.take(next, scanner), at + 3000 >= bytes.length);
    }
    assert.deepEqual(collector.buffer.subarray(collector.start, collector.end), bytes);
  });

  it("takes no memory for what was announced and has not come", () => {
    const chunk = Buffer.concat([Buffer.from("Q"), i32(MESSAGE_BYTES_MAX - 1), Buffer.alloc(1000)]);
    const before = process.memoryUsage();
    const collectors = Array.from({ length: 100 }, () => {
      const collector = new MessageCollector();
      collector.take(chunk, scannerOf(chunk));
      return collector;
    });
    const after = process.memoryUsage();
    const grown = after.arrayBuffers + after.heapUsed - before.arrayBuffers - before.heapUsed;
    assert.ok(grown < 8 * 1024 * 1024, `${collectors.length} collectors took ${grown} bytes`);
  });

  it("refuses to begin in the middle of a message", () => {
    const bytes = message("Q", "x".repeat(100));
    const scanner = scannerOf(bytes.subarray(0, 50));
    advance(scanner, bytes.subarray(50));
    assert.throws(() => new MessageCollector().take(bytes.subarray(50), scanner), /first piece/);
  });

  it("forgets a message that nobody wanted to the end when another begins", () => {
    const collector = new MessageCollector();
    const unwanted = message("Q", "x".repeat(100)).subarray(0, 50);
    assert.ok(!collector.take(unwanted, scannerOf(unwanted)));
    const bytes = message("Q", "SELECT 1");
    const chunk = bytes.subarray(0, 8);
    const scanner = scannerOf(chunk);
    assert.ok(!collector.take(chunk, scanner));
    const rest = bytes.subarray(8);
    advance(scanner, rest);
    assert.ok(collector.take(rest, scanner));
    assert.deepEqual(collector.buffer.subarray(collector.start, collector.end), bytes);
  });

  it("shows nothing once it was released", () => {
    const chunk = message("S");
    const collector = new MessageCollector();
    collector.take(chunk, scannerOf(chunk));
    collector.release();
    assert.deepEqual([collector.buffer.length, collector.start, collector.end], [0, 0, 0]);
  });
});

describe("the message feed", () => {
  it("yields whole messages however the stream is cut", () => {
    const property = fc.property(clientStream, cuts, (messages, places) => {
      const feed = new MessageFeed("client", MESSAGE_BYTES_MAX);
      const seen: Buffer[] = [];
      for (const chunk of cutAt(Buffer.concat(messages), places)) {
        feed.push(chunk);
        while (feed.next()) seen.push(feed.buffer.subarray(feed.start, feed.end));
      }
      assert.deepEqual(seen, messages);
      assert.equal(feed.rest.length, 0);
    });
    fc.assert(property, { numRuns: 200 });
  });

  it("leaves what follows a message to whoever reads on", () => {
    const feed = new MessageFeed("client", 1000);
    const [first, second] = [message("p", "secret"), message("Q", "SELECT 1")];
    feed.push(Buffer.concat([first, second.subarray(0, 9)]));
    assert.ok(feed.next());
    assert.equal(feed.type, 0x70);
    assert.deepEqual(feed.rest, second.subarray(0, 9));
  });

  it("shows nothing behind a violation", () => {
    const feed = new MessageFeed("client", 1000);
    feed.push(Buffer.concat([message("S"), Buffer.from("!"), message("S")]));
    assert.ok(feed.next());
    assert.ok(!feed.next());
    assert.equal(feed.violation, "type");
  });
});

describe("the fault for a violation", () => {
  const faultFor = (side: "client" | "server", bytes: Buffer, messageBytesMax = 1000) => {
    const feed = new MessageFeed(side, messageBytesMax);
    feed.push(bytes);
    assert.ok(!feed.next());
    return violationFault(side, feed.scanner, feed.violation!);
  };

  it("is Postgres's own for a type that clients do not send", () => {
    const fault = faultFor("client", Buffer.from("!"));
    assert.deepEqual(
      [fault.id, fault.sqlstate, fault.message],
      ["protocol.violation", "08P01", "invalid frontend message type 33"],
    );
  });

  it("names the limit to raise where only pgxa's limit is in the way", () => {
    const fault = faultFor("client", Buffer.concat([Buffer.from("Q"), i32(5000)]));
    assert.deepEqual([fault.id, fault.sqlstate], ["protocol.message_too_long", "08P01"]);
    assert.match(fault.hint ?? "", /limits\.message_bytes_max/);
    assert.equal(fault.detail, 'A message of type "Q" announced 5000 bytes.');
  });

  it("gives no such advice for a length that no Postgres takes", () => {
    for (const length of [3, -7, 0x7fff_ffff]) {
      const fault = faultFor("client", Buffer.concat([Buffer.from("S"), i32(length)]));
      assert.deepEqual(
        [fault.id, fault.message, fault.hint],
        ["protocol.violation", "invalid message length", undefined],
      );
    }
  });

  it("blames the shard for what a shard sent", () => {
    const fault = faultFor("server", Buffer.from("!"));
    assert.deepEqual([fault.id, fault.spec.blame], ["protocol.server_violation", "server"]);
    assert.match(fault.detail ?? "", /type 33/);
  });
});
