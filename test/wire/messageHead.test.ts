import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Fault } from "../../src/base/fault.ts";
import { FrameScanner } from "../../src/wire/frameScanner.ts";
import { readStatementName } from "../../src/wire/frontendReaders.ts";
import { bindRenamed } from "../../src/wire/frontendWriters.ts";
import { HEAD_BYTES_MAX, MessageHead, mayBeGiant } from "../../src/wire/messageHead.ts";
import { CLIENT_MESSAGE, endsCopy, endsGroup, MESSAGE_BYTES_MAX } from "../../src/wire/messageTypes.ts";
import { cutAt, cuts, i16, i32, message } from "./wireBytes.ts";

const REST = Buffer.alloc(200, "rest\0");
const BIND = message("B", "portal", "statement", REST);
/** Messages, and how many bytes their heads have. */
const HEADS: readonly (readonly [Buffer, number])[] = [
  [BIND, 5 + "portal\0statement\0".length],
  [message("B", "", "", REST), 7],
  [message("P", "name", REST), 10],
  [message("P", "", "SELECT 1", i16(0)), 6],
  [message("Q", REST), 5],
  [message("F", i32(1), REST), 5],
];

/** The head and the rest of the one message in `chunks`, as a session is shown them. */
function split(chunks: readonly Buffer[]): { head: Buffer; rest: Buffer } {
  const scanner = new FrameScanner("client", MESSAGE_BYTES_MAX);
  const head = new MessageHead();
  const rest: Buffer[] = [];
  let isWhole = false;
  let carry: Buffer = Buffer.alloc(0);
  for (const part of chunks) {
    const chunk = Buffer.concat([carry, part]);
    scanner.begin(chunk, 0, chunk.length);
    while (scanner.next()) {
      if (isWhole) rest.push(Buffer.from(chunk.subarray(scanner.start, scanner.end)));
      else if (head.take(chunk, scanner)) {
        isWhole = true;
        rest.push(Buffer.from(chunk.subarray(head.restStart, scanner.end)));
      }
    }
    carry = Buffer.from(chunk.subarray(chunk.length - scanner.tail));
    chunk.fill(0xff, 0, scanner.end); // it is read into again
  }
  assert.ok(isWhole);
  return { head: head.buffer, rest: Buffer.concat(rest) };
}

describe("the head of a long message", () => {
  it("is its header and the names in front of the rest, however the message is cut", () => {
    for (const [bytes, headBytes] of HEADS) {
      fc.assert(
        fc.property(cuts, (places) => {
          const { head, rest } = split(cutAt(bytes, places));
          assert.deepEqual(head, bytes.subarray(0, headBytes));
          assert.deepEqual(rest, bytes.subarray(headBytes));
        }),
        { numRuns: 50 },
      );
    }
  });

  it("is as good as the message for a name to be read and replaced", () => {
    const { head, rest } = split([BIND]);
    assert.equal(readStatementName(head, 0, head.length), "statement");
    for (const name of ["", "s", "another, longer statement"]) {
      assert.deepEqual(
        Buffer.concat([bindRenamed(head, 0, head.length, name), rest]),
        message("B", "portal", name, REST),
      );
    }
  });

  it("begins anew with each message", () => {
    const chunk = Buffer.concat([BIND, message("Q", "SELECT 1")]);
    const scanner = new FrameScanner("client", MESSAGE_BYTES_MAX);
    scanner.begin(chunk, 0, chunk.length);
    const head = new MessageHead();
    assert.ok(scanner.next() && head.take(chunk, scanner));
    assert.ok(scanner.next() && head.take(chunk, scanner));
    assert.deepEqual(head.buffer, chunk.subarray(BIND.length, BIND.length + 5));
    assert.equal(head.restStart, BIND.length + 5);
    head.release();
    assert.equal(head.buffer.length, 0);
  });

  it("has names of some length, not of any", () => {
    const named = (length: number) => message("B", "p", "s".repeat(length), REST);
    const longest = HEAD_BYTES_MAX - "B....p\0\0".length;
    assert.equal(split([named(longest)]).head.length, HEAD_BYTES_MAX);
    for (const chunks of [[named(longest + 1)], cutAt(named(10 * HEAD_BYTES_MAX), [0.1, 0.3, 0.5])]) {
      assert.throws(
        () => split(chunks),
        (error) => error instanceof Fault && error.id === "protocol.message_not_held",
      );
    }
  });

  it("is there of the types that may be long and are not data", () => {
    const giants = Object.entries(CLIENT_MESSAGE).filter(([, type]) => mayBeGiant(type));
    assert.deepEqual(giants.map(([name]) => name).sort(), ["bind", "functionCall", "parse", "query"]);
  });
});

describe("a client's message", () => {
  const typesThat = (is: (type: number) => boolean): string[] =>
    Object.entries(CLIENT_MESSAGE)
      .filter(([, type]) => is(type))
      .map(([name]) => name)
      .sort();

  it("may end a group or a COPY", () => {
    assert.deepEqual(typesThat(endsGroup), ["functionCall", "query", "sync"]);
    assert.deepEqual(typesThat(endsCopy), ["copyDone", "copyFail"]);
  });
});
