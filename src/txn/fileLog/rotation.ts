/** When a segment of the decision log is replaced, and by what: the next one is made while decisions go on in it. */
import { join } from "node:path";
import type { Log } from "../../observe/log.ts";
import type { LogDisk } from "./logDisk.ts";
import type { LogState } from "./logState.ts";
import type { Entry } from "./segment.ts";
import { SegmentDraft } from "./segmentDraft.ts";
import { removeSegments, segmentName } from "./segmentFiles.ts";
import type { SegmentWriter } from "./segmentWriter.ts";

export interface RotationOptions {
  readonly disk: LogDisk;
  readonly directory: string;
  readonly log: Log;
  /** A segment that has grown beyond this, and beyond twice what it began with, is replaced. */
  readonly segmentBytesMax: number;
}

export class Rotation {
  readonly #options: RotationOptions;
  readonly #state: LogState;
  readonly #epoch: number;
  #segment: SegmentWriter;
  /** When the segment in use has that many bytes, the next one is begun. */
  #atBytes: number;
  #draft: SegmentDraft | null = null;
  /** What has become known of epochs since the next segment's opening was taken, until there is a draft that is told. */
  #learned: Entry[] = [];
  /** What goes on in the background: a draft that is filled, or an old segment that is removed. */
  #work: Promise<void> | null = null;

  /** `epoch`: of the process that writes `segment`. */
  constructor(options: RotationOptions, state: LogState, epoch: number, segment: SegmentWriter) {
    this.#options = options;
    this.#state = state;
    this.#epoch = epoch;
    this.#segment = segment;
    this.#atBytes = Math.max(options.segmentBytesMax, 2 * segment.bytes);
  }

  /** What happened to the log, for the draft. */
  note(entry: Entry): void {
    if (this.#draft !== null) this.#draft.note(entry);
    else if (entry.kind === "open") this.#learned.push(entry);
  }

  /** Writes the next segment's first frame of decisions; null if there is none to be written to. */
  async put(entries: readonly Entry[]): Promise<SegmentWriter | null> {
    const draft = this.#draft;
    if (draft === null || this.#work !== null) return null;
    if (!draft.isReady) {
      this.#do(() => draft.fill([])); // much has happened since it was filled
      return null;
    }
    try {
      draft.writer.append(draft.ending(entries));
      this.#draft = null;
      return draft.writer;
    } catch (error) {
      await draft.writer.cutBack(error);
      this.#drop(draft, error);
      return null;
    }
  }

  /** `segment` is durable, and in use from now on. */
  wrote(segment: SegmentWriter): void {
    const old = this.#segment;
    if (segment !== old) {
      this.#segment = segment;
      this.#atBytes = Math.max(this.#options.segmentBytesMax, 2 * segment.bytes);
      this.#do(() => this.#remove(old));
    } else if (segment.bytes > this.#atBytes && this.#draft === null && this.#work === null) {
      this.#do(() => this.#begin(segment.number + 1));
    }
  }

  /** `current`: what was written last, also if its sync failed; both segments stay then. */
  async stop(current: SegmentWriter): Promise<void> {
    this.#draft?.abandon();
    await this.#work;
    const draft = this.#draft;
    if (draft !== null) this.#drop(draft, null);
    await this.#work;
    if (this.#segment !== current) await this.#segment.close();
  }

  #do(work: () => Promise<void>): void {
    this.#work = work()
      .catch((error: unknown) => this.#complain(error))
      .finally(() => {
        this.#work = null;
      });
  }

  async #begin(number: number): Promise<void> {
    const { disk, directory } = this.#options;
    const opening = { ...this.#state.opening(), writer: this.#epoch };
    this.#learned = [];
    this.#postpone();
    const draft = await SegmentDraft.begin(disk, directory, number, opening).catch(async (error) => {
      await this.#removeFile(number);
      throw error;
    });
    for (const entry of this.#learned.splice(0)) draft.note(entry);
    this.#draft = draft;
    try {
      await draft.fill(this.#state.commits);
    } catch (error) {
      this.#draft = null;
      await this.#discard(draft);
      throw error;
    }
  }

  /** It counts for nothing without its last frame. */
  #drop(draft: SegmentDraft, error: unknown): void {
    this.#draft = null;
    if (error !== null) this.#complain(error);
    this.#do(() => this.#discard(draft));
  }

  async #discard(draft: SegmentDraft): Promise<void> {
    await draft.writer.close();
    await this.#removeFile(draft.writer.number);
  }

  async #removeFile(number: number): Promise<void> {
    const { disk, directory } = this.#options;
    await disk.remove(join(directory, segmentName(number)));
    await disk.syncDirectory(directory);
  }

  async #remove(old: SegmentWriter): Promise<void> {
    const { disk, directory } = this.#options;
    await old.close();
    await removeSegments(disk, directory, [old.number]);
  }

  #postpone(): void {
    this.#atBytes = this.#segment.bytes + this.#options.segmentBytesMax;
  }

  /** Nothing is lost: the segment in use goes on. */
  #complain(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    this.#options.log.warn("log.rotation_failed", { directory: this.#options.directory, reason });
  }
}
