// Pure.
/**
 * The bytes of a log segment: a magic word, then frames.
 *
 *     "PGXALOG2"  { length u32 | offset u32 | crc32c of the entries u32 | crc32c of these three u32 | entries as JSON }*
 *
 * All numbers are big-endian; `length` is that of the entries, `offset` where the frame was written (modulo 2^32), which
 * shows when frames before it are missing.
 *
 * A segment begins with one or more frames that say all that the segments before it say, up to an entry `begun`. A frame
 * behind them is what one sync made durable, however many decisions that were, and the next is written only after that.
 *
 * So the end of a crash is one bad frame at the end: a torn tail, which nobody has been told of, and which is cut. A bad
 * frame with a good one behind it was durable once: it is damage, and it may have held decisions. For a bad frame at the
 * end the bytes decide: a crash cuts the file, or leaves zeros for sectors that were not written; bytes that are all there
 * and wrong were changed later. (A frame `sealed`, left to the system to write, soon stands behind the last one, too.)
 */
import { type Gtrid, gidOf, gtridOf, shardId, xidOf } from "../../base/brands.ts";
import type { Participant } from "../decisionLog.ts";
import { crc32c } from "./crc32c.ts";
import type { EpochRange } from "./epochSet.ts";

export type Entry =
  /**
   * First in every segment, and wherever the log of another process is taken over: the commits of the epochs `known`
   * are all here, but for those that fell into gaps.
   */
  | {
      readonly kind: "open";
      /** The latest epoch that is known of. */
      readonly epoch: number;
      readonly known: readonly EpochRange[];
      /** Epochs with the greatest number of a transaction whose commit may be lost. */
      readonly gaps: readonly (readonly [epoch: number, upToSeq: number])[];
      /** In the first of a segment: its number, and the epoch of the process that wrote it. */
      readonly segment?: number;
      readonly writer?: number;
    }
  /** The end of what a segment begins with. */
  | { readonly kind: "begun" }
  | { readonly kind: "commit"; readonly gtrid: Gtrid; readonly participants: readonly Participant[] }
  | { readonly kind: "concluded"; readonly gtrid: Gtrid }
  /** No commit of the writer's epoch in this frame and those before has a greater number. */
  | { readonly kind: "reached"; readonly seq: number }
  /** All frames before this one were durable when it was written. */
  | { readonly kind: "sealed" };

export const MAGIC = Buffer.from("PGXALOG2");
const FRAME_HEADER_BYTES = 16;
const CHECKED_BYTES = 12;
/** No frame is longer; a longer length is not one. */
export const FRAME_BYTES_MAX = 16 * 1024 * 1024;
/** Fewer bytes than this hold no commit, nor an `open`. */
const TELLING_BYTES_MIN = 60;
const SECTOR_BYTES = 512;

/** A frame that is to stand at `offset` of its segment. */
export function encodeFrame(entries: readonly Entry[], offset: number): Buffer {
  const payload = JSON.stringify(entries);
  const bytes = Buffer.byteLength(payload);
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + bytes);
  frame.write(payload, FRAME_HEADER_BYTES);
  frame.writeUInt32BE(bytes, 0);
  frame.writeUInt32BE(offset % 2 ** 32, 4);
  frame.writeUInt32BE(crc32c(frame, FRAME_HEADER_BYTES), 8);
  frame.writeUInt32BE(crc32c(frame, 0, CHECKED_BYTES), CHECKED_BYTES);
  return frame;
}

const SEALED: readonly Entry[] = [{ kind: "sealed" }];
const SEAL = encodeFrame(SEALED, 0);

/** A frame `sealed`, of which nothing but the place is ever different. */
export function encodeSeal(offset: number): Buffer {
  const frame = Buffer.from(SEAL);
  frame.writeUInt32BE(offset % 2 ** 32, 4);
  frame.writeUInt32BE(crc32c(frame, 0, CHECKED_BYTES), CHECKED_BYTES);
  return frame;
}

export interface Frame {
  readonly offset: number;
  readonly end: number;
  readonly entries: readonly Entry[];
  /** What it says of where it stands. */
  readonly writtenAt: number;
}

/** Bytes that are no frame; none at all where some are missing. */
export interface BadBytes {
  readonly offset: number;
  readonly bytes: number;
  /** `torn`: a write that a crash cut short; `harmless`: too few to have held anything; `damaged`: they were durable. */
  readonly kind: "torn" | "harmless" | "damaged";
}

export interface SegmentContents {
  readonly frames: readonly Frame[];
  readonly bad: readonly BadBytes[];
  /** How many of the frames are what it begins with, all of them good; 0 if they are not. */
  readonly beginningFrames: number;
}

/** Reads a segment: all that is good, and where it is not. */
export function readSegment(bytes: Buffer): SegmentContents {
  const frames: Frame[] = [];
  const bad: BadBytes[] = [];
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) {
    const isCut = bytes.length < MAGIC.length || hasZeroSector(bytes, 0);
    const length = Math.min(MAGIC.length, bytes.length);
    bad.push({ offset: 0, bytes: length, kind: isCut ? "torn" : "damaged" });
  }
  for (let at = MAGIC.length; at < bytes.length; ) {
    const frame = frameAt(bytes, at);
    if (frame !== null) {
      if (!isInPlace(frame, frames.at(-1))) bad.push({ offset: at, bytes: 0, kind: "damaged" });
      frames.push(frame);
      at = frame.end;
      continue;
    }
    const next = nextFrame(bytes, at + 1);
    bad.push({ offset: at, bytes: next - at, kind: kindOfBad(bytes, at, next) });
    at = next;
  }
  return { frames, bad, beginningFrames: beginningFrames(frames) };
}

