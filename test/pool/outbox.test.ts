/** Collecting what goes to one stream: few writes, no bytes lost, no memory used while it is still being sent. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Outbox } from "../../src/pool/outbox.ts";
import { bindRenamed, query } from "../../src/wire/frontendWriters.ts";

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

  it("renames what a message is about in its place, as a copy would", () => {
    const names = fc.string({ unit: "binary-ascii", maxLength: 30 }).map((name) => name.replaceAll("\0", ""));
    fc.assert(
      fc.property(names, names, fc.uint8Array({ maxLength: 6_000 }), fc.nat(5), (portal, name, rest, own) => {
        const before = Buffer.alloc(own, "x");
        const body = Buffer.concat([Buffer.from(`${portal}\0${name}\0`), rest]);
        const bind = Buffer.concat([Buffer.from("B\0\0\0\0"), body]);
        bind.writeInt32BE(bind.length - 1, 1);
        const chunk = Buffer.concat([before, bind]);
        const sink = new Sink();
        const outbox = new Outbox(sink);
        outbox.pass(chunk, 0, own);
        for (let i = 0; i < 4; i += 1) {
          const nameAt = own + 6 + Buffer.byteLength(portal);
          outbox.renamed(chunk, own, chunk.length, nameAt, "pgxa_7");
        }
        outbox.flush();
        const one = bindRenamed(chunk, own, chunk.length, "pgxa_7");
        assert.deepEqual(Buffer.concat(sink.seen), Buffer.concat([before, one, one, one, one]));
      }),
    );
  });
});
