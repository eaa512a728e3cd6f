import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Side } from "../../src/wire/frameScanner.ts";
import { MessageFeed } from "../../src/wire/messageFeed.ts";
import { CLIENT_MESSAGE, SERVER_MESSAGE } from "../../src/wire/messageTypes.ts";
import { cutAt, cuts, i32 } from "./wireBytes.ts";

const MESSAGE_BYTES_MAX = 5_000;
const CHUNK_BYTES_MAX = 300;
const TYPES = { client: Object.values(CLIENT_MESSAGE), server: Object.values(SERVER_MESSAGE) };

/** Bytes without any sense, and headers of the side with a length that lies. */
const noise = (side: Side): fc.Arbitrary<Buffer> =>
  fc
    .array(
      fc.oneof(
        fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
        fc
          .tuple(fc.constantFrom(...TYPES[side]), fc.oneof(fc.nat(60), fc.integer()))
          .map(([type, length]) => Buffer.concat([Buffer.from([type]), i32(length)])),
      ),
      { maxLength: 60 },
    )
    .map((parts) => Buffer.concat(parts));

/** Every whole message that comes before the stream ends or turns out to be none. */
function readAll(feed: MessageFeed, chunks: readonly Buffer[]): Buffer[] {
  const messages: Buffer[] = [];
  for (const chunk of chunks) {
    feed.push(chunk);
    while (feed.next()) messages.push(Buffer.from(feed.buffer.subarray(feed.start, feed.end)));
  }
  return messages;
}

describe("bytes of a hostile peer", () => {
  for (const side of ["client", "server"] as const) {
    it(`from a ${side} are messages up to the first that is none, and the same however they are cut`, () => {
      const property = fc.property(noise(side), cuts, (bytes, places) => {
        const [whole, cut] = [
          new MessageFeed(side, MESSAGE_BYTES_MAX),
          new MessageFeed(side, MESSAGE_BYTES_MAX),
        ];
        const messages = readAll(whole, [bytes]);
        assert.deepEqual(readAll(cut, cutAt(bytes, places)), messages);
        assert.equal(cut.violation, whole.violation);
        const seen = Buffer.concat(messages);
        assert.deepEqual(seen, bytes.subarray(0, seen.length));
        for (const message of messages) {
          assert.ok(TYPES[side].some((type) => type === message[0]));
          assert.equal(message.readInt32BE(1), message.length - 1);
          assert.ok(message.length <= MESSAGE_BYTES_MAX);
        }
      });
      fc.assert(property, { numRuns: 1000 });
    });
  }

  it("take no more memory, however long they come, than the largest message and a chunk", () => {
    const feeds = Array.from({ length: 50 }, () => new MessageFeed("client", MESSAGE_BYTES_MAX));
    const first = Buffer.concat([
      Buffer.from("Q"),
      i32(MESSAGE_BYTES_MAX - 1),
      Buffer.alloc(CHUNK_BYTES_MAX),
    ]);
    const before = process.memoryUsage().arrayBuffers;
    for (const feed of feeds) {
      readAll(feed, [first]);
      for (let i = 0; i < 14; i += 1) readAll(feed, [Buffer.alloc(CHUNK_BYTES_MAX, 0x20)]);
      assert.equal(feed.violation, null);
    }
    const grown = process.memoryUsage().arrayBuffers - before;
    assert.ok(grown < 50 * 10 * MESSAGE_BYTES_MAX, `${grown} bytes`);
  });
});
