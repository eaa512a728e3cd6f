/**
 * A segment in the making: it says all that the log says, and replaces the one in use without a pause.
 *
 * The commits are written to it piece by piece while decisions go on in the segment before; what happens meanwhile is
 * noted and follows. The frame that ends its beginning also has the next decisions, so that one sync makes both durable:
 * until then it counts for nothing (logReading.ts), from then on the segment before does.
 */
import { join } from "node:path";
import type { Gtrid } from "../../base/brands.ts";
import type { Participant } from "../decisionLog.ts";
import type { LogDisk } from "./logDisk.ts";
import type { Entry } from "./segment.ts";
import { segmentName } from "./segmentFiles.ts";
import { SegmentWriter } from "./segmentWriter.ts";

/** Entries with all their participants in one frame: below FRAME_BYTES_MAX by far, and a few ms to write. */
const FRAME_WEIGHT_MAX = 2_048;

/** How much an entry takes in a frame, in participants. */
export const weightOf = (entry: Entry): number =>
  entry.kind === "commit" ? 1 + entry.participants.length : 1;

export type Opening = Extract<Entry, { kind: "open" }>;

export class SegmentDraft {
  readonly writer: SegmentWriter;
  #pending: Entry[];
  #weight: number;
  #isFilled = false;
  #isAbandoned = false;

  private constructor(writer: SegmentWriter, opening: Opening) {
    this.writer = writer;
    this.#pending = [opening];
    this.#weight = 1;
  }

  static async begin(
    disk: LogDisk,
    directory: string,
    number: number,
    opening: Opening,
  ): Promise<SegmentDraft> {
    const file = await disk.create(join(directory, segmentName(number)));
    const draft = new SegmentDraft(new SegmentWriter(number, file), { ...opening, segment: number });
    try {
      draft.writer.begin();
      await disk.syncDirectory(directory); // a new file is found after a crash only if its directory is durable too
      return draft;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Whether the next frame may end the beginning. */
  get isReady(): boolean {
    return this.#isFilled && this.#weight <= FRAME_WEIGHT_MAX;
  }

  /** What happened since it was begun. */
  note(entry: Entry): void {
    this.#pending.push(entry);
    this.#weight += weightOf(entry);
  }

  /** Writes `commits`, which may change meanwhile, and what is noted, but for a last frame. */
  async fill(commits: Iterable<readonly [Gtrid, readonly Participant[]]>): Promise<void> {
    for (const [gtrid, participants] of commits) {
      this.note({ kind: "commit", gtrid, participants });
      if (this.#weight > FRAME_WEIGHT_MAX) await this.#flush();
      if (this.#isAbandoned) return;
    }
    while (this.#weight > FRAME_WEIGHT_MAX && !this.#isAbandoned) await this.#flush();
    this.#isFilled = true;
  }

  abandon(): void {
    this.#isAbandoned = true;
  }

  /** What ends the beginning, followed by `entries`. */
  ending(entries: readonly Entry[]): readonly Entry[] {
    return [...this.#pending, { kind: "begun" }, ...entries];
  }

  async #flush(): Promise<void> {
    const part: Entry[] = [];
    for (let weight = 0; weight < FRAME_WEIGHT_MAX && this.#pending.length > part.length; ) {
      const entry = this.#pending[part.length]!;
      part.push(entry);
      weight += weightOf(entry);
      this.#weight -= weightOf(entry);
    }
    this.#pending = this.#pending.slice(part.length);
    this.writer.append(part);
    await this.writer.sync("fdatasync");
  }
}

/** Makes a segment at a start, durable before it returns. */
export async function makeSegment(
  disk: LogDisk,
  directory: string,
  number: number,
  opening: Opening,
  commits: ReadonlyMap<Gtrid, readonly Participant[]>,
): Promise<SegmentWriter> {
  const draft = await SegmentDraft.begin(disk, directory, number, opening);
  await draft.fill(commits);
  draft.writer.append(draft.ending([]));
  await draft.writer.sync("fsync");
  return draft.writer;
}
