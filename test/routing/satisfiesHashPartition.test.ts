/** The hash against Postgres itself: `satisfies_hash_partition()` says where each value belongs. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import type pg from "pg";
import type { KeyType } from "../../src/config/config.ts";
import { hashOfBinary, hashOfText } from "../../src/routing/keyValue.ts";
import { shardOfHash } from "../../src/routing/partitionHash.ts";
import { startShards, type TestShards } from "../support/shards.ts";

const VALUES = 3_000;
const MODULI = [2, 3, 7, 64, 1_000];

let shards: TestShards;
let client: pg.Client;

before(async () => {
  shards = await startShards(1);
  client = await shards.shards[0]!.connect();
  await client.query("SET TimeZone = 'Asia/Kathmandu'");
});

after(async () => {
  await client?.end();
  await shards?.stop();
});

const number = (low: number, high: number) => fc.integer({ min: low, max: high });
const digits = (count: number) => fc.string({ unit: fc.constantFrom(..."0123456789"), maxLength: count });
const twoOf = (value: number): string => String(value).padStart(2, "0");

const calendarDay = fc
  .tuple(number(1, 9_999), number(1, 12), number(1, 28))
  .map(([year, month, day]) => `${String(year).padStart(4, "0")}-${twoOf(month)}-${twoOf(day)}`);

const instant = fc
  .tuple(calendarDay, number(0, 23), number(0, 59), number(0, 59), number(0, 999_999), number(-12, 14))
  .map(([day, hour, minute, second, micro, offset]) => {
    const sign = offset < 0 ? "-" : "+";
    const clock = [hour, minute, second].map(twoOf).join(":");
    return `${day} ${clock}.${String(micro).padStart(6, "0")}${sign}${twoOf(Math.abs(offset))}:30`;
  });

const decimal = fc
  .tuple(fc.constantFrom("", "-", "+"), digits(40), digits(40), fc.option(number(-60, 60)))
  .map(([sign, whole, fraction, exponent]) => {
    const power = exponent === null ? "" : `e${exponent}`;
    return `${sign}${whole}0.${fraction}${power}`;
  });

const text = fc
  .oneof(fc.string({ unit: "binary", maxLength: 60 }), fc.string({ unit: "grapheme", maxLength: 30 }))
  .map((value) => value.replaceAll("\0", ""));

const RANDOM: Readonly<Record<KeyType, fc.Arbitrary<string>>> = {
  int2: number(-32_768, 32_767).map(String),
  int4: number(-2_147_483_648, 2_147_483_647).map(String),
  int8: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String),
  text,
  varchar: text,
  uuid: fc.uuid(),
  numeric: decimal,
  date: calendarDay,
  timestamptz: instant,
};

const ascii = (length: number): string =>
  "abcdefghijklmnopqrstuvwxyz".repeat(1 + length / 26).slice(0, length);
const LENGTHS = [...Array.from({ length: 40 }, (_, i) => i), 1_000, 100_000];

const EDGES: Readonly<Record<KeyType, readonly string[]>> = {
  int2: ["0", "-1", "1", "32767", "-32768"],
  int4: ["0", "-1", "1", "2147483647", "-2147483648"],
  int8: [
    "0",
    "-1",
    "1",
    "4294967295",
    "4294967296",
    "-4294967296",
    "-4294967297",
    "9223372036854775807",
    "-9223372036854775808",
  ],
  text: [...LENGTHS.map(ascii), "ä", "Ω≈ç√", "👩‍👩‍👧", "\n\t", "'", "\\", "𝒳".repeat(13)],
  varchar: ["", " ", "a ", "ß"],
  uuid: ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
  numeric: [
    ..."0 -0 0.0 1 1.0 1.0000 -1 10 100 1000 10000 100000 10000.0 9999 9999.9999 0.1 0.01 0.001 0.0001 0.00001".split(
      " ",
    ),
    ..."1e4 1e-4 1e8 12300000000 12300000001.00100 -0.00050 NaN Infinity -Infinity 1e1000 1e-1000 .5 5.".split(
      " ",
    ),
    `0.${"0".repeat(500)}1`,
    `1${"0".repeat(500)}`,
    "123456789".repeat(50),
  ],
  date: [
    "2000-01-01",
    "1999-12-31",
    "2000-02-29",
    "1900-02-28",
    "1900-03-01",
    "0001-01-01",
    "9999-12-31",
    "12024-05-06",
  ],
  timestamptz: [
    "2000-01-01 00:00:00+00",
    "1999-12-31 23:59:59.999999+00",
    "0001-01-01 00:00:00+00",
    "2024-02-29T12:30Z",
    "1970-01-01 00:00:00-11:45",
    "99999-12-31 23:59:59+00",
  ],
};

/** What Postgres says: the remainder of each value, by asking for the one partition that takes it. */
async function remainders(type: KeyType, values: readonly string[], modulus: number): Promise<number[]> {
  await client.query(`CREATE TABLE IF NOT EXISTS of_${type} (key ${type}) PARTITION BY HASH (key)`);
  const { rows } = await client.query<{ remainder: number }>(
    `SELECT r AS remainder FROM unnest($1::text[]) WITH ORDINALITY AS v (value, place)
     JOIN LATERAL (SELECT r FROM generate_series(0, $2::int - 1) r
       WHERE satisfies_hash_partition('of_${type}'::regclass, $2::int, r, v.value::${type})) p ON true
     ORDER BY place`,
    [values, modulus],
  );
  return rows.map((row) => row.remainder);
}

