/** How a stream is left, and how it is taken from a server; over real sockets. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type Server } from "node:net";
import { describe, test } from "node:test";
import { takeHandle, takeHandles } from "../../src/pool/accepting.ts";
import { ByteStream, type StreamHandle } from "../../src/pool/byteStream.ts";

/** Accepts one connection by way of `accept`, hands the stream to `act` and returns all that the other end reads. */
async function whatIsRead(
  accept: (server: Server, take: (handle: StreamHandle) => void) => void,
  act: (stream: ByteStream) => void,
): Promise<{ readonly bytes: number; readonly text: string; readonly isClosed: boolean }> {
  const server = createServer({ pauseOnConnect: true });
  let isClosed = false;
  const closed = new Promise<void>((resolve) => {
    const onClosed = () => {
      isClosed = true;
      resolve();
    };
    accept(server, (handle) => {
      const stream = ByteStream.accept(handle, { onChunk: () => act(stream), onDrain() {}, onClosed }, 1_024);
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as { port: number };
  const client = connect(port, "127.0.0.1");
  client.write("go");
  const chunks: Buffer[] = [];
  for await (const chunk of client) chunks.push(chunk as Buffer);
  await closed;
  await new Promise((resolve) => server.close(resolve));
  const all = Buffer.concat(chunks);
  return { bytes: all.length, text: all.subarray(0, 10).toString(), isClosed };
}

const byHandle = (server: Server, take: (handle: StreamHandle) => void): void => {
  server.on("listening", () => takeHandles(server, take));
  server.on("connection", () => assert.fail("no Socket is made"));
};
const bySocket = (server: Server, take: (handle: StreamHandle) => void): void =>
  void server.on("connection", (socket) => take(takeHandle(socket)!));

const LARGE_BYTES = 16 * 1024 * 1024;

for (const [way, accept] of [
  ["as a handle", byHandle],
  ["as a Socket", bySocket],
] as const) {
  describe(`a stream that was accepted ${way}`, () => {
    test("is closed once it is left, and what was written arrives", async () => {
      const read = await whatIsRead(accept, (stream) => {
        stream.write(Buffer.from("bye"));
        stream.leave();
      });
      assert.deepEqual(read, { bytes: 3, text: "bye", isClosed: true });
    });

    test("is left with much still to be sent, which arrives", async (t) => {
      t.mock.timers.enable({ apis: ["setTimeout"] }); // however slow the reader is here
      const read = await whatIsRead(accept, (stream) => {
        assert.equal(stream.write(Buffer.alloc(LARGE_BYTES, "x")), false);
        stream.leave();
      });
      assert.deepEqual(read, { bytes: LARGE_BYTES, text: "xxxxxxxxxx", isClosed: true });
    });
  });
}
