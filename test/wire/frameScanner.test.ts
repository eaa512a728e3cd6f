import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { FrameScanner, type Side } from "../../src/wire/frameScanner.ts";
import {
  CLIENT_MESSAGE,
  isValidLength,
  MESSAGE_BYTES_MAX,
  SERVER_MESSAGE,
} from "../../src/wire/messageTypes.ts";
import { clientStream, cutAt, cuts, i32, message } from "./wireBytes.ts";

interface Piece {
  readonly type: string;
  readonly bytes: Buffer;
  readonly isFirst: boolean;
  readonly isLast: boolean;
  readonly length: number;
}

/** Feeds the chunks as a socket's reader does: what is left of a header goes in front of the next chunk. */
function scan(scanner: FrameScanner, chunks: readonly Buffer[]): Piece[] {
  const pieces: Piece[] = [];
  let tail: Buffer = Buffer.alloc(0);
  for (const chunk of chunks) {
    const bytes = Buffer.concat([Buffer.from("!!"), tail, chunk, Buffer.from("QQQQQ")]);
    const end = bytes.length - 5;
    scanner.begin(bytes, 2, end);
    while (scanner.next()) pieces.push(currentPiece(scanner, bytes));
    tail = bytes.subarray(end - scanner.tail, end);
  }
  return pieces;
}

const currentPiece = (scanner: FrameScanner, bytes: Buffer): Piece => ({
  type: String.fromCharCode(scanner.type),
  bytes: bytes.subarray(scanner.start, scanner.end),
  isFirst: scanner.isFirst,
  isLast: scanner.isLast,
  length: scanner.length,
});

const header = (type: string, lengthField: number): Buffer =>
  Buffer.concat([Buffer.from(type), i32(lengthField)]);

function refusalOf(side: Side, bytes: Buffer, messageBytesMax = MESSAGE_BYTES_MAX): string | null {
  const scanner = new FrameScanner(side, messageBytesMax);
  scan(scanner, [bytes]);
  return scanner.violation;
}

describe("the frame scanner", () => {
  it("finds the messages of a chunk where they lie", () => {
    const messages = [message("Q", "SELECT 1"), message("S"), message("d", Buffer.from("x"))];
    const pieces = scan(new FrameScanner("client", 1000), [Buffer.concat(messages)]);
    assert.deepEqual(
      pieces.map((piece) => piece.bytes),
      messages,
    );
    assert.ok(pieces.every((piece) => piece.isFirst && piece.isLast && piece.length === piece.bytes.length));
  });

  it("walks a message that spans chunks piece by piece", () => {
    const bytes = message("Q", "SELECT 1");
    const scanner = new FrameScanner("client", 1000);
    const pieces = scan(scanner, [bytes.subarray(0, 6), bytes.subarray(6, 9), bytes.subarray(9)]);
    assert.deepEqual(
      pieces.map(({ isFirst, isLast }) => [isFirst, isLast]),
      [
        [true, false],
        [false, false],
        [false, true],
      ],
    );
    assert.ok(scanner.isBetweenMessages);
  });

  for (const tail of [0, 1, 2, 3, 4]) {
    it(`leaves a header cut after ${tail} bytes to be presented again`, () => {
      const [first, second] = [message("S"), message("Q", "x")];
      const scanner = new FrameScanner("client", 1000);
      const chunk = Buffer.concat([first, second.subarray(0, tail)]);
      scanner.begin(chunk, 0, chunk.length);
      assert.ok(scanner.next());
      assert.ok(!scanner.next());
      assert.equal(scanner.tail, tail);
      assert.ok(scanner.isBetweenMessages);
      scanner.begin(second, 0, second.length);
      assert.ok(scanner.next());
      assert.equal(scanner.end, second.length);
    });
  }

  it("takes exactly the whole header as a first piece", () => {
    const bytes = message("Q", "x");
    const scanner = new FrameScanner("client", 1000);
    scanner.begin(bytes, 0, 5);
    assert.ok(scanner.next());
    assert.deepEqual([scanner.isFirst, scanner.isLast, scanner.end, scanner.tail], [true, false, 5, 0]);
    assert.ok(!scanner.isBetweenMessages);
  });

  it("has nothing to say about an empty chunk", () => {
    const scanner = new FrameScanner("client", 1000);
    scanner.begin(Buffer.alloc(8), 3, 3);
    assert.deepEqual([scanner.next(), scanner.tail, scanner.violation], [false, 0, null]);
  });

  it("yields the same messages however the stream is cut", () => {
    const property = fc.property(clientStream, cuts, (messages, places) => {
      const stream = Buffer.concat(messages);
      const scanner = new FrameScanner("client", MESSAGE_BYTES_MAX);
      const pieces = scan(scanner, cutAt(stream, places));
      assert.deepEqual(Buffer.concat(pieces.map((piece) => piece.bytes)), stream);
      const lengths = pieces.filter((piece) => piece.isFirst).map((piece) => piece.length);
      assert.deepEqual(
        lengths,
        messages.map((bytes) => bytes.length),
      );
      assert.equal(pieces.filter((piece) => piece.isLast).length, messages.length);
      assert.ok(scanner.isBetweenMessages && scanner.tail === 0 && scanner.violation === null);
    });
    fc.assert(property, { numRuns: 300 });
  });

  it("yields the same when every byte comes alone", () => {
    const messages = [message("Q", "SELECT 1"), message("S"), message("d", Buffer.alloc(0)), message("X")];
    const stream = Buffer.concat(messages);
    const chunks = [...stream].map((byte) => Buffer.from([byte]));
    const pieces = scan(new FrameScanner("client", 1000), chunks);
    assert.deepEqual(Buffer.concat(pieces.map((piece) => piece.bytes)), stream);
    assert.equal(pieces.filter((piece) => piece.isLast).length, 4);
  });
});

