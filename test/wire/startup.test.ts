import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { cancelRequest, startup } from "../../src/wire/frontendWriters.ts";
import { StartupReader, type StartupRequest } from "../../src/wire/startup.ts";
import { cutAt, cuts, i16, i32, packet } from "./wireBytes.ts";

const BYTES_MAX = 10_000;
const SSL = packet(i32(80877103));
const GSS = packet(i32(80877104));
const CANCEL = 80877102;
const version = (major: number, minor: number): Buffer => Buffer.concat([i16(major), i16(minor)]);
const END = Buffer.from([0]);
const LOGIN = packet(version(3, 0), "user", "ada", "database", "bank", END);

/** What one chunk is read as; it must be complete. */
function read(bytes: Buffer, bytesMax = BYTES_MAX): StartupRequest {
  const request = new StartupReader(bytesMax).push(bytes);
  assert.ok(request !== null, "the packet is complete");
  return request;
}

function violationOf(bytes: Buffer): { id: string; sqlstate: string; message: string } {
  const request = read(bytes);
  assert.equal(request.kind, "violation");
  if (request.kind !== "violation") throw new Error("unreachable");
  const { id, sqlstate, message } = request.fault;
  return { id, sqlstate, message };
}

describe("a startup message", () => {
  it("brings its version and parameters", () => {
    assert.deepEqual(read(LOGIN), {
      kind: "startup",
      major: 3,
      minor: 0,
      parameters: new Map([
        ["user", "ada"],
        ["database", "bank"],
      ]),
      unsupportedOptions: [],
    });
  });

  it("may ask for a minor version and options that are not spoken, which is no violation", () => {
    const request = read(packet(version(3, 9999), "user", "ada", "_pq_.new", "1", "_pq_.other", "", END));
    assert.ok(request.kind === "startup");
    assert.equal(request.minor, 9999);
    assert.deepEqual(request.unsupportedOptions, ["_pq_.new", "_pq_.other"]);
    assert.deepEqual([...request.parameters.keys()], ["user"]);
  });

  it("is read as what pgxa itself writes to shards", () => {
    const parameters = [
      ["user", "ada"],
      ["application_name", "löwe"],
    ] as const;
    const request = read(startup(parameters, 2));
    assert.ok(request.kind === "startup");
    assert.deepEqual([request.minor, [...request.parameters]], [2, parameters.map((pair) => [...pair])]);
  });

  it("is read the same however it is cut, and what follows it is left", () => {
    const rest = Buffer.from("Q and more");
    const whole = read(LOGIN);
    const property = fc.property(cuts, fc.boolean(), (places, asksForSsl) => {
      const reader = new StartupReader(BYTES_MAX);
      if (asksForSsl) for (const byte of SSL) reader.push(Buffer.from([byte]));
      let request: StartupRequest | null = null;
      const left: Buffer[] = [];
      for (const chunk of cutAt(Buffer.concat([LOGIN, rest]), places)) {
        if (request !== null) left.push(chunk);
        else request = reader.push(chunk);
      }
      assert.deepEqual(request, whole);
      assert.deepEqual(Buffer.concat([reader.rest, ...left]), rest);
    });
    fc.assert(property, { numRuns: 300 });
  });

  it("without a user is refused as Postgres does", () => {
    const expected = {
      id: "login.no_user",
      sqlstate: "28000",
      message: "no PostgreSQL user name specified in startup packet",
    };
    assert.deepEqual(violationOf(packet(version(3, 0), END)), expected);
    assert.deepEqual(violationOf(packet(version(3, 0), "user", "", END)), expected);
  });

  it("must be laid out as pairs and a terminator", () => {
    const layouts: readonly Buffer[][] = [
      [],
      [Buffer.from("user")],
      [Buffer.from("user\0")],
      [Buffer.from("user\0ada")],
      [Buffer.from("user\0ada\0")],
      [Buffer.from("user\0ada\0\0more")],
      [Buffer.from("user\0ada\0\0\0")],
    ];
    for (const layout of layouts) {
      assert.deepEqual(violationOf(packet(version(3, 0), ...layout)), {
        id: "protocol.violation",
        sqlstate: "08P01",
        message: "invalid startup packet layout: expected terminator as last byte",
      });
    }
  });

  it("of another major version is told which ones there are", () => {
    for (const [major, minor] of [
      [2, 0],
      [4, 1],
      [0, 0],
    ] as const) {
      assert.deepEqual(violationOf(packet(version(major, minor), "user", "ada", END)), {
        id: "protocol.unsupported_version",
        sqlstate: "0A000",
        message: `unsupported frontend protocol ${major}.${minor}: server supports 3.0 to 3.2`,
      });
    }
  });
});

