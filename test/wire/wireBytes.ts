/** Messages written by hand, independent of `src/wire`, and ways to cut a stream into chunks. */
import fc from "fast-check";

/** A text is written with its NUL, bytes as they are. */
export type Part = string | Uint8Array;

export const u8 = (value: number): Buffer => Buffer.from([value]);
export function i16(value: number): Buffer {
  return Buffer.from([(value >> 8) & 0xff, value & 0xff]);
}
export function i32(value: number): Buffer {
  return Buffer.from([(value >>> 24) & 0xff, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff]);
}

const body = (parts: readonly Part[]): Buffer =>
  Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(`${part}\0`) : part)));

/** A message with the type byte `type`. */
export function message(type: string, ...parts: readonly Part[]): Buffer {
  const bytes = body(parts);
  return Buffer.concat([Buffer.from(type), i32(bytes.length + 4), bytes]);
}

/** A packet without a type byte, as connections begin with. */
export function packet(...parts: readonly Part[]): Buffer {
  const bytes = body(parts);
  return Buffer.concat([i32(bytes.length + 4), bytes]);
}

/** Calls `read` with the message amid foreign bytes, as it lies in a chunk. */
export function within<T>(bytes: Buffer, read: (buffer: Buffer, start: number, end: number) => T): T {
  const chunk = Buffer.concat([Buffer.from("Q\0\0"), bytes, Buffer.from("behind it\0\0\0\0\0\0\0\0\0")]);
  return read(chunk, 3, 3 + bytes.length);
}

/** `bytes` cut at the places that `cuts` (each in [0, 1)) stand for; some chunks may be empty. */
export function cutAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = cuts.map((cut) => Math.floor(cut * (bytes.length + 1))).sort((a, b) => a - b);
  return [...places, bytes.length].map((place, i) => bytes.subarray(places[i - 1] ?? 0, place));
}

export const cuts = fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), {
  maxLength: 20,
});

/** A client's messages that may have a body of any length, and those of a length of their own. */
export const clientMessage = fc.oneof(
  fc
    .tuple(fc.constantFrom("Q", "d", "P"), fc.uint8Array({ maxLength: 300 }))
    .map(([type, bytes]) => message(type, type === "d" ? bytes : Buffer.concat([i32(0), bytes]))),
  fc.constantFrom(message("S"), message("H"), message("X"), message("c"), message("E", "", i32(0))),
);
export const clientStream = fc.array(clientMessage, { minLength: 1, maxLength: 12 });
