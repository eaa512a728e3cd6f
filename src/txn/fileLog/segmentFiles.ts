/** The segments of a decision log as files of one directory. */
import { writeSync } from "node:fs";
import { type FileHandle, open, readdir, readFile, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "../../observe/log.ts";
import type { LogState } from "./logState.ts";
import { encodeFrame, MAGIC, readSegment, type SegmentContents } from "./segment.ts";

const SEGMENT_NAME = /^decisions-(\d{10})\.log$/;
const segmentName = (number: number): string => `decisions-${String(number).padStart(10, "0")}.log`;

export interface OpenSegment {
  readonly handle: FileHandle;
  readonly number: number;
  readonly bytes: number;
}

export interface FoundSegment {
  readonly number: number;
  readonly path: string;
  readonly contents: SegmentContents;
}

/** All segments of the directory, oldest first. */
export async function readSegments(directory: string): Promise<readonly FoundSegment[]> {
  const numbers = (await readdir(directory))
    .map((name) => SEGMENT_NAME.exec(name)?.[1])
    .filter((number) => number !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
  const found: FoundSegment[] = [];
  for (const number of numbers) {
    const path = join(directory, segmentName(number));
    found.push({ number, path, contents: readSegment(await readFile(path)) });
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
  directory: string,
  number: number,
  state: LogState,
): Promise<OpenSegment> {
  const handle = await open(join(directory, segmentName(number)), "ax", 0o600);
  const bytes = Buffer.concat([MAGIC, encodeFrame(state.snapshot())]);
  writeAll(handle.fd, bytes);
  await handle.sync();
  await syncDirectory(directory);
  return { handle, number, bytes: bytes.length };
}

export async function removeSegments(directory: string, numbers: readonly number[]): Promise<void> {
  for (const number of numbers) await unlink(join(directory, segmentName(number)));
}

/** A new file is found after a crash only if its directory is durable too. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Small writes to the page cache: not worth a thread. */
export function writeAll(fd: number, bytes: Buffer): void {
  for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written);
}
