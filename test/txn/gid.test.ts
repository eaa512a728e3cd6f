import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { shardId } from "../../src/base/brands.ts";
import { InvariantError } from "../../src/base/invariant.ts";
import {
  GID_BYTES_MAX,
  GtridSequence,
  gid,
  gidPrefix,
  gtrid,
  parseGid,
  parseGtrid,
} from "../../src/txn/gid.ts";

const name = fc.stringMatching(/^[A-Za-z0-9_-]{1,32}$/);
const count = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });

test("a gid says whose it is: what was built is read back, in at most 199 bytes", () => {
  fc.assert(
    fc.property(
      name,
      name,
      count,
      count,
      fc.option(name),
      name,
      (fleet, coordinator, epoch, seq, anchor, shard) => {
        const transaction = gtrid({ fleet, coordinator, epoch, seq });
        const text = gid(transaction, shardId(shard), anchor === null ? null : shardId(anchor));
        assert.ok(Buffer.byteLength(text) <= GID_BYTES_MAX);
        assert.ok(text.startsWith(gidPrefix(fleet)));
        assert.deepEqual(parseGid(text), { fleet, coordinator, epoch, seq, anchor, shard });
        assert.deepEqual(parseGtrid(transaction), { fleet, coordinator, epoch, seq });
      },
    ),
  );
});

test("the gids of a transaction share its gtrid and nothing else does", () => {
  const transaction = gtrid({ fleet: "f", coordinator: "c", epoch: 7, seq: 36 });
  assert.equal(transaction, "f:c:7:10");
  assert.equal(gid(transaction, shardId("east")), "pgxa:f:c:7:10::east");
  assert.equal(gid(transaction, shardId("east"), shardId("west")), "pgxa:f:c:7:10:west:east");
});

test("the gtrids of a sequence count on from 1, also when the epoch changes", () => {
  const [fleet, coordinator] = ["f", "c"];
  const sequence = new GtridSequence(fleet, coordinator);
  const epochOf = (seq: number): number => (seq < 50 || seq % 7 > 3 ? 1_000 : 1_001 + (seq % 5));
  for (let seq = 1; seq <= 3_000; seq += 1) {
    const epoch = epochOf(seq);
    assert.equal(sequence.next(epoch), gtrid({ fleet, coordinator, epoch, seq }));
  }
});

test("the prefix of a fleet is not the prefix of one with a longer name", () => {
  const other = gid(gtrid({ fleet: "bank2", coordinator: "c", epoch: 1, seq: 1 }), shardId("a"));
  assert.equal(other.startsWith(gidPrefix("bank")), false);
});

test("names that could break out of a literal or a gid are refused", () => {
  for (const bad of ["", "a:b", "a'b", "a b", "ä", "a\\b"]) {
    assert.throws(() => gtrid({ fleet: bad, coordinator: "c", epoch: 1, seq: 1 }), InvariantError);
    assert.throws(() => gtrid({ fleet: "f", coordinator: bad, epoch: 1, seq: 1 }), InvariantError);
    assert.throws(
      () => gid(gtrid({ fleet: "f", coordinator: "c", epoch: 1, seq: 1 }), shardId(bad)),
      InvariantError,
    );
  }
  const long = "x".repeat(GID_BYTES_MAX);
  assert.throws(
    () => gid(gtrid({ fleet: long, coordinator: "c", epoch: 1, seq: 1 }), shardId("a")),
    InvariantError,
  );
});

const NONE_OF_PGXA = [
  "",
  "pgxa",
  "pgxa:f:c:1:1::",
  "pgxa:f:c:1:1:a",
  "other:f:c:1:1::a",
  "pgxa::c:1:1::a",
  "pgxa:f::1:1::a",
  "pgxa:f:c:01:1::a",
  "pgxa:f:c:1:-1::a",
  "pgxa:f:c:1:0x1::a",
  "pgxa:f:c:1:1.5::a",
  "pgxa:f:c:Z:1::a",
  "pgxa:f:c:1:1::a:b",
  "pgxa:f:odd name:1:1::a",
  "pgxa:f:c':1:1::a",
  "pgxa:f:c:1:1::a b",
  "pgxa:f:c:0:1::a",
  "pgxa:f:c:1:1:odd anchor:a",
];

test("what pgxa cannot have named is not read as a gid", () => {
  for (const text of NONE_OF_PGXA) assert.equal(parseGid(text), null, text);
});

test("whatever is read as a gid is written back the same", () => {
  const part = fc.oneof(name, fc.string({ maxLength: 4 }));
  fc.assert(
    fc.property(fc.array(part, { minLength: 6, maxLength: 6 }), (parts) => {
      const read = parseGid(["pgxa", ...parts].join(":"));
      if (read !== null) assert.equal(gtrid(read).split(":").length, 4);
    }),
  );
});
