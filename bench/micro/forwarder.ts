/**
 * The forwarder: what a chunk costs that goes by, on the way to the client and on the way to the shard.
 *
 * The streams at both ends are stand-ins that count writes: the system calls, which are most of the cost of a query, are
 * not measured here but counted.
 */
import { systemEnvironment } from "../../src/cli/systemEnvironment.ts";
import { Traffic } from "../../src/observe/traffic.ts";
import type { ByteStream } from "../../src/pool/byteStream.ts";
import { Outbox } from "../../src/pool/outbox.ts";
import { RELAY } from "../../src/pool/replyQueue.ts";
import { type ReplyHandler, ReplyReader } from "../../src/pool/replyReader.ts";
import { type ClientMessages, ClientSide } from "../../src/proxy/clientSide.ts";
import * as write from "../../src/wire/backendWriters.ts";
import * as send from "../../src/wire/frontendWriters.ts";
import type { Micro } from "./micro.ts";

const ROWS = 500;
const LIMITS = { messageBytesMax: 1_000_000, messageHeldMax: 100_000 };

/** Takes everything at once. */
class CountingStream {
  writes = 0;
  bytes = 0;
  readonly isFlushed = true;

  write(bytes: Uint8Array): boolean {
    this.writes += 1;
    this.bytes += bytes.length;
    return true;
  }

  setOwner(): void {}
  pause(): void {}
  resume(): void {}
}

function clientSide(
  stream: CountingStream,
  messages: Pick<ClientMessages, "onMessage" | "onPause">,
): ClientSide {
  const traffic = new Traffic().of("bench", "ann");
  const parts = { config: { limits: LIMITS }, traffic, environment: systemEnvironment };
  return new ClientSide(stream as unknown as ByteStream, parts, {
    ...messages,
    onCopyPiece: () => true,
    onClientDrain() {},
    onClientClosed() {},
  });
}

/** What a shard sends is passed on as a session does it. */
function handlerFor(client: ClientSide): ReplyHandler {
  const unexpected = (what: string): never => {
    throw new Error(`${what} was not expected`);
  };
  return {
    relay: (chunk, start, end) => void client.relay(chunk.subarray(start, end)),
    onClientGroup() {},
    onControlReply: () => unexpected("an answer to pgxa itself"),
    onParameter() {},
    onNotification: () => null,
    onCopyIn: () => unexpected("COPY"),
    outlives: () => null,
    onStatement() {},
    onShape() {},
    onSwallowedError: () => unexpected("an error"),
    onViolation: unexpected,
  };
}

/** To the client, `rows` at a time. */
const towardsClient = (rows: number): Micro => ({
  name: `forward-answer-${rows}`,
  about: `an answer of ${rows} row${rows === 1 ? "" : "s"} in one chunk, from the shard to the client`,
  setUp() {
    const answer = Buffer.concat([
      write.rowDescription([{ name: "abalance", typeOid: 23 }]),
      ...Array.from({ length: rows }, () => write.dataRow(["-12345"])),
      write.commandComplete(`SELECT ${rows}`),
      write.readyForQuery("I"),
    ]);
    const stream = new CountingStream();
    const client = clientSide(stream, { onMessage: () => true, onPause() {} });
    const reader = new ReplyReader(handlerFor(client));
    reader.meter = client.meter;
    return {
      run(times) {
        for (let i = 0; i < times; i++) {
          reader.expectGroup(RELAY);
          reader.read(answer, answer.length);
        }
      },
      counts: () => ({ writes: stream.writes, bytes: stream.bytes }),
    };
  },
});

/** To the shard: all messages of one chunk. */
const towardsShard = (name: string, about: string, chunk: Buffer): Micro => ({
  name,
  about,
  setUp() {
    const shard = new CountingStream();
    const outbox = new Outbox(shard);
    let messages = 0;
    const client = clientSide(new CountingStream(), {
      onMessage(_type, buffer, start, end) {
        messages += 1;
        outbox.pass(buffer, start, end);
        return true;
      },
      onPause: () => void outbox.flush(),
    });
    return {
      run(times) {
        for (let i = 0; i < times; i++) client.onChunk(chunk, chunk.length);
      },
      counts: () => ({ writes: shard.writes, bytes: shard.bytes, messages }),
    };
  },
});

const PARSED = send.parse({
  name: "",
  text: "SELECT abalance FROM accounts WHERE aid = $1",
  parameterTypes: [23],
});
const PIPELINE = Array.from({ length: 20 }, () => [PARSED, send.describeStatement(""), send.sync()]).flat();

export const FORWARDERS: readonly Micro[] = [
  towardsClient(1),
  towardsClient(ROWS),
  towardsShard("forward-query", "a simple query, from the client to the shard", send.query("SELECT 1")),
  towardsShard(
    "forward-pipeline",
    `${PIPELINE.length} messages sent ahead in one chunk, from the client to the shard`,
    Buffer.concat(PIPELINE),
  ),
];
