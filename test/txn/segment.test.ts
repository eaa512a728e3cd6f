import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { gidOf, gtridOf, shardId, xidOf } from "../../src/base/brands.ts";
import { crc32c } from "../../src/txn/fileLog/crc32c.ts";
import { type Entry, encodeFrame, MAGIC, readSegment } from "../../src/txn/fileLog/segment.ts";

const commit = (name: string): Entry => ({
  kind: "commit",
  gtrid: gtridOf(name),
  participants: [
    { shard: shardId("east"), gid: gidOf(`pgxa:${name}::east`), xid: xidOf("4711"), server: "7/00000001" },
    { shard: shardId("west"), gid: gidOf(`pgxa:${name}::west`), xid: null, server: null },
  ],
});
const ENTRIES: readonly (readonly Entry[])[] = [
  [
    { kind: "open", epoch: 9, firstEpoch: 3 },
    { kind: "damage", upToEpoch: 4 },
  ],
  [commit("f:c:9:1"), commit("f:c:9:2")],
  [{ kind: "concluded", gtrid: gtridOf("f:c:9:1") }, commit("f:c:9:3")],
];
const FRAMES = ENTRIES.map(encodeFrame);
const SEGMENT = Buffer.concat([MAGIC, ...FRAMES]);
/** Where each frame ends. */
const ENDS = FRAMES.map(
  (_, i) => MAGIC.length + FRAMES.slice(0, i + 1).reduce((sum, frame) => sum + frame.length, 0),
);

test("the checksum is CRC-32C: the check value and the vectors of RFC 3720", () => {
  assert.equal(crc32c(Buffer.from("123456789")), 0xe306_9283);
  assert.equal(crc32c(Buffer.alloc(32)), 0x8a91_36aa);
  assert.equal(crc32c(Buffer.alloc(32, 0xff)), 0x62a8_ab43);
  assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd_794e);
  assert.equal(crc32c(Buffer.from("xx123456789x"), 2, 11), 0xe306_9283);
});

test("what is written is read back", () => {
  const contents = readSegment(SEGMENT);
  assert.deepEqual(contents.entries, ENTRIES.flat());
  assert.deepEqual(
    [contents.kind, contents.goodBytes, contents.hasBeginning],
    ["whole", SEGMENT.length, true],
  );
});

test("cut at any byte, a segment gives its whole frames and nothing of the torn one", () => {
  for (let end = 0; end <= SEGMENT.length; end += 1) {
    const contents = readSegment(SEGMENT.subarray(0, end));
    const whole = ENDS.filter((frameEnd) => frameEnd <= end).length;
    assert.deepEqual(contents.entries, ENTRIES.slice(0, whole).flat(), `cut at ${end}`);
    const isWhole = end === MAGIC.length || ENDS.includes(end);
    assert.equal(contents.kind, isWhole ? "whole" : "torn", `cut at ${end}`);
    assert.equal(contents.hasBeginning, whole > 0);
  }
});

test("any flipped bit is seen: in the last frame as a torn tail, before it as damage that keeps the frames behind", () => {
  for (let bit = 0; bit < SEGMENT.length * 8; bit += 1) {
    const bytes = Buffer.from(SEGMENT);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    const hit = ENDS.findIndex((end) => bit >> 3 < end);
    const contents = readSegment(bytes);
    const isMagic = bit >> 3 < MAGIC.length;
    const expected = isMagic ? ENTRIES : ENTRIES.filter((_, i) => i !== hit);
    assert.deepEqual(contents.entries, expected.flat(), `bit ${bit}`);
    assert.equal(contents.kind, !isMagic && hit === FRAMES.length - 1 ? "torn" : "damaged", `bit ${bit}`);
    assert.equal(contents.hasBeginning, hit > 0, `bit ${bit}`);
  }
});

test("zeros and garbage behind the last frame are a torn tail", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (tail) => {
      for (const rest of [tail, new Uint8Array(tail.length)]) {
        const contents = readSegment(Buffer.concat([SEGMENT, rest]));
        assert.deepEqual(contents.entries, ENTRIES.flat());
        assert.equal(contents.kind, rest.length === 0 ? "whole" : "torn");
        assert.equal(contents.goodBytes, SEGMENT.length);
      }
    }),
  );
});

test("no bytes at all make the reader fail or invent a decision", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.boolean(), (bytes, hasMagic) => {
      const contents = readSegment(Buffer.concat([hasMagic ? MAGIC : Buffer.alloc(0), bytes]));
      assert.deepEqual(contents.entries, []);
    }),
  );
});

test("a frame whose checksum is right but which says nothing known is no frame", () => {
  for (const value of [{}, [{ kind: "other" }], "text"]) {
    const payload = Buffer.from(JSON.stringify(value));
    const frame = Buffer.alloc(8 + payload.length);
    frame.writeUInt32BE(payload.length, 0);
    frame.writeUInt32BE(crc32c(payload), 4);
    payload.copy(frame, 8);
    assert.equal(readSegment(Buffer.concat([SEGMENT, frame])).kind, "torn");
  }
});
