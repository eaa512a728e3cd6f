// Pure.
/**
 * What the segments of a log say together, and what damage may have taken from them.
 *
 * The last segment with a whole beginning says all that those before it say, whatever state they are in. One without
 * that follows it was being made when a crash came, and says nothing, unless something shows that it had been finished.
 *
 * A gap behind the beginning of a segment holds what its process wrote: commits of that process's own epoch, with
 * numbers up to the next `reached`, and logs that it took over, whose epochs are not known then. Where a beginning is
 * damaged, or a whole segment is missing, any commit may be lost: no epoch is known any more.
 */
import { parseGtrid } from "../gid.ts";
import { LogState } from "./logState.ts";
import type { BadBytes, Entry, Frame, SegmentContents } from "./segment.ts";

export interface NumberedSegment {
  /** As its name says. */
  readonly number: number;
  readonly contents: SegmentContents;
}

export type Loss =
  | { readonly kind: "nothing" }
  | { readonly kind: "epoch"; readonly epoch: number; readonly upToSeq: number }
  | { readonly kind: "everything" };

export interface Damage {
  /** The number in the segment's name. */
  readonly segment: number;
  readonly offset: number;
  readonly bytes: number;
  readonly why:
    | "bytes were changed"
    | "its name is that of another segment"
    | "its beginning, or the segment before it, is missing";
  readonly loss: Loss;
}

export interface Reading {
  readonly state: LogState;
  /** The greatest number that a segment has or gives itself. */
  readonly lastNumber: number;
  readonly damage: readonly Damage[];
  /** Torn tails, and segments that were being made. */
  readonly cuts: readonly { readonly segment: number; readonly offset: number; readonly bytes: number }[];
}

/** `upToSeq` where no frame behind the gap tells. */
export const EVERY_SEQ = Number.MAX_SAFE_INTEGER;

export function readLog(found: readonly NumberedSegment[]): Reading {
  const sorted = [...found].sort((a, b) => ownNumber(a) - ownNumber(b));
  const reader = new LogReader(Math.max(0, ...sorted.map((one) => Math.max(one.number, ownNumber(one)))));
  const from = sorted.findLastIndex(({ contents }) => contents.beginningFrames > 0);
  let before: NumberedSegment | null = null;
  if (from >= 0) {
    before = sorted[from]!;
    reader.readWhole(before);
  }
  for (const segment of sorted.slice(from + 1)) {
    reader.readBroken(segment, before?.number ?? 0);
    before = segment;
  }
  return reader;
}

class LogReader implements Reading {
  readonly state = new LogState();
  readonly lastNumber: number;
  readonly damage: Damage[] = [];
  readonly cuts: { segment: number; offset: number; bytes: number }[] = [];

  constructor(lastNumber: number) {
    this.lastNumber = lastNumber;
  }

  readWhole(segment: NumberedSegment): void {
    const { number, contents } = segment;
    const { frames, bad, beginningFrames } = contents;
    const { writer = 0 } = openingOf(contents);
    this.#apply(frames.slice(0, beginningFrames));
    const { known } = this.state.opening();
    this.#apply(frames.slice(beginningFrames));
    const beginningEnd = frames[beginningFrames - 1]!.end;
    for (const one of bad) {
      if (one.kind === "torn") this.#cut(number, one);
      if (one.kind !== "damaged") continue;
      const loss: Loss =
        one.offset < beginningEnd
          ? { kind: "nothing" }
          : { kind: "epoch", epoch: writer, upToSeq: reachedAfter(frames, one.offset) };
      this.damage.push({ segment: number, ...placeOf(one), why: "bytes were changed", loss });
      this.#lose(loss, known);
    }
    if (ownNumber(segment) !== number) {
      const loss: Loss = { kind: "epoch", epoch: writer, upToSeq: EVERY_SEQ };
      const why = "its name is that of another segment";
      this.damage.push({ segment: number, offset: 0, bytes: sizeOf(contents), why, loss });
      this.#lose(loss, known);
    }
  }

  /** One without a whole beginning, behind that of number `before`; 0: there is none. */
  readBroken({ number, contents }: NumberedSegment, before: number): void {
    const isNext = number === before + 1;
    if (isNext && wasBeingMade(contents)) {
      this.#cut(number, { offset: 0, bytes: sizeOf(contents) });
      return;
    }
    this.#apply(contents.frames);
    const loss: Loss = { kind: "everything" };
    const changed = contents.bad.filter(({ kind }) => kind === "damaged");
    for (const one of changed) {
      this.damage.push({ segment: number, ...placeOf(one), why: "bytes were changed", loss });
    }
    if (changed.length === 0) {
      const why = "its beginning, or the segment before it, is missing";
      this.damage.push({ segment: number, offset: 0, bytes: sizeOf(contents), why, loss });
    }
    this.#lose(loss, []);
  }

  #apply(frames: readonly Frame[]): void {
    for (const { entries } of frames) {
      for (const entry of entries) {
        this.state.apply(entry);
        // An `open` may be lost: epochs must grow all the same.
        if (entry.kind === "commit") this.#noteEpoch(parseGtrid(entry.gtrid)?.epoch ?? 0);
      }
    }
  }

  #noteEpoch(epoch: number): void {
    this.state.epoch = Math.max(this.state.epoch, epoch);
  }

  #lose(loss: Loss, known: readonly (readonly [number, number])[]): void {
    if (loss.kind === "nothing") return;
    this.state.known.clear();
    if (loss.kind === "everything") return;
    for (const [from, to] of known) this.state.known.add(from, to);
    this.state.addGap(loss.epoch, loss.upToSeq);
  }

  #cut(segment: number, { offset, bytes }: Pick<BadBytes, "offset" | "bytes">): void {
    this.cuts.push({ segment, offset, bytes });
  }
}

const placeOf = ({ offset, bytes }: BadBytes): Pick<Damage, "offset" | "bytes"> => ({ offset, bytes });

type Opening = Extract<Entry, { kind: "open" }>;

function openingOf({ frames }: SegmentContents): Partial<Opening> {
  const first = frames[0]?.entries[0];
  return first?.kind === "open" ? first : {};
}

/** The number that a segment gives itself, or else that of its name. */
const ownNumber = ({ number, contents }: NumberedSegment): number => openingOf(contents).segment ?? number;

const sizeOf = ({ frames, bad }: SegmentContents): number =>
  Math.max(0, ...frames.map(({ end }) => end), ...bad.map(({ offset, bytes }) => offset + bytes));

/** Nothing that comes with the end of a beginning is in it, and what is wrong at its end a crash explains. */
function wasBeingMade({ frames, bad }: SegmentContents): boolean {
  const isFinished = frames.some(({ entries }) =>
    entries.some(({ kind }) => kind === "begun" || kind === "reached" || kind === "sealed"),
  );
  const last = bad.at(-1);
  const isChanged = last?.kind === "damaged" && last.offset > (frames.at(-1)?.offset ?? -1);
  return !isFinished && !isChanged;
}

/** No commit in front of `offset` has a greater number. */
function reachedAfter(frames: readonly Frame[], offset: number): number {
  for (const frame of frames) {
    if (frame.offset < offset) continue;
    for (const entry of frame.entries) if (entry.kind === "reached") return entry.seq;
  }
  return EVERY_SEQ;
}
