/** The segments of a decision log as files of one directory. */
import { join } from "node:path";
import type { Log } from "../../observe/log.ts";
import type { LogDisk } from "./logDisk.ts";
import { type Loss, type Reading, readLog } from "./logReading.ts";
import { readSegment, type SegmentContents } from "./segment.ts";

const SEGMENT_NAME = /^decisions-(\d{10})\.log$/;
export const segmentName = (number: number): string => `decisions-${String(number).padStart(10, "0")}.log`;

export interface FoundSegment {
  readonly number: number;
  readonly path: string;
  readonly contents: SegmentContents;
}

/** All segments of the directory, oldest first. */
export async function readSegments(disk: LogDisk, directory: string): Promise<readonly FoundSegment[]> {
  const numbers = (await disk.list(directory))
    .map((name) => SEGMENT_NAME.exec(name)?.[1])
    .filter((number) => number !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
  const found: FoundSegment[] = [];
  for (const number of numbers) {
    const path = join(directory, segmentName(number));
    found.push({ number, path, contents: readSegment(await disk.read(path)) });
  }
  return found;
}

/** What the segments of `directory` say, and which are damaged; damage and torn tails are logged. */
export function takeIn(
  directory: string,
  found: readonly FoundSegment[],
  log: Log,
): { readonly reading: Reading; readonly damaged: readonly FoundSegment[] } {
  const reading = readLog(found);
  for (const { segment, offset, bytes } of reading.cuts) {
    log.warn("log.tail_cut", { directory, segment: segmentName(segment), offset, bytes });
  }
  for (const { segment, offset, bytes, why, loss } of reading.damage) {
    const fields = { directory, segment: segmentName(segment), offset, bytes, reason: why };
    log.error("log.damaged", { ...fields, lost: explainLoss(loss) });
  }
  const names = new Set(reading.damage.map(({ segment }) => segment));
  return { reading, damaged: found.filter(({ number }) => names.has(number)) };
}

export function explainLoss(loss: Loss): string {
  switch (loss.kind) {
    case "nothing":
      return "nothing";
    case "everything":
      return "any commit decided before this start may be lost: what is prepared and not found in the log is left as it is";
    case "epoch": {
      const upTo =
        loss.upToSeq === Number.MAX_SAFE_INTEGER ? "" : ` with numbers up to ${loss.upToSeq.toString(36)}`;
      return `commits of epoch ${loss.epoch.toString(36)}${upTo} may be lost: what is prepared of them is left as it is`;
    }
  }
}

/** Removed for good before it returns. */
export async function removeSegments(
  disk: LogDisk,
  directory: string,
  numbers: readonly number[],
): Promise<void> {
  for (const number of numbers) await disk.remove(join(directory, segmentName(number)));
  await disk.syncDirectory(directory);
}
