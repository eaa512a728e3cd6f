/** Which texts and bytes are keys, and which are refused for being uncertain. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Fault } from "../../src/base/fault.ts";
import type { KeyType } from "../../src/config/config.ts";
import { checkParameterType, hashOfBinary, hashOfText, smallInteger } from "../../src/routing/keyValue.ts";
import { hashInt64, shardOfHash, shardOfInt32 } from "../../src/routing/partitionHash.ts";

/** Texts of one value each; no two rows of a type have the same. */
const EQUAL: Readonly<Record<KeyType, readonly (readonly string[])[]>> = {
  int2: [["1", "+1", " 1 ", "001"], ["-1"], ["32767"], ["-32768"]],
  int4: [["0", "-0", "+0"], ["2147483647"], ["-2147483648"]],
  int8: [["7", "0007"], ["9223372036854775807"], ["-9223372036854775808"]],
  text: [[""], [" "], ["a"], ["A"], ["ä"], ["x".repeat(1_000)]],
  varchar: [[""], ["a"], ["a "]],
  uuid: [
    [
      "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
      "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
      "a0eebc999c0b4ef8bb6d6bb9bd380a11",
      "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
      "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
    ],
    ["00000000-0000-0000-0000-000000000000"],
  ],
  numeric: [
    ["0", "0.000", "-0", "0e5"],
    ["1", "1.0", "01", "+1.000", "10e-1", "0.1e1", "1."],
    [".5", "0.5", "0.50", "5e-1"],
    ["12345.678", "12345.6780", "1.2345678e4"],
    ["10000", "1e4"],
    ["100000000", "1e8"],
    ["0.0001", "1e-4"],
    ["0.00001", "1e-5"],
    ["NaN", "nan", "Infinity", "-inf"],
  ],
  date: [["2024-02-29", " 2024-02-29 "], ["2000-01-01"], ["1999-12-31"], ["0001-01-01"], ["12024-01-01"]],
  timestamptz: [
    [
      "2024-02-29 12:30:00+00",
      "2024-02-29T12:30:00Z",
      "2024-02-29 12:30Z",
      "2024-02-29 14:30:00.000000+02:00",
      "2024-02-29 14:30:00+0200",
      "2024-02-28 23:30:00-13",
    ],
    ["1999-12-31 23:59:59.999999+00"],
    ["2000-01-01 00:00:00.5+00", "2000-01-01 00:00:00.500+00"],
  ],
};

