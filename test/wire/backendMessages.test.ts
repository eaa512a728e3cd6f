import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Parser } from "pg-protocol/dist/parser.js";
import { Fault } from "../../src/base/fault.ts";
import * as read from "../../src/wire/backendReaders.ts";
import * as write from "../../src/wire/backendWriters.ts";
import { i16, i32, message, u8, within } from "./wireBytes.ts";

/** What the `pg` driver makes of `bytes`. */
function parsedByDriver(bytes: Buffer): Record<string, unknown>[] {
  const messages: Record<string, unknown>[] = [];
  new Parser().parse(bytes, (parsed) => messages.push({ ...parsed }));
  return messages;
}

const isServerViolation = (error: unknown): boolean =>
  error instanceof Fault && error.id === "protocol.server_violation" && error.spec.blame === "server";

const text = fc.string({ unit: "binary", maxLength: 40 }).map((value) => value.replaceAll("\0", ""));

describe("messages to clients", () => {
  const columns = [
    { name: "id", typeOid: 20 },
    { name: "größe", typeOid: 25 },
  ];
  const cases: readonly [name: string, written: Buffer, expected: Buffer][] = [
    ["AuthenticationOk", write.authenticationOk(), message("R", i32(0))],
    [
      "AuthenticationSASL",
      write.authenticationSasl(["SCRAM-SHA-256", "X"]),
      message("R", i32(10), "SCRAM-SHA-256", "X", u8(0)),
    ],
    [
      "AuthenticationSASLContinue",
      write.authenticationSaslContinue(Buffer.from("r=1")),
      message("R", i32(11), Buffer.from("r=1")),
    ],
    [
      "AuthenticationSASLFinal",
      write.authenticationSaslFinal(Buffer.from("v=1")),
      message("R", i32(12), Buffer.from("v=1")),
    ],
    [
      "BackendKeyData",
      write.backendKeyData(4_000_000_000, Buffer.alloc(32, 1)),
      message("K", i32(4_000_000_000), Buffer.alloc(32, 1)),
    ],
    [
      "NegotiateProtocolVersion",
      write.negotiateProtocolVersion(2, ["_pq_.a", "_pq_.b"]),
      message("v", i32(0x0003_0002), i32(2), "_pq_.a", "_pq_.b"),
    ],
    ["ParameterStatus", write.parameterStatus("TimeZone", "UTC"), message("S", "TimeZone", "UTC")],
    ["ReadyForQuery, idle", write.readyForQuery("I"), message("Z", Buffer.from("I"))],
    ["ReadyForQuery, in a block", write.readyForQuery("T"), message("Z", Buffer.from("T"))],
    ["ReadyForQuery, failed", write.readyForQuery("E"), message("Z", Buffer.from("E"))],
    ["CommandComplete", write.commandComplete("INSERT 0 1"), message("C", "INSERT 0 1")],
    ["EmptyQueryResponse", write.emptyQueryResponse(), message("I")],
    ["ParseComplete", write.parseComplete(), message("1")],
    ["BindComplete", write.bindComplete(), message("2")],
    ["CloseComplete", write.closeComplete(), message("3")],
    ["NoData", write.noData(), message("n")],
    ["PortalSuspended", write.portalSuspended(), message("s")],
    [
      "ParameterDescription",
      write.parameterDescription([23, 4_294_967_295]),
      message("t", i16(2), i32(23), i32(-1)),
    ],
    [
      "RowDescription",
      write.rowDescription(columns),
      message(
        "T",
        i16(2),
        ...["id", i32(0), i16(0), i32(20), i16(8), i32(-1), i16(0)],
        ...["größe", i32(0), i16(0), i32(25), i16(-1), i32(-1), i16(0)],
      ),
    ],
    [
      "DataRow",
      write.dataRow(["1", null, "", "ö"]),
      message("D", i16(4), i32(1), Buffer.from("1"), i32(-1), i32(0), i32(2), Buffer.from("ö")),
    ],
    [
      "NoticeResponse",
      write.noticeResponse({ severity: "WARNING", sqlstate: "01000", message: "m" }),
      message("N", "SWARNING", "VWARNING", "C01000", "Mm", u8(0)),
    ],
  ];

  for (const [name, written, expected] of cases) {
    it(`${name} is written as the protocol has it`, () => assert.deepEqual(written, expected));
  }

  it("are shared where they have no content", () => {
    assert.equal(write.readyForQuery("I"), write.readyForQuery("I"));
    assert.equal(write.parseComplete(), write.parseComplete());
  });

  it("tell a fault with all that it carries", () => {
    const fault = new Fault("protocol.violation", {
      message: "bad",
      detail: "why",
      hint: "do this",
      position: 7,
    });
    assert.deepEqual(
      write.faultResponse(fault),
      message("E", "SFATAL", "VFATAL", "C08P01", "Mbad", "Dwhy", "Hdo this", "P7", u8(0)),
    );
    assert.deepEqual(write.faultFields(new Fault("protocol.violation")), {
      severity: "FATAL",
      sqlstate: "08P01",
      message: "protocol violation",
    });
  });

  it("let no text forge a field", () => {
    const fields = { severity: "ERROR", sqlstate: "XX000", message: "a\0Hforged\0\0" };
    assert.deepEqual(write.errorResponse(fields), message("E", "SERROR", "VERROR", "CXX000", "Ma", u8(0)));
  });

  it("are understood by the pg driver", () => {
    const bytes = Buffer.concat([
      write.authenticationSasl(["SCRAM-SHA-256"]),
      write.rowDescription(columns),
      write.dataRow(["1", null]),
      write.commandComplete("SELECT 1"),
      write.errorResponse({
        severity: "ERROR",
        sqlstate: "23505",
        message: "twice",
        detail: "d",
        position: 3,
      }),
      write.readyForQuery("I"),
    ]);
    const parsed = parsedByDriver(bytes);
    assert.deepEqual(
      parsed.map(({ name }) => name),
      ["authenticationSASL", "rowDescription", "dataRow", "commandComplete", "error", "readyForQuery"],
    );
    assert.deepEqual(parsed[0]!.mechanisms, ["SCRAM-SHA-256"]);
    assert.deepEqual(parsed[2]!.fields, ["1", null]);
    const { code, detail, position } = parsed[4]!;
    assert.deepEqual([code, detail, position], ["23505", "d", "3"]);
  });
});

