/** Connections that were made at once do not end at once. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isTooOld } from "../../src/pool/lifetime.ts";

const LIFETIME_MS = 1_000;
const endOf = (pid: number): number => {
  let nowMs = 0;
  while (!isTooOld({ createdAtMs: 0, pid }, nowMs, LIFETIME_MS)) nowMs += 1;
  return nowMs;
};

describe("the lifetime of a connection", () => {
  it("ends up to a tenth early, and never late", () => {
    const ends = Array.from({ length: 50 }, (_, i) => endOf(4_000 + i));
    assert.ok(ends.every((end) => end >= LIFETIME_MS * 0.9 && end <= LIFETIME_MS));
  });

  it("is spread over connections whose process ids follow each other", () => {
    const ends = new Set(Array.from({ length: 20 }, (_, i) => endOf(4_000 + i)));
    assert.ok(ends.size > 10, `${ends.size} different ends of 20`);
  });
});
