import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Fault } from "../../src/base/fault.ts";
import * as read from "../../src/wire/frontendReaders.ts";
import * as write from "../../src/wire/frontendWriters.ts";
import { i16, i32, message, packet, u8, within } from "./wireBytes.ts";

const isMalformed = (error: unknown): boolean =>
  error instanceof Fault && error.sqlstate === "08P01" && error.spec.blame === "client";
const isBadEncoding = (error: unknown): boolean => error instanceof Fault && error.sqlstate === "22021";

const text = fc.string({ unit: "binary", maxLength: 60 }).map((value) => value.replaceAll("\0", ""));

describe("messages to shards", () => {
  const cases: readonly [name: string, written: Buffer, expected: Buffer][] = [
    ["Query", write.query("SELECT 'ö'"), message("Q", "SELECT 'ö'")],
    [
      "Parse",
      write.parse({ name: "s1", text: "SELECT $1", parameterTypes: [23, 4_294_967_295] }),
      message("P", "s1", "SELECT $1", i16(2), i32(23), i32(-1)),
    ],
    ["Describe", write.describeStatement("s1"), message("D", u8(0x53), "s1")],
    ["Close", write.closeStatement("s1"), message("C", u8(0x53), "s1")],
    ["Sync", write.sync(), message("S")],
    ["Flush", write.flush(), message("H")],
    ["Terminate", write.terminate(), message("X")],
    ["PasswordMessage", write.password("geheim"), message("p", "geheim")],
    [
      "SASLInitialResponse",
      write.saslInitialResponse("SCRAM-SHA-256", "n,,n=,r=x"),
      message("p", "SCRAM-SHA-256", i32(9), Buffer.from("n,,n=,r=x")),
    ],
    ["SASLResponse", write.saslResponse("c=biws"), message("p", Buffer.from("c=biws"))],
    [
      "StartupMessage",
      write.startup(
        new Map([
          ["user", "ada"],
          ["database", "bank"],
        ]),
        2,
      ),
      packet(i32(0x0003_0002), "user", "ada", "database", "bank", u8(0)),
    ],
    [
      "CancelRequest",
      write.cancelRequest(4_000_000_000, Buffer.alloc(32, 5)),
      packet(i32(80877102), i32(4_000_000_000), Buffer.alloc(32, 5)),
    ],
  ];
  for (const [name, written, expected] of cases) {
    it(`${name} is written as the protocol has it`, () => assert.deepEqual(written, expected));
  }

  it("grow with what is in them", () => {
    const long = "x".repeat(100_000);
    assert.deepEqual(write.startup([["user", long]], 0), packet(i32(0x0003_0000), "user", long, u8(0)));
    assert.deepEqual(write.query(long), message("Q", long));
  });
});

describe("a client's message with another statement name", () => {
  const rest = Buffer.concat([i16(0), i16(1), i32(2), Buffer.from("42"), i16(0)]);
  const cases = [
    [
      "Parse",
      write.parseRenamed,
      (name: string) => message("P", name, "SELECT 'ö\u{1f600}'", i16(1), i32(23)),
    ],
    ["Bind", write.bindRenamed, (name: string) => message("B", "portal", name, rest)],
    ["Describe", write.describeRenamed, (name: string) => message("D", u8(0x53), name)],
    ["Close", write.closeRenamed, (name: string) => message("C", u8(0x53), name)],
  ] as const;

  for (const [kind, rename, make] of cases) {
    it(`${kind} is the same but for the name`, () => {
      const property = fc.property(text, text, (before, after) => {
        const renamed = within(make(before), (buffer, start, end) => rename(buffer, start, end, after));
        assert.deepEqual(renamed, make(after));
      });
      fc.assert(property);
    });
  }

  it("keeps a text that is in no encoding at all", () => {
    const make = (name: string) => message("P", name, Buffer.from([0xff, 0xfe, 0x80, 0]), i16(0));
    const renamed = within(make(""), (buffer, start, end) => write.parseRenamed(buffer, start, end, "s1"));
    assert.deepEqual(renamed, make("s1"));
  });

  it("is refused if it has no name", () => {
    const bytes = message("B", "portal", Buffer.from("statement"));
    assert.throws(() => within(bytes, (b, s, e) => write.bindRenamed(b, s, e, "s1")), isMalformed);
  });
});

