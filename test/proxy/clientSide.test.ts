/** A client's messages, however they are cut, and however often the session has to wait in the middle of them. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Traffic } from "../../src/observe/traffic.ts";
import type { ByteStream } from "../../src/pool/byteStream.ts";
import { ClientSide, WAIT_LEASE, WAIT_SERVER_DRAIN, WAIT_WORK } from "../../src/proxy/clientSide.ts";
import { ManualEnvironment } from "../txn/manualEnvironment.ts";

const LIMITS = { messageBytesMax: 1_000_000, messageHeldMax: 100_000 };
const BUFFER_BYTES = 4_096;

/** A stream that reads into one buffer, again and again, and never while it is paused. */
class ReusedBuffer {
  readonly #buffer = Buffer.alloc(BUFFER_BYTES);
  isPaused = false;
  pauses = 0;
  readonly isFlushed = true;

  setOwner(): void {}

  pause(): void {
    this.isPaused = true;
    this.pauses += 1;
  }

  resume(): void {
    this.isPaused = false;
  }

  /** What lay in the buffer is gone unless the stream was paused. */
  read(side: ClientSide, bytes: Buffer): void {
    assert.equal(this.isPaused, false);
    bytes.copy(this.#buffer);
    side.onChunk(this.#buffer, bytes.length);
    if (!this.isPaused) this.#buffer.fill(0xee);
  }

  /** The memory of a chunk that somebody still sends from. */
  get start(): string {
    return this.#buffer.toString("latin1", 0, 16);
  }
}

class Stage {
  readonly stream = new ReusedBuffer();
  readonly seen: string[] = [];
  readonly side: ClientSide;
  /** For what each presentation waits before it is taken; 0 for nothing. */
  readonly #holds: number[];
  /** The same after a message was taken. */
  readonly #waits: number[];

  constructor(holds: readonly number[], waits: readonly number[]) {
    this.#holds = [...holds];
    this.#waits = [...waits];
    const environment = new ManualEnvironment();
    const traffic = new Traffic().of("bank", "ann");
    const messages = {
      onMessage: (type: number, buffer: Buffer, start: number, end: number) => {
        const hold = this.#holds.shift() ?? 0;
        if (hold !== 0) return this.side.hold(hold);
        this.seen.push(String.fromCharCode(type) + buffer.toString("latin1", start + 5, end));
        this.side.wait(this.#waits.shift() ?? 0);
        return true;
      },
      onCopyPiece: () => true,
      onPause() {},
      onClientDrain() {},
      onClientClosed() {},
    };
    const parts = { config: { limits: LIMITS }, traffic, environment };
    this.side = new ClientSide(this.stream as unknown as ByteStream, parts, messages);
  }

  /** Everything that is waited for comes. */
  goOn(): void {
    for (let i = 0; i < 1_000 && this.side.isWaiting; i += 1) {
      for (const reason of [WAIT_LEASE, WAIT_WORK, WAIT_SERVER_DRAIN]) this.side.go(reason);
    }
  }
}

function message(type: string, body: string): Buffer {
  const bytes = Buffer.alloc(5 + body.length);
  bytes.write(type, 0, "latin1");
  bytes.writeUInt32BE(4 + body.length, 1);
  bytes.write(body, 5, "latin1");
  return bytes;
}

describe("a client's side of a session", () => {
  it("does not stop its stream for a message that waits for a connection", () => {
    const { stream, side, seen } = new Stage([WAIT_LEASE], []);
    stream.read(side, message("Q", "first"));
    assert.equal(stream.pauses, 0);
    assert.deepEqual(seen, []);
    side.go(WAIT_LEASE);
    assert.deepEqual(seen, ["Qfirst"]);
    stream.read(side, message("Q", "second"));
    assert.deepEqual(seen, ["Qfirst", "Qsecond"]);
  });

  it("stops it for a client that sends ahead while one waits, and loses nothing", () => {
    const { stream, side, seen } = new Stage([WAIT_LEASE], []);
    const bytes = Buffer.concat([message("P", "parse"), message("B", "bind"), message("S", "")]);
    stream.read(side, bytes.subarray(0, bytes.length - 3));
    stream.read(side, Buffer.concat([bytes.subarray(bytes.length - 3), message("Q", "ahead")]));
    assert.equal(stream.isPaused, true);
    side.go(WAIT_LEASE);
    assert.deepEqual(seen, ["Pparse", "Bbind", "S", "Qahead"]);
    assert.equal(stream.isPaused, false);
  });

  it("stops it for a chunk from which a shard's stream still sends", () => {
    const { stream, side } = new Stage([], [WAIT_SERVER_DRAIN]);
    stream.read(side, message("Q", "x"));
    assert.equal(stream.isPaused, true);
    assert.match(stream.start, /^Q/);
    side.go(WAIT_SERVER_DRAIN);
    assert.equal(stream.isPaused, false);
  });

  it("stops it for more than is worth copying", () => {
    const { stream, side, seen } = new Stage([WAIT_LEASE], []);
    stream.read(side, message("Q", "x".repeat(3_000)));
    assert.equal(stream.isPaused, true);
    side.go(WAIT_LEASE);
    assert.equal(seen.length, 1);
  });

  it("presents every message once, in order and whole", () => {
    const one = fc.record({
      type: fc.constantFrom("Q", "P", "B", "S"),
      bytes: fc.oneof(fc.nat(20), fc.nat(3_000)),
    });
    const waits = fc.array(fc.constantFrom(0, 0, WAIT_LEASE, WAIT_WORK, WAIT_SERVER_DRAIN), {
      maxLength: 30,
    });
    const plan = fc.record({
      messages: fc.array(one, { minLength: 1, maxLength: 12 }),
      holds: waits,
      waits,
      cuts: fc.array(fc.integer({ min: 1, max: BUFFER_BYTES }), { minLength: 1, maxLength: 30 }),
      goesOnAfter: fc.array(fc.boolean(), { maxLength: 60 }),
    });
    fc.assert(
      fc.property(plan, ({ messages, holds, waits: after, cuts, goesOnAfter }) => {
        const stage = new Stage(holds, after);
        const bodies = messages.map(({ type, bytes }, i) => {
          const body = type === "S" ? "" : String.fromCharCode(97 + i).repeat(bytes + (type === "Q" ? 1 : 8));
          return { type, body };
        });
        const bytes = Buffer.concat(bodies.map(({ type, body }) => message(type, body)));
        for (let at = 0, i = 0; at < bytes.length; i += 1) {
          if (stage.stream.isPaused) stage.goOn();
          const end = Math.min(bytes.length, at + cuts[i % cuts.length]!);
          stage.stream.read(stage.side, bytes.subarray(at, end));
          at = end;
          if (goesOnAfter[i]) stage.goOn();
        }
        stage.goOn();
        assert.deepEqual(
          stage.seen,
          bodies.map(({ type, body }) => type + body),
        );
      }),
      { numRuns: 500 },
    );
  });
});