describe("what the frame scanner refuses", () => {
  for (const [side, types] of [
    ["client", CLIENT_MESSAGE],
    ["server", SERVER_MESSAGE],
  ] as const) {
    it(`every type byte that a ${side} does not send, by that byte alone`, () => {
      const known = new Set<number>(Object.values(types));
      for (let type = 0; type < 256; type += 1) {
        const violation = refusalOf(side, Buffer.from([type]));
        assert.equal(violation, known.has(type) ? null : "type", `type byte ${type}`);
      }
    });
  }

  it("lengths shorter or longer than their type allows", () => {
    const cases: readonly [Side, string, number][] = [
      ["client", "Q", 3],
      ["client", "Q", 0],
      ["client", "Q", -1],
      ["client", "Q", 0x7fff_ffff],
      ["client", "S", 3],
      ["client", "p", 70_000],
      ["client", "E", 10_001],
      ["server", "Z", 4],
      ["server", "Z", 6],
      ["server", "1", 5],
      ["server", "D", 0x4000_0000],
    ];
    for (const [side, type, length] of cases) {
      assert.equal(refusalOf(side, header(type, length)), "length", `${side} ${type} ${length}`);
    }
  });

  it("nothing that is exactly as long as allowed", () => {
    assert.equal(refusalOf("client", header("Q", 99), 100), null);
    assert.equal(refusalOf("client", header("Q", 100), 100), "length");
    assert.equal(refusalOf("client", header("Q", 5), 100), null);
    assert.equal(refusalOf("server", header("D", MESSAGE_BYTES_MAX - 1)), null);
    assert.equal(refusalOf("server", header("D", MESSAGE_BYTES_MAX)), "length");
  });

  it("no client's message for a body too short to be read, which costs only the statement", () => {
    for (const type of Object.values(CLIENT_MESSAGE)) {
      assert.equal(
        refusalOf("client", header(String.fromCharCode(type), 4)),
        null,
        String.fromCharCode(type),
      );
    }
  });

  it("stays refused for ever, and what came before was right", () => {
    const scanner = new FrameScanner("client", 1000);
    const good = message("S");
    const chunk = Buffer.concat([good, Buffer.from("?"), good]);
    scanner.begin(chunk, 0, chunk.length);
    assert.ok(scanner.next());
    assert.ok(!scanner.next());
    assert.deepEqual([scanner.violation, scanner.type, scanner.end, scanner.tail], ["type", 0x3f, 5, 0]);
    scanner.begin(good, 0, good.length);
    assert.ok(!scanner.next());
  });

  it("is told apart from what only a limit of pgxa refuses", () => {
    assert.ok(isValidLength("client", 0x51, 500));
    assert.ok(!isValidLength("client", 0x51, 4));
    assert.ok(!isValidLength("client", 0x53, 20_000));
  });
});
