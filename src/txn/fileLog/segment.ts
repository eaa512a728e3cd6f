// Pure.
/**
 * The bytes of a log segment: a magic word, then frames, each a length, a checksum and a list of entries.
 *
 *     "PGXALOG1"  { length u32 | crc32c u32 | entries as JSON }*          (big-endian)
 *
 * One frame is what one fdatasync made durable, however many decisions that were, and the next frame is written only
 * after that. So the end of a crash is one bad frame at the end of the last segment: a torn tail, which nobody has
 * been told of, and which is cut. A bad frame with a good one behind it was durable once: it is damage, and it may
 * have held decisions.
 */
import { type Gtrid, gidOf, gtridOf, shardId, xidOf } from "../../base/brands.ts";
import type { Participant } from "../decisionLog.ts";
import { crc32c } from "./crc32c.ts";

export type Entry =
  /** First in every segment. Of transactions of epochs before `firstEpoch` this log knows nothing. */
  | { readonly kind: "open"; readonly epoch: number; readonly firstEpoch: number }
  /** Decisions of epochs up to this one may have been lost to damage. */
  | { readonly kind: "damage"; readonly upToEpoch: number }
  | { readonly kind: "commit"; readonly gtrid: Gtrid; readonly participants: readonly Participant[] }
  | { readonly kind: "concluded"; readonly gtrid: Gtrid };

export const MAGIC = Buffer.from("PGXALOG1");
const FRAME_HEADER_BYTES = 8;
/** No frame is longer; a longer length is not one. */
export const FRAME_BYTES_MAX = 16 * 1024 * 1024;

export function encodeFrame(entries: readonly Entry[]): Buffer {
  const payload = Buffer.from(JSON.stringify(entries));
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + payload.length);
  frame.writeUInt32BE(payload.length, 0);
  frame.writeUInt32BE(crc32c(payload), 4);
  payload.copy(frame, FRAME_HEADER_BYTES);
  return frame;
}

export interface SegmentContents {
  readonly entries: readonly Entry[];
  /** Where the good frames end. */
  readonly goodBytes: number;
  /** `torn`: nothing good follows the end; `damaged`: something does. */
  readonly kind: "whole" | "torn" | "damaged";
  /** Whether its first frame is good: that one says all that the segments before it say. */
  readonly hasBeginning: boolean;
}

const contents = (
  entries: readonly Entry[],
  goodBytes: number,
  kind: SegmentContents["kind"],
): SegmentContents => ({
  entries,
  goodBytes,
  kind,
  hasBeginning: goodBytes > MAGIC.length && entries[0]?.kind === "open",
});

/** Reads a segment as far as it is good, and beyond damage what is good again. */
export function readSegment(bytes: Buffer): SegmentContents {
  if (bytes.length < MAGIC.length) return contents([], 0, "torn");
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) {
    const beyond = resync(bytes, 0);
    return contents(beyond, 0, beyond.length > 0 ? "damaged" : "torn");
  }
  const entries: Entry[] = [];
  let at = MAGIC.length;
  while (at < bytes.length) {
    const frame = frameAt(bytes, at);
    if (frame === null) {
      const beyond = resync(bytes, at + 1);
      return contents([...entries, ...beyond], at, beyond.length > 0 ? "damaged" : "torn");
    }
    entries.push(...frame.entries);
    at = frame.end;
  }
  return contents(entries, at, "whole");
}

interface Frame {
  readonly entries: readonly Entry[];
  readonly end: number;
}

function frameAt(bytes: Buffer, at: number): Frame | null {
  if (bytes.length - at < FRAME_HEADER_BYTES) return null;
  const length = bytes.readUInt32BE(at);
  const start = at + FRAME_HEADER_BYTES;
  if (length === 0 || length > FRAME_BYTES_MAX || length > bytes.length - start) return null;
  if (crc32c(bytes, start, start + length) !== bytes.readUInt32BE(at + 4)) return null;
  const entries = decodeEntries(bytes.toString("utf8", start, start + length));
  return entries === null ? null : { entries, end: start + length };
}

/** All good frames at or after `from`, wherever they begin. */
function resync(bytes: Buffer, from: number): Entry[] {
  const entries: Entry[] = [];
  for (let at = from; at + FRAME_HEADER_BYTES <= bytes.length; ) {
    const frame = frameAt(bytes, at);
    if (frame !== null) entries.push(...frame.entries);
    at = frame === null ? at + 1 : frame.end;
  }
  return entries;
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
      return { kind: "open", epoch: Number(value["epoch"]), firstEpoch: Number(value["firstEpoch"]) };
    case "damage":
      return { kind: "damage", upToEpoch: Number(value["upToEpoch"]) };
    case "commit":
      return {
        kind: "commit",
        gtrid: gtridOf(String(value["gtrid"])),
        participants: (value["participants"] as readonly Loose[]).map(decodeParticipant),
      };
    case "concluded":
      return { kind: "concluded", gtrid: gtridOf(String(value["gtrid"])) };
    default:
      throw new Error("unknown entry");
  }
}

function decodeParticipant(value: Loose): Participant {
  const { shard, gid, xid, server } = value;
  return {
    shard: shardId(String(shard)),
    gid: gidOf(String(gid)),
    xid: typeof xid === "string" ? xidOf(xid) : null,
    server: typeof server === "string" ? server : null,
  };
}
