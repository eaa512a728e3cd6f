import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { test } from "node:test";
import { shardId } from "../../src/base/brands.ts";
import type { ShardConfig } from "../../src/config/config.ts";
import { ByteStream } from "../../src/pool/byteStream.ts";
import { shardDuplex } from "../../src/pool/shardDuplex.ts";

test("what is corked leaves in one write, whole and in order", async (t) => {
  const server = createServer();
  await once(server.listen(0, "127.0.0.1"), "listening");
  t.after(() => server.close());
  const writes = t.mock.method(ByteStream.prototype, "write");
  const shard: ShardConfig = {
    id: shardId("only"),
    host: "127.0.0.1",
    port: (server.address() as { port: number }).port,
    database: "bank",
    user: "pgxa",
    password: undefined,
    tls: {
      mode: "disable",
      negotiation: "postgres",
      caFile: undefined,
      certFile: undefined,
      keyFile: undefined,
    },
  };
  const accepted = once(server, "connection") as Promise<[Socket]>;
  const duplex = shardDuplex(shard, () => {}).connect();
  await once(duplex, "connect");
  duplex.cork();
  for (const part of ["bind", "describe", "execute", "sync"]) duplex.write(part);
  duplex.uncork();
  const [socket] = await accepted;
  let received = "";
  for await (const chunk of socket) {
    received += chunk;
    if (received.endsWith("sync")) break;
  }
  assert.equal(received, "binddescribeexecutesync");
  assert.equal(writes.mock.callCount(), 1);
  duplex.destroy();
});
