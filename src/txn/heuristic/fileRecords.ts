/**
 * Heuristic outcomes beside the decision log of files: a file of JSON lines that only grows.
 *
 * Each line is appended in one write and synced; of two lines for one transaction the first stands, so that it
 * does not matter which process of an online restart wrote which. A later line with the same outcome tells what became
 * known since. A line that a crash has torn was told to nobody, and is passed over.
 */
import { mkdir, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Gtrid } from "../../base/brands.ts";
import { NODE_DISK } from "../fileLog/nodeDisk.ts";
import { type HeuristicRecord, type HeuristicRecords, readRecordText } from "./heuristicRecord.ts";
import type { Verdict } from "./rulingTable.ts";

const NAME = "heuristics.jsonl";

export class FileRecords implements HeuristicRecords {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async list(): Promise<readonly HeuristicRecord[]> {
    const standing = new Map<Gtrid, HeuristicRecord>();
    for (const line of (await this.#text()).split("\n")) {
      const record = readRecordText(line);
      if (record === null) continue;
      const first = standing.get(record.gtrid);
      if (first === undefined) standing.set(record.gtrid, record);
      else if (first.outcome === record.outcome)
        standing.set(record.gtrid, { ...first, verdict: record.verdict });
    }
    return [...standing.values()];
  }

  async add(record: HeuristicRecord): Promise<HeuristicRecord> {
    const before = await this.#find(record.gtrid);
    if (before !== undefined) return before;
    await this.#append(record);
    return (await this.#find(record.gtrid))!;
  }

  async note(record: HeuristicRecord, verdict: Verdict): Promise<void> {
    await this.#append({ ...record, verdict });
  }

  async #find(gtrid: Gtrid): Promise<HeuristicRecord | undefined> {
    return (await this.list()).find((record) => record.gtrid === gtrid);
  }

  async #text(): Promise<string> {
    try {
      return await readFile(join(this.#directory, NAME), "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
      throw error;
    }
  }

  async #append(record: HeuristicRecord): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const handle = await open(join(this.#directory, NAME), "a", 0o600);
    try {
      // The line break in front ends a line that was torn.
      await handle.write(`\n${JSON.stringify(record)}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await NODE_DISK.syncDirectory(this.#directory);
  }
}
