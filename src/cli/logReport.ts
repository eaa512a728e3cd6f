// Pure.
/** A decision log of files, as a person or a script reads it. */
import { unreachable } from "../base/invariant.ts";
import type { BadBytes, Entry } from "../txn/fileLog/segment.ts";
import { explainLoss, type FoundSegment, segmentName } from "../txn/fileLog/segmentFiles.ts";
import type { LogContents } from "./logContents.ts";

const BAD_WORDS: Readonly<Record<BadBytes["kind"], string>> = {
  torn: "a write that was cut short, of which nobody was told",
  harmless: "bad bytes, too few to have held anything",
  damaged: "DAMAGED",
};

export function renderDump(logs: readonly LogContents[], isJson: boolean): string {
  if (isJson) return JSON.stringify({ logs: logs.map(dumpOf) }, null, 2);
  return logs.flatMap((log) => [`${log.directory}:`, ...log.segments.flatMap(dumpLines)]).join("\n");
}

const dumpOf = ({ directory, segments }: LogContents) => ({
  directory,
  segments: segments.map(({ number, contents: { frames, bad } }) => ({
    segment: segmentName(number),
    frames: frames.map(({ offset, end, entries }) => ({ offset, bytes: end - offset, entries })),
    bad,
  })),
});

function dumpLines({ number, contents: { frames, bad } }: FoundSegment): readonly string[] {
  const lines = [
    ...frames.map(({ offset, entries }) => ({ offset, says: entries.map(wordsOf) })),
    ...bad.map(({ offset, bytes, kind }) => ({ offset, says: [`${bytes} bytes: ${BAD_WORDS[kind]}`] })),
  ];
  const sorted = lines.sort((a, b) => a.offset - b.offset);
  return [
    `  ${segmentName(number)}`,
    ...sorted.flatMap(({ offset, says }) =>
      says.map((text, i) => `    ${(i === 0 ? `@${offset}` : "").padEnd(10)}  ${text}`),
    ),
  ];
}

const name = (epoch: number): string => epoch.toString(36);

function wordsOf(entry: Entry): string {
  switch (entry.kind) {
    case "open": {
      const writer = entry.writer === undefined ? "" : `epoch ${name(entry.writer)} writes; `;
      const known = entry.known.map(([from, to]) =>
        from === to ? name(from) : `${name(from)} to ${name(to)}`,
      );
      const gaps = entry.gaps.map(([epoch]) => name(epoch));
      const lost = gaps.length === 0 ? "" : `, with gaps in ${gaps.join(", ")}`;
      return `open: ${writer}all commits are here of the epochs ${known.join(", ") || "(none)"}${lost}`;
    }
    case "begun":
      return "all that earlier segments say stands before this";
    case "commit": {
      const branches = entry.participants.map(({ shard, xid }) => `${shard} (xid ${xid ?? "none"})`);
      return `commit ${entry.gtrid} on ${branches.join(", ")}`;
    }
    case "concluded":
      return `concluded ${entry.gtrid}: every shard has applied it`;
    case "reached":
      return `no commit so far has a greater number than ${name(entry.seq)}`;
    case "sealed":
      return "sealed: all before this is durable";
    default:
      return unreachable(entry);
  }
}

export function renderVerdict(logs: readonly LogContents[], isJson: boolean): string {
  if (isJson) {
    const isWhole = logs.every(({ reading }) => reading.damage.length === 0);
    return JSON.stringify({ ok: isWhole, logs: logs.map(verdictOf) }, null, 2);
  }
  return logs.flatMap(verdictLines).join("\n");
}

const verdictOf = ({ directory, segments, reading, putAside }: LogContents) => ({
  directory,
  segments: segments.length,
  unconcluded: reading.state.commits.size,
  cut: reading.cuts.map((cut) => ({ ...cut, segment: segmentName(cut.segment) })),
  damage: reading.damage.map((one) => ({ ...one, segment: segmentName(one.segment) })),
  putAside,
});

function verdictLines({ directory, segments, reading, putAside }: LogContents): readonly string[] {
  const { cuts, damage, state } = reading;
  const frames = segments.reduce((sum, { contents }) => sum + contents.frames.length, 0);
  return [
    `${directory}: ${segments.length} segments, ${frames} frames, ${state.commits.size} commits not concluded`,
    ...cuts.map(
      ({ segment, offset, bytes }) =>
        `  ${segmentName(segment)} at ${offset}, ${bytes} bytes: ${BAD_WORDS.torn}. The next start cuts it off.`,
    ),
    ...damage.map(
      ({ segment, offset, bytes, why, loss }) =>
        `  ${segmentName(segment)} at ${offset}, ${bytes} bytes: damaged: ${why}. Lost: ${explainLoss(loss)}.`,
    ),
    ...putAside.map((file) => `  ${file}: damaged, and put aside by a start before`),
    damage.length === 0 ? "  whole" : "  DAMAGED",
  ];
}

/** All bytes of the segments. */
export const sizeOf = (logs: readonly LogContents[]): number =>
  logs
    .flatMap(({ segments }) => segments)
    .reduce((sum, { contents: { frames, bad } }) => {
      const ends = [...frames.map(({ end }) => end), ...bad.map(({ offset, bytes }) => offset + bytes)];
      return sum + ends.reduce((most, end) => Math.max(most, end), 0);
    }, 0);
