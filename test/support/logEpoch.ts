/** The epoch of the process that had a decision log of files last: what is named with it the log knows all about. */

import { readLog } from "../../src/txn/fileLog/logReading.ts";
import { NODE_DISK } from "../../src/txn/fileLog/nodeDisk.ts";
import { readSegments } from "../../src/txn/fileLog/segmentFiles.ts";

export async function lastEpoch(directory: string): Promise<number> {
  return readLog(await readSegments(NODE_DISK, directory)).state.epoch;
}