describe("messages from clients", () => {
  it("Query: its text", () => {
    fc.assert(fc.property(text, (sql) => assert.equal(within(message("Q", sql), read.readQuery), sql)));
    assert.equal(within(message("Q", ""), read.readQuery), "");
  });

  it("Query: text that is not UTF-8 is refused, a replacement character of its own is not", () => {
    assert.throws(() => within(message("Q", Buffer.from([0x27, 0xff, 0])), read.readQuery), isBadEncoding);
    assert.throws(() => within(message("Q", Buffer.from([0xc3, 0])), read.readQuery), isBadEncoding);
    assert.equal(within(message("Q", "\u{fffd}"), read.readQuery), "\u{fffd}");
  });

  it("Query: byte for byte where the text is only looked at", () => {
    const bytes = message("Q", Buffer.from([0x41, 0xff, 0x80, 0]));
    const sql = within(bytes, (buffer, start, end) => read.readQuery(buffer, start, end, "latin1"));
    assert.equal(sql, "A\u00ff\u0080");
  });

  it("Parse: name, text and types", () => {
    const name = text.filter((value) => value.length < 20);
    const types = fc.array(fc.nat(0xffff_ffff), { maxLength: 20 });
    const property = fc.property(fc.record({ name, text, parameterTypes: types }), (parse) => {
      assert.deepEqual(within(write.parse(parse), read.readParse), { ...parse });
    });
    fc.assert(property);
  });

  it("the statement that Parse, Bind, Describe and Close name", () => {
    const cases = [
      [message("P", "st", "SELECT 1", i16(0)), "st"],
      [message("B", "po", "st", i16(0), i16(0), i16(0)), "st"],
      [message("D", u8(0x53), "st"), "st"],
      [message("C", u8(0x53), "st"), "st"],
      [message("C", u8(0x50), "po"), null],
      [message("D", u8(0x53), ""), ""],
    ] as const;
    for (const [bytes, name] of cases) assert.equal(within(bytes, read.readStatementName), name);
  });

  it("the portal that Bind, Execute, Describe and Close name", () => {
    const cases = [
      [message("B", "po", "st", i16(0), i16(0), i16(0)), "po"],
      [message("E", "po", i32(0)), "po"],
      [message("D", u8(0x50), "po"), "po"],
      [message("C", u8(0x50), "po"), "po"],
      [message("D", u8(0x53), "st"), null],
    ] as const;
    for (const [bytes, name] of cases) assert.equal(within(bytes, read.readPortalName), name);
  });

  it("PasswordMessage, SASLInitialResponse and SASLResponse", () => {
    const data = Buffer.from("n,,n=,r=x");
    assert.equal(within(message("p", "geheim"), read.readPassword), "geheim");
    assert.deepEqual(within(message("p", "M", i32(9), data), read.readSaslInitialResponse), {
      mechanism: "M",
      data,
    });
    assert.deepEqual(within(message("p", "M", i32(-1)), read.readSaslInitialResponse), {
      mechanism: "M",
      data: null,
    });
    assert.deepEqual(within(message("p", data), read.readSaslResponse), data);
  });
});

describe("a malformed message from a client is a protocol violation", () => {
  const cases: readonly [string, (buffer: Buffer, start: number, end: number) => unknown, Buffer][] = [
    ["Query without an end", read.readQuery, message("Q", Buffer.from("SELECT 1"))],
    ["Query with nothing", read.readQuery, message("Q")],
    ["Query with more behind its end", read.readQuery, message("Q", "SELECT 1", "SELECT 2")],
    ["Parse without a text", read.readParse, message("P", "name")],
    ["Parse with fewer types than it says", read.readParse, message("P", "", "", i16(0xffff), i32(1))],
    ["Parse with more behind its types", read.readParse, message("P", "", "", i16(0), u8(0))],
    ["Describe of something unknown", read.readStatementName, message("D", u8(0x58), "x")],
    ["Close of something unknown", read.readPortalName, message("C", u8(0), "x")],
    ["Describe of nothing", read.readPortalName, message("D")],
    ["Describe with more behind its end", read.readStatementName, message("D", u8(0x53), "x", u8(0))],
    ["Close with more behind its end", read.readPortalName, message("C", u8(0x50), "x", u8(0))],
    ["Execute without its number", read.readPortalName, message("E", "po")],
    ["Execute with more behind its number", read.readPortalName, message("E", "po", i32(0), u8(0))],
    ["Execute without an end of its portal", read.readPortalName, message("E", Buffer.from("po"))],
    [
      "SASLInitialResponse with a wrong length",
      read.readSaslInitialResponse,
      message("p", "M", i32(5), u8(0)),
    ],
    ["SASLInitialResponse with a negative length", read.readSaslInitialResponse, message("p", "M", i32(-2))],
    ["SASLInitialResponse with more behind", read.readSaslInitialResponse, message("p", "M", i32(-1), u8(0))],
  ];
  for (const [name, reader, bytes] of cases) {
    it(name, () => assert.throws(() => within(bytes, reader), isMalformed));
  }

  it("and whatever bytes come, nothing else is thrown", () => {
    const readers = [...new Set(cases.map(([, reader]) => reader))];
    const types = fc.constantFrom("Q", "P", "B", "D", "C", "E", "p");
    const property = fc.property(
      fc.constantFrom(...readers),
      types,
      fc.uint8Array({ maxLength: 60 }),
      (reader, type, bytes) => {
        try {
          within(message(type, bytes), reader);
        } catch (error) {
          assert.ok(isMalformed(error) || isBadEncoding(error), String(error));
        }
      },
    );
    fc.assert(property, { numRuns: 1000 });
  });
});
