/** Collecting what goes to one stream: few writes, no bytes lost, no memory used while it is still being sent. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Outbox } from "../../src/pool/outbox.ts";
import { query } from "../../src/wire/frontendWriters.ts";

class Sink {
  readonly writes: Buffer[] = [];
  readonly seen: Buffer[] = [];
  isTaking = true;

  write(bytes: Uint8Array): boolean {
    this.writes.push(bytes as Buffer);
    this.seen.push(Buffer.from(bytes));
    return this.isTaking;
  }
}

describe("an outbox", () => {
  it("passes neighbouring runs of a chunk as one write of the chunk itself", () => {
    const sink = new Sink();
    const outbox = new Outbox(sink);
    const chunk = Buffer.from("abcdefgh");
    outbox.pass(chunk, 0, 3);
    outbox.pass(chunk, 3, 5);
    assert.equal(outbox.flush(), true);
    assert.equal(sink.writes.length, 1);
    assert.equal(sink.writes[0]!.buffer, chunk.buffer, "not copied");
    assert.equal(sink.seen[0]!.toString(), "abcde");
  });

  it("puts what is in between in its place, still in one write", () => {
    const sink = new Sink();
    const outbox = new Outbox(sink);
    const chunk = Buffer.from("abcdefgh");
    outbox.pass(chunk, 0, 3);
    outbox.put(Buffer.from("--"));
    outbox.pass(chunk, 5, 8);
    outbox.flush();
    assert.deepEqual(sink.seen.map(String), ["abc--fgh"]);
  });

  it("takes other memory while what was written is still being sent", () => {
    const sink = new Sink();
    const outbox = new Outbox(sink);
    sink.isTaking = false;
    outbox.put(Buffer.from("first"));
    assert.equal(outbox.flush(), false);
    sink.isTaking = true;
    outbox.put(Buffer.from("other"));
    assert.equal(outbox.flush(), true);
    assert.deepEqual(sink.writes.map(String), ["first", "other"]);
  });

  it("loses nothing and changes no order, whatever it is given", () => {
    const piece = fc.record({ own: fc.boolean(), bytes: fc.uint8Array({ minLength: 1, maxLength: 9_000 }) });
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const sink = new Sink();
        const outbox = new Outbox(sink);
        for (const { own, bytes } of pieces) {
          const chunk = Buffer.from(bytes);
          if (own) outbox.put(chunk);
          else outbox.pass(chunk, 0, chunk.length);
        }
        outbox.flush();
        assert.deepEqual(Buffer.concat(sink.seen), Buffer.concat(pieces.map(({ bytes }) => bytes)));
      }),
    );
  });

  it("writes a Query as the protocol has it, in its place, however long its text is", () => {
    for (const text of ["", "COMMIT PREPARED 'ä'", "x".repeat(10_000), "ü".repeat(20_000)]) {
      const sink = new Sink();
      const outbox = new Outbox(sink);
      outbox.put(Buffer.from("--"));
      outbox.query(text);
      outbox.query(text);
      outbox.flush();
      const sent = Buffer.concat([query(text), query(text)]);
      assert.deepEqual(Buffer.concat(sink.seen), Buffer.concat([Buffer.from("--"), sent]));
    }
  });
});
