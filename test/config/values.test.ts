/** Single values: durations, sizes, numbers, and what is a near name. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { OPTIONS, type OptionSpec, type OptionType, optionAt } from "../../src/config/options.ts";
import { nearest } from "../../src/config/problems.ts";
import { readValue, showDuration, showSize, type Value } from "../../src/config/values.ts";

const option = (type: OptionType): OptionSpec => ({
  path: "x",
  type,
  min: 0,
  max: Number.MAX_SAFE_INTEGER,
  choices: ["a", "b"],
  says: "",
});

const GOOD: readonly (readonly [OptionType, string, Value])[] = [
  ["duration", "250", 250],
  ["duration", "250ms", 250],
  ["duration", "5s", 5_000],
  ["duration", "1.5 s", 1_500],
  ["duration", "10min", 600_000],
  ["duration", "1h", 3_600_000],
  ["duration", "7d", 604_800_000],
  ["size", "10000", 10_000],
  ["size", "64kB", 65_536],
  ["size", "64KB", 65_536],
  ["size", "64MB", 67_108_864],
  ["size", "1GB", 1_073_741_824],
  ["integer", " 42 ", 42],
  ["boolean", "True", true],
  ["boolean", "off", false],
  ["choice", "b", "b"],
  ["name", "east-1", "east-1"],
  ["text", "any thing", "any thing"],
];

const BAD: readonly (readonly [OptionType, string])[] = [
  ["duration", "5 parsecs"],
  ["duration", "5m"],
  ["duration", "-5s"],
  ["duration", "s"],
  ["size", "64mb"],
  ["size", "lots"],
  ["integer", "1.5"],
  ["integer", "0x10"],
  ["integer", "1e3"],
  ["integer", ""],
  ["boolean", "1"],
  ["choice", "c"],
  ["name", "east:1"],
  ["name", "x".repeat(33)],
  ["text", ""],
];

describe("a value", () => {
  for (const [type, text, value] of GOOD) {
    it(`of ${type} may be "${text}"`, () =>
      assert.deepEqual(readValue(option(type), text), { ok: true, value }));
  }

  for (const [type, text] of BAD) {
    it(`of ${type} may not be "${text}"`, () => assert.equal(readValue(option(type), text).ok, false));
  }

  it("is read with both ends of its range, and no further", () => {
    const port = optionAt("shards[].port")!;
    const isRight = (text: string): boolean => readValue(port, text).ok;
    assert.deepEqual(["0", "1", "65535", "65536"].map(isRight), [false, true, true, false]);
  });

  it("is read back as it is shown", () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 40 }), (count) => {
        assert.deepEqual(readValue(option("duration"), showDuration(count)), { ok: true, value: count });
        assert.deepEqual(readValue(option("size"), showSize(count)), { ok: true, value: count });
      }),
    );
  });
});

describe("the option table", () => {
  it("has a range for every number and choices for every choice", () => {
    for (const { path, type, min, max, choices, unit } of OPTIONS) {
      const isNumber = ["integer", "duration", "size"].includes(type);
      assert.equal(min !== undefined && max !== undefined && min < max, isNumber, path);
      assert.equal(choices !== undefined, type === "choice", path);
      assert.equal(unit !== undefined, type === "duration" || type === "size", path);
    }
  });

  it("has only defaults that are allowed", () => {
    for (const spec of OPTIONS.filter((one) => one.default !== undefined)) {
      assert.deepEqual(readValue(spec, String(spec.default)), { ok: true, value: spec.default }, spec.path);
    }
  });

  it("names every option once, and says a sentence about it", () => {
    assert.equal(new Set(OPTIONS.map(({ path }) => path)).size, OPTIONS.length);
    for (const { path, says } of OPTIONS) assert.match(says, /^[A-Z].*\.$/, path);
  });

  it("keeps every password secret", () => {
    for (const { path, isSecret } of OPTIONS) assert.equal(isSecret === true, /password/.test(path), path);
  });
});

describe("a near name", () => {
  it("is one or two slips away", () => {
    assert.equal(nearest("chek", ["demo", "up", "check"]), "check");
    assert.equal(nearest("prot", ["host", "port"]), "port");
    assert.equal(
      nearest("conection_timeot", ["connect_timeout", "connection_timeout"]),
      "connection_timeout",
    );
  });

  it("is not just any name", () => {
    assert.equal(nearest("frobnicate", ["demo", "up", "check"]), null);
    assert.equal(nearest("x", []), null);
  });
});
