/** What is in the directory of a decision log, and in those of heirs below it; nothing is changed. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { type Reading, readLog } from "../txn/fileLog/logReading.ts";
import { NODE_DISK } from "../txn/fileLog/nodeDisk.ts";
import { type FoundSegment, readSegments } from "../txn/fileLog/segmentFiles.ts";

export interface LogContents {
  readonly directory: string;
  readonly segments: readonly FoundSegment[];
  readonly reading: Reading;
  /** Segments that a start found damaged and put aside. */
  readonly putAside: readonly string[];
}

const ATTEMPTS_MAX = 5;

/** The log of `directory` first. */
export async function readLogs(directory: string): Promise<readonly LogContents[]> {
  const names = await readdir(directory);
  const heirs = names.filter((name) => /^heir-[0-9a-z]{1,11}$/.test(name)).sort();
  const all: LogContents[] = [];
  for (const place of [directory, ...heirs.map((name) => join(directory, name))]) all.push(await read(place));
  return all;
}

async function read(directory: string): Promise<LogContents> {
  const segments = await readQuiet(directory);
  const putAside = (await readdir(directory)).filter((name) => name.endsWith(".damaged")).sort();
  return { directory, segments, reading: readLog(segments), putAside };
}

/** A process that runs may replace a segment between the listing and the reading. */
async function readQuiet(directory: string): Promise<readonly FoundSegment[]> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await readSegments(NODE_DISK, directory);
    } catch (error) {
      const isGone = (error as NodeJS.ErrnoException).code === "ENOENT";
      if (!isGone || attempt === ATTEMPTS_MAX) throw error;
    }
  }
}
