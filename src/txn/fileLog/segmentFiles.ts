/** The segments of a decision log as files of one directory. */
import { join } from "node:path";
import type { Log } from "../../observe/log.ts";
import { type LogDisk, type LogFile, writeAll } from "./logDisk.ts";
import type { LogState } from "./logState.ts";
import { encodeFrame, MAGIC, readSegment, type SegmentContents } from "./segment.ts";

const SEGMENT_NAME = /^decisions-(\d{10})\.log$/;
const segmentName = (number: number): string => `decisions-${String(number).padStart(10, "0")}.log`;

export interface OpenSegment {
  readonly file: LogFile;
  readonly number: number;
  readonly bytes: number;
}

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

/**
 * Takes what was found into `state`, without a torn tail; returns the segments that are damaged.
 *
 * The last segment with a good beginning says all that those before it say, whatever state they are in. One without
 * can follow it only if a crash fell into its making: then it holds nothing.
 */
export function takeIn(found: readonly FoundSegment[], state: LogState, log: Log): readonly FoundSegment[] {
  const from = found.findLastIndex(({ contents }) => contents.hasBeginning);
  const current = found.slice(Math.max(from, 0));
  for (const { number, contents } of current) {
    for (const entry of contents.entries) state.apply(entry);
    const fields = { segment: segmentName(number), goodBytes: contents.goodBytes };
    if (contents.kind === "torn") log.warn("log.tail_cut", fields);
    if (contents.kind === "damaged") log.error("log.damaged", fields);
  }
  return current.filter(({ contents }) => contents.kind === "damaged");
}

/** Makes a segment that says all of `state`, durable before it returns. */
export async function createSegment(
  disk: LogDisk,
  directory: string,
  number: number,
  state: LogState,
): Promise<OpenSegment> {
  const file = await disk.create(join(directory, segmentName(number)));
  const bytes = Buffer.concat([MAGIC, encodeFrame(state.snapshot())]);
  writeAll(file, bytes);
  await file.sync("fsync");
  await disk.syncDirectory(directory); // a new file is found after a crash only if its directory is durable too
  return { file, number, bytes: bytes.length };
}

export async function removeSegments(
  disk: LogDisk,
  directory: string,
  numbers: readonly number[],
): Promise<void> {
  for (const number of numbers) await disk.remove(join(directory, segmentName(number)));
}