describe("the length of a startup packet", () => {
  it("is refused before any memory is taken for it", () => {
    for (const length of [0, 3, 7, BYTES_MAX + 1, 0x7fff_ffff, -1]) {
      assert.equal(violationOf(i32(length)).message, "invalid length of startup packet", `${length}`);
    }
  });

  it("may be all that is allowed", () => {
    assert.equal(read(LOGIN, LOGIN.length).kind, "startup");
    assert.equal(read(LOGIN, LOGIN.length - 1).kind, "violation");
    assert.equal(new StartupReader(BYTES_MAX).push(i32(BYTES_MAX)), null);
  });
});

describe("a request for encryption", () => {
  it("may come once for each kind, in any order, and then the startup message", () => {
    for (const requests of [
      [SSL, GSS],
      [GSS, SSL],
    ]) {
      const reader = new StartupReader(BYTES_MAX);
      const kinds = [...requests, LOGIN].map((bytes) => reader.push(bytes)?.kind);
      assert.deepEqual(new Set(kinds), new Set(["ssl", "gss", "startup"]));
      assert.equal(kinds[2], "startup");
    }
  });

  it("is not understood a second time", () => {
    for (const [request, code] of [
      [SSL, "1234.5679"],
      [GSS, "1234.5680"],
    ] as const) {
      const reader = new StartupReader(BYTES_MAX);
      reader.push(request);
      const again = reader.push(request);
      assert.ok(again?.kind === "violation");
      assert.match(again.fault.message, new RegExp(`unsupported frontend protocol ${code}`));
    }
  });

  it("with bytes behind it, which nobody but an intruder sends, ends the connection", () => {
    for (const [request, text] of [
      [SSL, "received unencrypted data after SSL request"],
      [GSS, "received unencrypted data after GSSAPI encryption request"],
    ] as const) {
      assert.equal(violationOf(Buffer.concat([request, LOGIN])).message, text);
      assert.equal(violationOf(Buffer.concat([request, Buffer.from([0])])).message, text);
    }
  });
});

describe("a cancel request", () => {
  it("brings the process id and a secret of either protocol version", () => {
    for (const secretBytes of [4, 32, 256]) {
      const secret = Buffer.alloc(secretBytes, 7);
      assert.deepEqual(read(cancelRequest(4_000_000_000, secret)), {
        kind: "cancel",
        pid: 4_000_000_000,
        secret,
      });
    }
  });

  it("of a wrong length is refused", () => {
    assert.equal(violationOf(packet(i32(CANCEL))).message, "invalid length of query cancel packet");
    assert.equal(violationOf(packet(i32(CANCEL), i32(1))).message, "invalid length of query cancel key");
    const long = packet(i32(CANCEL), i32(1), Buffer.alloc(257));
    assert.equal(violationOf(long).message, "invalid length of query cancel key");
  });
});

describe("the startup reader", () => {
  it("takes nothing once the startup is over", () => {
    const reader = new StartupReader(BYTES_MAX);
    reader.push(LOGIN);
    assert.throws(() => reader.push(LOGIN), /startup is over/);
  });

  it("makes something of any bytes, and never throws", () => {
    const property = fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const body = packet(bytes);
      for (const chunk of [Buffer.from(bytes), body, packet(version(3, 0), bytes)]) {
        const request = new StartupReader(BYTES_MAX).push(chunk);
        assert.ok(request === null || typeof request.kind === "string");
      }
    });
    fc.assert(property, { numRuns: 500 });
  });
});
