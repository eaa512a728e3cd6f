import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { serialize } from "pg-protocol/dist/serializer.js";
import { Fault } from "../../src/base/fault.ts";
import { BindReader } from "../../src/wire/bindReader.ts";
import { i16, i32, message, within } from "./wireBytes.ts";

const value = (text: string): Buffer => Buffer.concat([i32(Buffer.byteLength(text)), Buffer.from(text)]);
const accepts = (reader: BindReader, bytes: Buffer): boolean =>
  within(bytes, (b, s, e) => reader.reset(b, s, e));

const parameters = (reader: BindReader): (string | null)[] =>
  Array.from({ length: reader.parameterCount }, (_, i) =>
    reader.isNull(i) ? null : reader.parameter(i).toString(),
  );
const formats = (reader: BindReader): number[] =>
  Array.from({ length: reader.parameterCount }, (_, i) => reader.format(i));

describe("the bind reader", () => {
  it("shows names, parameters and formats", () => {
    const reader = new BindReader();
    const formatCodes = [i16(3), i16(0), i16(1), i16(0)];
    const values = [i16(3), value("42"), value(""), i32(-1)];
    assert.ok(accepts(reader, message("B", "po", "st", ...formatCodes, ...values, i16(1), i16(1))));
    assert.deepEqual([reader.portal, reader.statement, reader.parameterCount], ["po", "st", 3]);
    assert.deepEqual(parameters(reader), ["42", "", null]);
    assert.deepEqual(formats(reader), [0, 1, 0]);
    assert.equal(reader.parameter(2).length, 0);
  });

  it("takes no format for text, and one for all", () => {
    const reader = new BindReader();
    const values = [i16(2), value("a"), value("b"), i16(0)];
    assert.ok(accepts(reader, message("B", "", "", i16(0), ...values)));
    assert.deepEqual(formats(reader), [0, 0]);
    assert.ok(accepts(reader, message("B", "", "", i16(1), i16(1), ...values)));
    assert.deepEqual(formats(reader), [1, 1]);
  });

  it("points into the message and copies nothing", () => {
    const reader = new BindReader();
    const bytes = message("B", "", "", i16(0), i16(1), value("abc"), i16(0));
    reader.reset(bytes, 0, bytes.length);
    assert.equal(reader.parameter(0).buffer, bytes.buffer);
  });

  it("reads what the pg driver writes", () => {
    const values = fc.array(fc.option(fc.string({ unit: "grapheme", maxLength: 10 })), { maxLength: 600 });
    const reader = new BindReader();
    const property = fc.property(values, (sent) => {
      assert.ok(accepts(reader, serialize.bind({ statement: "s", values: sent })));
      assert.deepEqual(parameters(reader), sent);
    });
    fc.assert(property);
  });

  it("takes as many parameters as the protocol has, and then few again", () => {
    const reader = new BindReader();
    const many = Array.from({ length: 65_535 }, () => i32(-1));
    assert.ok(accepts(reader, message("B", "", "", i16(0), i16(65_535), ...many, i16(0))));
    assert.equal(reader.parameterCount, 65_535);
    assert.ok(reader.isNull(65_534));
    assert.ok(accepts(reader, message("B", "", "", i16(0), i16(1), value("x"), i16(0))));
    assert.deepEqual(parameters(reader), ["x"]);
  });

  it("refuses a name that is not UTF-8", () => {
    const bytes = message("B", Buffer.from([0xff, 0]), "", i16(0), i16(0), i16(0));
    const isBadEncoding = (error: unknown) =>
      error instanceof Fault && error.id === "session.invalid_encoding";
    assert.throws(() => accepts(new BindReader(), bytes), isBadEncoding);
  });

  it("leaves an unknown format to the server until it is asked for it", () => {
    const reader = new BindReader();
    assert.ok(accepts(reader, message("B", "", "", i16(1), i16(9), i16(1), value("x"), i16(1), i16(7))));
    assert.deepEqual(parameters(reader), ["x"]);
    const isUnknown = (error: unknown) =>
      error instanceof Fault && error.id === "session.invalid_value" && /code: 9$/.test(error.message);
    assert.throws(() => reader.format(0), isUnknown);
  });

  it("says what is wrong as Postgres does", () => {
    const bytes = message("B", "", "", i16(2), i16(0), i16(0), i16(1), i32(-1), i16(0));
    const isMalformed = (error: unknown) =>
      error instanceof Fault &&
      error.id === "protocol.malformed" &&
      error.message === "bind message has 2 parameter formats but 1 parameters";
    assert.throws(() => within(bytes, (b, s, e) => new BindReader().read(b, s, e)), isMalformed);
  });

  it("is asked only for parameters there are", () => {
    const reader = new BindReader();
    accepts(reader, message("B", "", "", i16(0), i16(1), value("x"), i16(0)));
    for (const index of [-1, 1, 2]) {
      assert.throws(() => reader.parameter(index), /below the parameter count/);
      assert.throws(() => reader.format(index), /below the parameter count/);
      assert.throws(() => reader.isNull(index), /below the parameter count/);
    }
  });
});

describe("a malformed Bind", () => {
  const cases: readonly [string, Buffer][] = [
    ["without a statement", message("B", "po")],
    ["with a name without an end", message("B", "po", Buffer.from("st"))],
    ["without formats", message("B", "", "")],
    ["with fewer formats than it says", message("B", "", "", i16(9), i16(0))],
    [
      "with two formats for three parameters",
      message("B", "", "", i16(2), i16(0), i16(0), i16(3), i32(-1), i32(-1), i32(-1), i16(0)),
    ],
    ["with fewer parameters than it says", message("B", "", "", i16(0), i16(65_535), i32(-1), i16(0))],
    [
      "with a parameter longer than the message",
      message("B", "", "", i16(0), i16(1), i32(0x7fff_ffff), i16(0)),
    ],
    ["with a parameter that takes what is behind it", message("B", "", "", i16(0), i16(1), i32(3), i16(0))],
    ["with a negative length", message("B", "", "", i16(0), i16(1), i32(-2), i16(0))],
    ["without result formats", message("B", "", "", i16(0), i16(0))],
    ["with fewer result formats than it says", message("B", "", "", i16(0), i16(0), i16(2), i16(0))],
    ["with more behind its end", message("B", "", "", i16(0), i16(0), i16(0), i16(0))],
  ];
  for (const [name, bytes] of cases) {
    it(name, () => {
      const reader = new BindReader();
      assert.equal(accepts(reader, bytes), false);
      assert.equal(reader.parameterCount, 0);
    });
  }

  it("of any bytes is told from a right one, and never read beyond its end", () => {
    const reader = new BindReader();
    const property = fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      try {
        if (!accepts(reader, message("B", "", "", bytes))) return;
      } catch (error) {
        assert.ok(error instanceof Fault, String(error));
        return;
      }
      for (let i = 0; i < reader.parameterCount; i += 1)
        assert.ok(reader.parameter(i).length <= bytes.length);
    });
    fc.assert(property, { numRuns: 1000 });
  });

  it("is refused wherever a right one is cut short", () => {
    const right = message("B", "po", "st", i16(1), i16(1), i16(2), value("42"), i32(-1), i16(1), i16(0));
    const reader = new BindReader();
    assert.ok(accepts(reader, right));
    for (let end = 5; end < right.length; end += 1) assert.ok(!reader.reset(right, 0, end), `${end} bytes`);
  });
});
