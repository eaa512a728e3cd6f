/** Sorting a shard's replies: what reaches the client, in whatever pieces the bytes arrive. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { ControlReply } from "../../src/pool/controlReply.ts";
import { CONTROL, RELAY, RELAY_WITHOUT_READY } from "../../src/pool/replyQueue.ts";
import { type ReadyStatus, ReplyReader } from "../../src/pool/replyReader.ts";
import * as write from "../../src/wire/backendWriters.ts";
import type { ErrorFields } from "../../src/wire/errorFields.ts";

/** Everything that a reader tells its handler. */
class Recorder {
  readonly relayed: Buffer[] = [];
  readonly groups: { status: ReadyStatus; hadError: boolean; isLast: boolean }[] = [];
  readonly replies: ControlReply[] = [];
  readonly parameters: string[] = [];
  readonly statements: string[] = [];
  readonly swallowed: ErrorFields[] = [];
  readonly violations: string[] = [];

  relay(chunk: Buffer, start: number, end: number): void {
    this.relayed.push(Buffer.from(chunk.subarray(start, end)));
  }
  onClientGroup(status: ReadyStatus, hadError: boolean, isLast: boolean): void {
    this.groups.push({ status, hadError, isLast });
  }
  onControlReply(reply: ControlReply): void {
    this.replies.push(reply);
  }
  onParameter(name: string, value: string): void {
    this.parameters.push(`${name}=${value}`);
  }
  onStatement(key: string, stands: boolean): void {
    this.statements.push(`${key} ${stands ? "stands" : "fails"}`);
  }
  onNotification(): null {
    return null;
  }

  onCopyIn(): void {}

  onShape(): void {}

  outlives(): null {
    return null;
  }

  onSwallowedError(error: ErrorFields): void {
    this.swallowed.push(error);
  }
  onViolation(what: string): void {
    this.violations.push(what);
  }
}

const ERROR = write.errorResponse({ severity: "ERROR", sqlstate: "22012", message: "division by zero" });
const ROWS = Buffer.concat([
  write.rowDescription([{ name: "a", typeOid: 25 }]),
  write.dataRow(["x".repeat(300)]),
  write.dataRow([null]),
  write.commandComplete("SELECT 2"),
]);
const READY = write.readyForQuery("I");

/** Feeds `bytes` cut after each of `cuts`. */
function feed(reader: ReplyReader, bytes: Buffer, cuts: readonly number[] = []): void {
  let start = 0;
  for (const cut of [...cuts, bytes.length].sort((a, b) => a - b)) {
    const chunk = Buffer.from(bytes.subarray(start, cut));
    if (chunk.length > 0) reader.read(chunk, chunk.length);
    start = cut;
  }
}

function setUp(): { reader: ReplyReader; seen: Recorder } {
  const seen = new Recorder();
  return { reader: new ReplyReader(seen), seen };
}

