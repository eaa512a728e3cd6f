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
  [{ kind: "open", epoch: 9, known: [[3, 9]], gaps: [[4, 7]], segment: 1, writer: 9 }, { kind: "begun" }],
  [{ kind: "reached", seq: 2 }, commit("f:c:9:1"), commit("f:c:9:2")],
  [{ kind: "reached", seq: 3 }, { kind: "concluded", gtrid: gtridOf("f:c:9:1") }, commit("f:c:9:3")],
];

/** A segment of `frames`. */
function segmentOf(frames: readonly (readonly Entry[])[]): Buffer {
  let bytes = MAGIC;
  for (const entries of frames) bytes = Buffer.concat([bytes, encodeFrame(entries, bytes.length)]);
  return bytes;
}

const SEGMENT = segmentOf(ENTRIES);
/** Where each frame ends. */
const ENDS = ENTRIES.map((_, i) => segmentOf(ENTRIES.slice(0, i + 1)).length);
const entriesOf = (bytes: Buffer): readonly Entry[] =>
  readSegment(bytes).frames.flatMap(({ entries }) => entries);
const badOf = (bytes: Buffer): readonly string[] => readSegment(bytes).bad.map(({ kind }) => kind);

test("the checksum is CRC-32C: the check value and the vectors of RFC 3720", () => {
  assert.equal(crc32c(Buffer.from("123456789")), 0xe306_9283);
  assert.equal(crc32c(Buffer.alloc(32)), 0x8a91_36aa);
  assert.equal(crc32c(Buffer.alloc(32, 0xff)), 0x62a8_ab43);
  assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd_794e);
  assert.equal(crc32c(Buffer.from("xx123456789x"), 2, 11), 0xe306_9283);
});

test("what is written is read back", () => {
  const { frames, bad, beginningFrames } = readSegment(SEGMENT);
  assert.deepEqual(
    frames.map(({ entries }) => entries),
    ENTRIES,
  );
  assert.deepEqual(
    frames.map(({ end }) => end),
    ENDS,
  );
  assert.deepEqual([bad, beginningFrames], [[], 1]);
});

test("a beginning may have several frames, and is none without its end", () => {
  const parts: readonly Entry[][] = [
    [ENTRIES[0]![0]!],
    [commit("f:c:8:1")],
    [{ kind: "begun" }],
    [commit("f:c:9:1")],
  ];
  assert.equal(readSegment(segmentOf(parts)).beginningFrames, 3);
  assert.equal(readSegment(segmentOf(parts.slice(0, 2))).beginningFrames, 0);
  assert.equal(readSegment(segmentOf(parts.slice(1))).beginningFrames, 0);
});

test("cut at any byte, a segment gives its whole frames and nothing of the torn one", () => {
  for (let end = 0; end <= SEGMENT.length; end += 1) {
    const bytes = SEGMENT.subarray(0, end);
    const whole = ENDS.filter((frameEnd) => frameEnd <= end).length;
    assert.deepEqual(entriesOf(bytes), ENTRIES.slice(0, whole).flat(), `cut at ${end}`);
    const isWhole = end === MAGIC.length || ENDS.includes(end);
    assert.deepEqual(badOf(bytes), isWhole ? [] : ["torn"], `cut at ${end}`);
  }
});

test("any flipped bit is damage that keeps the other frames, also in the last one: no crash leaves such bytes", () => {
  for (let bit = 0; bit < SEGMENT.length * 8; bit += 1) {
    const bytes = Buffer.from(SEGMENT);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    const isMagic = bit >> 3 < MAGIC.length;
    const hit = isMagic ? -1 : ENDS.findIndex((end) => bit >> 3 < end);
    assert.deepEqual(entriesOf(bytes), ENTRIES.filter((_, i) => i !== hit).flat(), `bit ${bit}`);
    assert.deepEqual(badOf(bytes), ["damaged"], `bit ${bit}`);
    assert.equal(readSegment(bytes).beginningFrames, hit === 0 ? 0 : 1, `bit ${bit}`);
  }
});

test("bytes taken out of the middle are damage, also where they are whole frames", () => {
  const [beginning, second] = ENDS;
  for (let from = MAGIC.length; from < ENDS[1]!; from += 1) {
    for (const to of [from + 1, beginning!, second!].filter((end) => end > from)) {
      const bytes = Buffer.concat([SEGMENT.subarray(0, from), SEGMENT.subarray(to)]);
      assert.ok(badOf(bytes).includes("damaged"), `${from} to ${to}`);
    }
  }
});

test("zeros behind the last frame, and sectors of it that are zeros, are a torn tail", () => {
  for (let length = 1; length < 2_000; length += 7) {
    assert.deepEqual(badOf(Buffer.concat([SEGMENT, Buffer.alloc(length)])), ["torn"]);
  }
  const long = segmentOf([...ENTRIES, Array.from({ length: 10 }, (_, i) => commit(`f:c:9:${i + 4}`))]);
  for (let at = Math.ceil(SEGMENT.length / 512) * 512; at < long.length; at += 512) {
    const bytes = Buffer.from(long);
    bytes.fill(0, at, Math.min(at + 512, bytes.length));
    assert.deepEqual(entriesOf(bytes), ENTRIES.flat());
    assert.deepEqual(badOf(bytes), ["torn"], `sector at ${at}`);
  }
});

test("a few bad bytes between frames are too few to have been a commit", () => {
  const seal: readonly Entry[] = [{ kind: "sealed" }];
  const bytes = segmentOf([...ENTRIES, seal, [commit("f:c:9:9")]]);
  bytes[SEGMENT.length + 20]! ^= 1;
  assert.deepEqual(badOf(bytes), ["harmless"]);
});

test("no bytes at all make the reader fail or invent a decision", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.boolean(), (bytes, hasMagic) => {
      assert.deepEqual(entriesOf(Buffer.concat([hasMagic ? MAGIC : Buffer.alloc(0), bytes])), []);
    }),
  );
});

test("a frame whose checksum is right but which says nothing known is no frame", () => {
  for (const value of [{}, [{ kind: "other" }], "text"]) {
    const frame = encodeFrame(value as unknown as readonly Entry[], SEGMENT.length);
    assert.deepEqual(entriesOf(Buffer.concat([SEGMENT, frame])), ENTRIES.flat());
  }
});