const REFUSED: Readonly<Record<KeyType, readonly string[]>> = {
  int2: ["32768", "-32769", "", "x"],
  int4: ["2147483648", "1.0", "1e3", "0x10", "1_000", "- 1"],
  int8: ["9223372036854775808", "1".repeat(40), "one"],
  text: [],
  varchar: [],
  uuid: ["", "a0eebc99", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
  numeric: ["", ".", "e5", "1e", "0x1", "1_0", "1e9999999", "1,5", "--1"],
  date: [
    "yesterday",
    "01/02/2024",
    "2024-2-9",
    "20240229",
    "2023-02-29",
    "2024-13-01",
    "2024-04-31",
    "2024-00-10",
    "0000-01-01",
    "infinity",
    "2024-01-01 BC",
    "2024-01-01 00:00",
  ],
  timestamptz: [
    "now",
    "2024-02-29",
    "2024-02-29 12:30:00",
    "2024-02-29 12:30:00 UTC",
    "2024-02-29 24:00:00+00",
    "2024-02-29 12:60:00+00",
    "2024-02-29 12:30:60+00",
    "2024-02-29 12:30:00+16",
    "2024-02-29 12:30:00.1234567+00",
    "2023-02-29 12:30:00+00",
    "infinity",
  ],
};

const hashText = (type: KeyType, text: string): string => JSON.stringify(hashOfText(type, text));
const isBadKey = (error: unknown): boolean =>
  error instanceof Fault && error.id === "route.bad_key" && error.hint !== undefined;

describe("a key as text", () => {
  for (const type of Object.keys(EQUAL) as KeyType[]) {
    it(`of type ${type} hashes by its value`, () => {
      const hashes = EQUAL[type].map((texts) => {
        const [first, ...rest] = texts.map((text) => hashText(type, text));
        for (const [i, other] of rest.entries()) assert.equal(other, first, texts[i + 1]!);
        return first;
      });
      assert.equal(new Set(hashes).size, hashes.length);
    });

    it(`of type ${type} is refused unless it is certain`, () => {
      for (const text of REFUSED[type]) assert.throws(() => hashOfText(type, text), isBadKey, `"${text}"`);
    });
  }
});

describe("a key in binary", () => {
  it("of an integer type may have any integer width", () => {
    const bytes = Buffer.alloc(8);
    fc.assert(
      fc.property(fc.integer({ min: -32_768, max: 32_767 }), (value) => {
        const expected = hashText("int2", String(value));
        bytes.writeBigInt64BE(BigInt(value));
        assert.equal(JSON.stringify(hashOfBinary("int8", bytes)), expected);
        assert.equal(JSON.stringify(hashOfBinary("int4", bytes.subarray(4))), expected);
        assert.equal(JSON.stringify(hashOfBinary("int2", bytes.subarray(6))), expected);
      }),
    );
  });

  it("of the wrong length is refused", () => {
    const lengths: readonly (readonly [KeyType, readonly number[]])[] = [
      ["int8", [0, 1, 3, 9]],
      ["uuid", [0, 15, 17]],
      ["date", [0, 8]],
      ["timestamptz", [4, 0]],
      ["numeric", [0, 7, 9]],
    ];
    for (const [type, sizes] of lengths) {
      for (const size of sizes) assert.throws(() => hashOfBinary(type, Buffer.alloc(size)), isBadKey);
    }
    assert.throws(() => hashOfBinary("int2", Buffer.from([0, 0, 0x80, 0])), isBadKey);
  });

  it("must be declared as a type that compares by value", () => {
    checkParameterType("int4", 20);
    checkParameterType("varchar", 25);
    checkParameterType("uuid", 0);
    for (const [type, oid] of [
      ["int8", 1700],
      ["text", 1042],
      ["date", 1114],
      ["timestamptz", 1114],
    ] as const) {
      assert.throws(() => checkParameterType(type, oid), isBadKey);
    }
  });
});

describe("the shard of a hash", () => {
  it("is the remainder of the 64-bit sum, for any number of shards", () => {
    const word = fc.integer({ min: 0, max: 0xffff_ffff });
    fc.assert(
      fc.property(word, word, fc.integer({ min: 1, max: 10_000 }), (high, low, shards) => {
        const hash = (BigInt(high) << 32n) | BigInt(low);
        const combined = BigInt.asUintN(64, hash + 0x49a0_f4dd_15e5_a8e3n);
        assert.equal(shardOfHash({ high, low }, shards), Number(combined % BigInt(shards)));
      }),
    );
  });
});

describe("a small integer key", () => {
  const shardOf = (bytes: Buffer, format: 0 | 1): number =>
    shardOfInt32(smallInteger("int8", format, bytes), 7);

  it("is read as it is elsewhere, in text and in binary", () => {
    fc.assert(
      fc.property(fc.integer({ min: -999_999_999, max: 999_999_999 }), (value) => {
        const binary = Buffer.alloc(4);
        binary.writeInt32BE(value);
        const expected = shardOfHash(hashOfText("int8", String(value)), 7);
        assert.equal(shardOf(Buffer.from(String(value)), 0), expected);
        assert.equal(shardOf(binary, 1), expected);
        assert.equal(shardOfHash(hashOfBinary("int8", binary), 7), expected);
      }),
    );
    assert.equal(shardOf(Buffer.from("-007"), 0), shardOfHash(hashOfText("int8", "-7"), 7));
    assert.equal(shardOf(Buffer.from("-0"), 0), shardOfHash(hashOfText("int8", "0"), 7));
  });

  it("is left to those who know more where it is longer, or anything else", () => {
    for (const text of ["", "-", "+1", " 1", "1 ", "1.0", "1e3", "0x1", "--1", "1-", "1234567890", "١"])
      assert.ok(Number.isNaN(smallInteger("int8", 0, Buffer.from(text))), text);
    for (const bytes of [0, 1, 2, 3, 5, 8])
      assert.ok(Number.isNaN(smallInteger("int4", 1, Buffer.alloc(bytes))), `${bytes} bytes`);
    for (const type of ["int2", "text", "varchar", "numeric", "date"] as const)
      assert.ok(Number.isNaN(smallInteger(type, 0, Buffer.from("1"))), type);
  });
});

describe("the shard of an integer of 32 bits", () => {
  it("is that of the same key by its hash", () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 64 }), (value, shards) => {
        assert.equal(shardOfInt32(value, shards), shardOfHash(hashInt64(BigInt(value)), shards));
      }),
    );
  });
});