describe("a reply reader", () => {
  it("passes a client's answer on whole, and tells of its end", () => {
    const { reader, seen } = setUp();
    reader.expectGroup(RELAY);
    feed(reader, Buffer.concat([ROWS, READY]));
    assert.deepEqual(Buffer.concat(seen.relayed), Buffer.concat([ROWS, READY]));
    assert.equal(seen.relayed.length, 1, "one run, one write");
    assert.deepEqual(seen.groups, [{ status: "I", hadError: false, isLast: true }]);
  });

  it("keeps ReadyForQuery back where the session says it itself", () => {
    const { reader, seen } = setUp();
    reader.expectGroup(RELAY_WITHOUT_READY);
    feed(reader, Buffer.concat([ROWS, write.readyForQuery("T")]));
    assert.deepEqual(Buffer.concat(seen.relayed), ROWS);
    assert.deepEqual(seen.groups, [{ status: "T", hadError: false, isLast: true }]);
  });

  const OPENED = Buffer.concat([write.parseComplete(), write.bindComplete(), write.commandComplete("BEGIN")]);

  it("drops the answers to what pgxa put in front, and passes on what follows", () => {
    const { reader, seen } = setUp();
    reader.expectOpening(2);
    reader.expectGroup(RELAY);
    reader.expectOpening(1);
    reader.expectGroup(CONTROL);
    const first = Buffer.concat([OPENED, OPENED, ROWS, write.readyForQuery("T")]);
    feed(reader, Buffer.concat([first, OPENED, write.commandComplete("COMMIT"), READY]));
    assert.deepEqual(Buffer.concat(seen.relayed), Buffer.concat([ROWS, write.readyForQuery("T")]));
    assert.deepEqual(seen.replies, [{ kind: "complete", tags: ["COMMIT"], rows: [], status: "I" }]);
  });

  it("tells of an error in what pgxa put in front, and passes none of it on", () => {
    const { reader, seen } = setUp();
    reader.expectOpening(1);
    reader.expectGroup(RELAY);
    feed(reader, Buffer.concat([write.parseComplete(), ERROR]));
    assert.deepEqual(seen.relayed, []);
    assert.equal(seen.swallowed[0]?.sqlstate, "22012");
  });

  it("makes one value of the answer to a question of pgxa's own", () => {
    const { reader, seen } = setUp();
    reader.expectGroup(CONTROL);
    const answer = [
      write.dataRow(["7"]),
      write.commandComplete("SELECT 1"),
      write.commandComplete("PREPARE TRANSACTION"),
    ];
    feed(reader, Buffer.concat([...answer, READY]));
    assert.deepEqual(seen.replies, [
      { kind: "complete", tags: ["SELECT 1", "PREPARE TRANSACTION"], rows: [["7"]], status: "I" },
    ]);
    assert.deepEqual(seen.relayed, []);
  });

  it("says of a statement whether it stands, and hides the ParseComplete that nobody asked for", () => {
    const { reader, seen } = setUp();
    reader.expectParse(false, "pgxa_1");
    reader.expectParse(true, "pgxa_2");
    reader.expectGroup(RELAY);
    reader.expectParse(false, "pgxa_3");
    reader.expectGroup(RELAY);
    const first = Buffer.concat([write.parseComplete(), write.parseComplete(), READY]);
    feed(reader, Buffer.concat([first, ERROR, READY]));
    assert.deepEqual(seen.statements, ["pgxa_1 stands", "pgxa_2 stands", "pgxa_3 fails"]);
    assert.deepEqual(
      Buffer.concat(seen.relayed),
      Buffer.concat([write.parseComplete(), READY, ERROR, READY]),
    );
    assert.deepEqual(
      seen.groups.map(({ hadError }) => hadError),
      [false, true],
    );
  });

  const BOUND = Buffer.concat([write.bindComplete(), ROWS]);

  it("makes the ParseComplete that the client waits for of the CloseComplete that stands for it", () => {
    const { reader, seen } = setUp();
    reader.expectCloseForParse();
    reader.expectClose(true);
    reader.expectCloseForParse();
    reader.expectGroup(RELAY);
    const close = write.closeComplete();
    feed(reader, Buffer.concat([close, BOUND, close, close, BOUND, READY]));
    const parse = write.parseComplete();
    assert.deepEqual(
      Buffer.concat(seen.relayed),
      Buffer.concat([parse, BOUND, close, parse, BOUND, READY]),
      "and leaves the client's own Close alone",
    );
    assert.equal(seen.relayed.length, 1, "one run, one write");
    assert.deepEqual(seen.statements, []);
  });

  it("does so among statements of pgxa's own, wherever the bytes are cut", () => {
    const [parse, close] = [write.parseComplete(), write.closeComplete()];
    const bytes = Buffer.concat([close, parse, close, BOUND, close, parse, close, BOUND, READY]);
    for (let cut = 1; cut < bytes.length; cut += 1) {
      const { reader, seen } = setUp();
      reader.expectClose(false);
      reader.expectParse(false, "pgxa_1");
      reader.expectCloseForParse();
      reader.expectClose(false);
      reader.expectParse(true, "pgxa_2");
      reader.expectCloseForParse();
      reader.expectGroup(RELAY);
      feed(reader, bytes, [cut, Math.min(cut + 1, bytes.length)]);
      const expected = Buffer.concat([parse, BOUND, parse, parse, BOUND, READY]);
      assert.deepEqual(Buffer.concat(seen.relayed), expected, `cut after ${cut}`);
      assert.deepEqual(seen.statements, ["pgxa_1 stands", "pgxa_2 stands"]);
    }
  });

  it("expects no more of it once an error has passed it over", () => {
    const { reader, seen } = setUp();
    reader.expectCloseForParse();
    reader.expectParse(true, "pgxa_1");
    reader.expectCloseForParse();
    reader.expectGroup(RELAY);
    reader.expectClose(true);
    reader.expectCloseForParse();
    reader.expectGroup(RELAY);
    const [parse, close] = [write.parseComplete(), write.closeComplete()];
    feed(reader, Buffer.concat([close, ERROR, READY, close, close, READY]));
    assert.deepEqual(Buffer.concat(seen.relayed), Buffer.concat([parse, ERROR, READY, close, parse, READY]));
    assert.deepEqual(seen.statements, ["pgxa_1 fails"]);
    assert.deepEqual(
      seen.groups.map(({ hadError }) => hadError),
      [true, false],
    );
  });

  it("notes parameters wherever they come, and passes them on only in a client's answer", () => {
    const { reader, seen } = setUp();
    const status = write.parameterStatus("TimeZone", "UTC");
    reader.expectGroup(CONTROL);
    reader.expectGroup(RELAY);
    feed(reader, Buffer.concat([status, READY, status, READY]));
    assert.deepEqual(seen.parameters, ["TimeZone=UTC", "TimeZone=UTC"]);
    assert.deepEqual(Buffer.concat(seen.relayed), Buffer.concat([status, READY]));
  });

  it("keeps an error from the client that answers nothing it asked", () => {
    const { reader, seen } = setUp();
    feed(reader, ERROR);
    assert.deepEqual(seen.relayed, []);
    assert.equal(seen.swallowed.length, 1);
    reader.isBatchOpen = true;
    feed(reader, ERROR);
    assert.deepEqual(Buffer.concat(seen.relayed), ERROR, "within a batch it is an answer");
  });

  it("finds a message that is none", () => {
    const { reader, seen } = setUp();
    feed(reader, Buffer.from([0x00, 0, 0, 0, 4]));
    assert.equal(seen.violations.length, 1);
  });

  it("does the same however the bytes are cut", () => {
    const stream = Buffer.concat([
      OPENED,
      write.parseComplete(),
      ROWS,
      write.readyForQuery("T"),
      write.parameterStatus("a", "b"),
      write.dataRow(["1"]),
      write.commandComplete("SELECT 1"),
      write.readyForQuery("T"),
      ROWS,
      ERROR,
      write.readyForQuery("E"),
    ]);
    const run = (cuts: readonly number[]): Recorder => {
      const { reader, seen } = setUp();
      reader.expectOpening(1);
      reader.expectParse(false, "k");
      reader.expectGroup(RELAY);
      reader.expectGroup(CONTROL);
      reader.expectGroup(RELAY_WITHOUT_READY);
      feed(reader, stream, cuts);
      return seen;
    };
    const whole = run([]);
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: 1, max: stream.length - 1 }), { maxLength: 40 }),
        (cuts) => {
          const cut = run(cuts);
          assert.deepEqual(Buffer.concat(cut.relayed), Buffer.concat(whole.relayed));
          assert.deepEqual(cut.groups, whole.groups);
          assert.deepEqual(cut.replies, whole.replies);
          assert.deepEqual(cut.statements, whole.statements);
        },
      ),
    );
  });
});
