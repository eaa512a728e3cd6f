import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { RandomPool } from "../../src/base/randomPool.ts";
import { systemEnvironment } from "../../src/cli/systemEnvironment.ts";

/** Counts up, so that each byte can be told from its neighbours. */
class Counting {
  asked = 0;
  readonly given: Buffer[] = [];
  #next = 0;

  bytes(count: number): Buffer {
    this.asked += 1;
    const bytes = Buffer.from(Array.from({ length: count }, () => (this.#next = (this.#next % 255) + 1)));
    this.given.push(bytes);
    return bytes;
  }

  fraction(): number {
    return 0;
  }
}

describe("random bytes asked for in advance", () => {
  test("are given out once each, and are nowhere else then", () => {
    const counting = new Counting();
    const pool = new RandomPool(counting);
    const taken = Buffer.concat(Array.from({ length: 100 }, () => pool.bytes(8)));
    assert.equal(counting.asked, 1);
    assert.deepEqual(
      [...taken.subarray(0, 255)],
      Array.from({ length: 255 }, (_, i) => i + 1),
    );
    assert.ok(counting.given[0]!.subarray(0, 800).every((byte) => byte === 0));
  });

  test("are asked for anew when they run out, and singly if they are many", () => {
    const counting = new Counting();
    const pool = new RandomPool(counting);
    for (let i = 0; i < 1_000; i += 1) assert.equal(pool.bytes(36).length, 36);
    assert.equal(counting.asked, Math.ceil(1_000 / Math.floor(4_096 / 36)));
    assert.equal(pool.bytes(1_000).length, 1_000);
  });

  test("are no others' when they come from the system", () => {
    const pool = new RandomPool(systemEnvironment.random);
    const seen = new Set(Array.from({ length: 10_000 }, () => Buffer.from(pool.bytes(8)).toString("hex")));
    assert.equal(seen.size, 10_000);
  });
});