/** Whether it stands where it was written, or as far from there as the one before it. */
function isInPlace(frame: Frame, before: Frame | undefined): boolean {
  const shift = (one: Frame): number => (one.offset - one.writtenAt) % 2 ** 32;
  return shift(frame) === (before === undefined ? 0 : shift(before));
}

function beginningFrames(frames: readonly Frame[]): number {
  if (frames[0]?.entries[0]?.kind !== "open") return 0;
  for (const [i, { offset, writtenAt, entries }] of frames.entries()) {
    if (offset !== (frames[i - 1]?.end ?? MAGIC.length) || writtenAt !== offset % 2 ** 32) return 0;
    if (entries.some(({ kind }) => kind === "begun")) return i + 1;
  }
  return 0;
}

function kindOfBad(bytes: Buffer, at: number, end: number): BadBytes["kind"] {
  if (end === bytes.length && isTear(bytes, at)) return "torn";
  return end - at < TELLING_BYTES_MIN ? "harmless" : "damaged";
}

/** Whether a crash while the frame at `at`, the last one, was written explains what is there. */
function isTear(bytes: Buffer, at: number): boolean {
  if (bytes.length - at < FRAME_HEADER_BYTES) return true;
  if (isHeader(bytes, at) && at + FRAME_HEADER_BYTES + bytes.readUInt32BE(at) > bytes.length) return true;
  return hasZeroSector(bytes, at);
}

/** Whether from `at` on a whole sector, or what of one lies there, is zeros. */
function hasZeroSector(bytes: Buffer, from: number): boolean {
  for (let at = from; at < bytes.length; ) {
    const end = Math.min(bytes.length, (Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES);
    if (bytes.subarray(at, end).every((byte) => byte === 0)) return true;
    at = end;
  }
  return false;
}

const isHeader = (bytes: Buffer, at: number): boolean =>
  crc32c(bytes, at, at + CHECKED_BYTES) === bytes.readUInt32BE(at + CHECKED_BYTES);

function frameAt(bytes: Buffer, at: number): Frame | null {
  if (bytes.length - at < FRAME_HEADER_BYTES) return null;
  const length = bytes.readUInt32BE(at);
  const start = at + FRAME_HEADER_BYTES;
  if (length === 0 || length > FRAME_BYTES_MAX || length > bytes.length - start) return null;
  if (!isHeader(bytes, at)) return null;
  if (crc32c(bytes, start, start + length) !== bytes.readUInt32BE(at + 8)) return null;
  const entries = decodeEntries(bytes.toString("utf8", start, start + length));
  return entries === null
    ? null
    : { offset: at, entries, end: start + length, writtenAt: bytes.readUInt32BE(at + 4) };
}

/** Where the next good frame at or after `from` begins, wherever that is; the end if there is none. */
function nextFrame(bytes: Buffer, from: number): number {
  for (let at = from; at + FRAME_HEADER_BYTES <= bytes.length; at += 1) {
    if (frameAt(bytes, at) !== null) return at;
  }
  return bytes.length;
}

function decodeEntries(text: string): readonly Entry[] | null {
  try {
    const values: unknown = JSON.parse(text);
    return Array.isArray(values) ? values.map(decodeEntry) : null;
  } catch {
    return null; // the checksum was right by chance: no frame
  }
}

type Loose = Readonly<Record<string, unknown>>;

function decodeEntry(value: Loose): Entry {
  switch (value["kind"]) {
    case "open":
      return decodeOpen(value);
    case "commit":
      return {
        kind: "commit",
        gtrid: gtridOf(String(value["gtrid"])),
        participants: (value["participants"] as readonly Loose[]).map(decodeParticipant),
      };
    case "concluded":
      return { kind: "concluded", gtrid: gtridOf(String(value["gtrid"])) };
    case "reached":
      return { kind: "reached", seq: Number(value["seq"]) };
    case "begun":
    case "sealed":
      return { kind: value["kind"] };
    default:
      throw new Error("unknown entry");
  }
}

function decodeOpen({ epoch, known, gaps, segment, writer }: Loose): Entry {
  return {
    kind: "open",
    epoch: Number(epoch),
    known: decodePairs(known),
    gaps: decodePairs(gaps),
    ...(segment === undefined ? {} : { segment: Number(segment) }),
    ...(writer === undefined ? {} : { writer: Number(writer) }),
  };
}

const decodePairs = (pairs: unknown): readonly EpochRange[] =>
  (pairs as readonly (readonly unknown[])[]).map(([a, b]) => [Number(a), Number(b)]);

function decodeParticipant(value: Loose): Participant {
  const { shard, gid, xid, server } = value;
  return {
    shard: shardId(String(shard)),
    gid: gidOf(String(gid)),
    xid: typeof xid === "string" ? xidOf(xid) : null,
    server: typeof server === "string" ? server : null,
  };
}
