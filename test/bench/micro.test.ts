/**
 * The micro-benchmarks, run small: what each claims about writes, messages to the shard, bytes looked at and memory.
 *
 * No time is asserted. Memory is: the bytes each operation allocates on JavaScript's heap do not depend on the machine,
 * though on how far the compiler has come; so the bounds are a few times what is usual.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MICROS } from "../../bench/micro/all.ts";
import { type MicroFigures, measure } from "../../bench/micro/micro.ts";

const ROUNDS = 3;
const BIND_BYTES = 29;

interface Claim {
  readonly times: number;
  readonly bytesMax: number;
  readonly counts: Readonly<Record<string, number>>;
}

const CLAIMS: Readonly<Record<string, Claim>> = {
  // Five bytes of each message are looked at, however long it is, and nothing is made.
  "framer-10": { times: 50_000, bytesMax: 32, counts: { messages: 1, "bytes looked at": 5 } },
  "framer-1000": { times: 50_000, bytesMax: 32, counts: { messages: 1, "bytes looked at": 5 } },
  // A chunk leaves in one write, however many messages are in it, and what is made does not grow with them.
  "forward-answer-1": { times: 2_000, bytesMax: 1_500, counts: { writes: 1, bytes: 71 } },
  "forward-answer-500": { times: 200, bytesMax: 3_000, counts: { writes: 1, bytes: 8_556 } },
  "forward-query": { times: 2_000, bytesMax: 1_500, counts: { writes: 1, messages: 1, bytes: 14 } },
  "forward-pipeline": { times: 500, bytesMax: 3_000, counts: { writes: 1, messages: 60, bytes: 1_380 } },
  "seat-free": { times: 20_000, bytesMax: 64, counts: { taken: 1 } },
  "seat-queued-1": { times: 20_000, bytesMax: 1_000, counts: { served: 1 } },
  "seat-queued-480": { times: 20_000, bytesMax: 1_000, counts: { served: 1 } },
  // No Parse goes to a connection where the statement stands, and the Bind is one write.
  "rename-1": { times: 2_000, bytesMax: 1_500, counts: { writes: 1, parses: 0, bytes: BIND_BYTES } },
  "rename-20": { times: 2_000, bytesMax: 1_500, counts: { writes: 1, parses: 0, bytes: BIND_BYTES } },
};

const figures = (name: string, times: number): MicroFigures =>
  measure(MICROS.find((micro) => micro.name === name)!, times, ROUNDS);

describe("a micro-benchmark", () => {
  it("has a claim", () => {
    assert.deepEqual(
      MICROS.map(({ name }) => name),
      Object.keys(CLAIMS),
    );
  });

  for (const [name, { times, bytesMax, counts }] of Object.entries(CLAIMS)) {
    it(`${name} keeps its claim`, () => {
      const found = figures(name, times);
      assert.deepEqual(found.counts, counts);
      // Older runtimes do not count what is allocated.
      assert.ok(Number.isNaN(found.bytesEach) || found.bytesEach <= bytesMax, `${found.bytesEach} bytes`);
      assert.ok(found.nsEach > 0);
    });
  }

  it("allocates no more for an answer of 500 rows than for one of one row", () => {
    const [one, many] = [figures("forward-answer-1", 2_000), figures("forward-answer-500", 200)];
    assert.ok(
      Number.isNaN(one.bytesEach) || many.bytesEach < one.bytesEach + 2_000,
      `${many.bytesEach} bytes`,
    );
  });
});