/** The values in the form in which Postgres sends them in binary. */
async function binaries(type: KeyType, values: readonly string[]): Promise<Buffer[]> {
  const send = {
    int2: "int2send",
    int4: "int4send",
    int8: "int8send",
    text: "textsend",
    varchar: "varcharsend",
    uuid: "uuid_send",
    numeric: "numeric_send",
    date: "date_send",
    timestamptz: "timestamptz_send",
  }[type];
  const { rows } = await client.query<{ bytes: Buffer }>(
    `SELECT ${send}(value::${type}) AS bytes FROM unnest($1::text[]) WITH ORDINALITY AS v (value, place) ORDER BY place`,
    [values],
  );
  return rows.map((row) => row.bytes);
}

describe("the partition hash agrees with Postgres", () => {
  for (const type of Object.keys(RANDOM) as KeyType[]) {
    it(`for ${type}, in text and in binary`, async () => {
      const random = fc.sample(RANDOM[type], { numRuns: VALUES, seed: 20_240_229 });
      const values = [...EDGES[type], ...random];
      const bytes = await binaries(type, values);
      for (const modulus of MODULI.slice(0, type === "int8" ? 5 : 3)) {
        const some = modulus > 10 ? values.slice(0, 200) : values;
        const expected = await remainders(type, some, modulus);
        assert.equal(expected.length, some.length);
        for (const [i, value] of some.entries()) {
          const shown = `${value.slice(0, 80)} of ${modulus}`;
          assert.equal(shardOfHash(hashOfText(type, value), modulus), expected[i], `${shown} as text`);
          assert.equal(
            shardOfHash(hashOfBinary(type, bytes[i]!), modulus),
            expected[i],
            `${shown} in binary`,
          );
        }
      }
    });
  }

  it("for infinite dates, which only binary can give", async () => {
    for (const type of ["date", "timestamptz"] as const) {
      const values = ["infinity", "-infinity"];
      const [expected, bytes] = [await remainders(type, values, 7), await binaries(type, values)];
      for (const i of [0, 1]) {
        assert.equal(shardOfHash(hashOfBinary(type, bytes[i]!), 7), expected[i]);
        assert.throws(() => hashOfText(type, values[i]!), /invalid value/);
      }
    }
  });
});