describe("messages from shards", () => {
  it("ErrorResponse: fields that Postgres may add are kept, and written again as they came", () => {
    const bytes = message("E", "SFEHLER", "VERROR", "C42P01", "Mm", "Dd", "Hh", "P15", "Wctx", "L10", u8(0));
    const fields = within(bytes, read.readErrorFields);
    assert.deepEqual(fields, {
      severity: "ERROR",
      sqlstate: "42P01",
      message: "m",
      detail: "d",
      hint: "h",
      position: 15,
      rest: new Map([
        ["S", "FEHLER"],
        ["W", "ctx"],
        ["L", "10"],
      ]),
    });
    assert.deepEqual(write.errorResponse(fields), bytes);
  });

  it("ErrorResponse: severity comes from S where there is no V, and what is missing has a default", () => {
    assert.deepEqual(within(message("E", "SFATAL", "C57P01", "Mm", u8(0)), read.readErrorFields), {
      severity: "FATAL",
      sqlstate: "57P01",
      message: "m",
    });
    assert.deepEqual(within(message("E", u8(0)), read.readErrorFields), {
      severity: "ERROR",
      sqlstate: "XX000",
      message: "",
    });
  });

  it("ErrorResponse: a position that is no number is kept as text", () => {
    const fields = within(message("E", "VERROR", "Pnear", u8(0)), read.readErrorFields);
    assert.deepEqual([fields.position, fields.rest], [undefined, new Map([["P", "near"]])]);
  });

  it("ParameterStatus", () => {
    const bytes = write.parameterStatus("DateStyle", "ISO, MDY");
    assert.deepEqual(within(bytes, read.readParameterStatus), { name: "DateStyle", value: "ISO, MDY" });
  });

  it("BackendKeyData, with a secret that is the reader's own", () => {
    const bytes = write.backendKeyData(4_000_000_000, Buffer.alloc(256, 9));
    const { pid, secret } = read.readBackendKeyData(bytes, 0, bytes.length);
    bytes.fill(0);
    assert.deepEqual([pid, secret], [4_000_000_000, Buffer.alloc(256, 9)]);
  });

  it("CommandComplete", () => {
    assert.equal(
      within(write.commandComplete("PREPARE TRANSACTION"), read.readCommandTag),
      "PREPARE TRANSACTION",
    );
  });

  it("DataRow", () => {
    const property = fc.property(fc.array(fc.option(text), { maxLength: 20 }), (values) => {
      assert.deepEqual(within(write.dataRow(values), read.readDataRowText), values);
    });
    fc.assert(property);
  });

  it("ReadyForQuery", () => {
    for (const status of ["I", "T", "E"] as const) {
      assert.equal(within(write.readyForQuery(status), read.readReadyStatus), status);
    }
  });

  it("Authentication, of every kind a shard may ask for", () => {
    const salt = Buffer.from([1, 2, 3, 4]);
    const data = Buffer.from("data");
    const cases: readonly [Buffer, read.AuthenticationRequest][] = [
      [write.authenticationOk(), { kind: "ok" }],
      [message("R", i32(3)), { kind: "cleartext" }],
      [message("R", i32(5), salt), { kind: "md5", salt }],
      [
        write.authenticationSasl(["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]),
        { kind: "sasl", mechanisms: ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"] },
      ],
      [write.authenticationSaslContinue(data), { kind: "saslContinue", data }],
      [write.authenticationSaslFinal(data), { kind: "saslFinal", data }],
      [message("R", i32(7)), { kind: "unsupported", code: 7 }],
    ];
    for (const [bytes, expected] of cases) {
      assert.deepEqual(within(bytes, read.readAuthentication), expected);
    }
  });

  it("NegotiateProtocolVersion", () => {
    const bytes = write.negotiateProtocolVersion(0, ["_pq_.x"]);
    assert.deepEqual(within(bytes, read.readNegotiateProtocolVersion), { minor: 0, options: ["_pq_.x"] });
  });
});

describe("a malformed message from a shard is the shard's fault", () => {
  const cases: readonly [string, (buffer: Buffer, start: number, end: number) => unknown, Buffer][] = [
    ["ErrorResponse without an end", read.readErrorFields, message("E", "Mm")],
    ["ErrorResponse with a field without an end", read.readErrorFields, message("E", Buffer.from("Mm"))],
    ["ErrorResponse with more behind its end", read.readErrorFields, message("E", u8(0), u8(0))],
    ["ParameterStatus without a value", read.readParameterStatus, message("S", "name")],
    ["BackendKeyData without a process id", read.readBackendKeyData, message("K", i16(1))],
    ["CommandComplete without an end", read.readCommandTag, message("C", Buffer.from("COMMIT"))],
    ["CommandComplete with more behind its tag", read.readCommandTag, message("C", "COMMIT", "x")],
    [
      "DataRow with a value that is too long",
      read.readDataRowText,
      message("D", i16(1), i32(5), Buffer.from("x")),
    ],
    ["DataRow with a negative length", read.readDataRowText, message("D", i16(1), i32(-2))],
    ["DataRow with fewer values than it says", read.readDataRowText, message("D", i16(2), i32(-1))],
    ["ReadyForQuery of an unknown status", read.readReadyStatus, message("Z", Buffer.from("X"))],
    ["Authentication without a whole salt", read.readAuthentication, message("R", i32(5), i16(1))],
    ["Authentication with mechanisms without an end", read.readAuthentication, message("R", i32(10), "A")],
    [
      "NegotiateProtocolVersion of version 2",
      read.readNegotiateProtocolVersion,
      message("v", i32(0x20000), i32(0)),
    ],
    [
      "NegotiateProtocolVersion with fewer options than it says",
      read.readNegotiateProtocolVersion,
      message("v", i32(0x30000), i32(0x7fff_ffff), "_pq_.x"),
    ],
  ];
  for (const [name, reader, bytes] of cases) {
    it(name, () => assert.throws(() => within(bytes, reader), isServerViolation));
  }

  it("and whatever bytes come, nothing else is thrown", () => {
    const readers = [...new Set(cases.map(([, reader]) => reader))];
    const property = fc.property(
      fc.constantFrom(...readers),
      fc.uint8Array({ maxLength: 60 }),
      (reader, bytes) => {
        try {
          within(message("?", bytes), reader);
        } catch (error) {
          assert.ok(isServerViolation(error), String(error));
        }
      },
    );
    fc.assert(property, { numRuns: 1000 });
  });
});
