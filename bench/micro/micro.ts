/**
 * A micro-benchmark: one part of the hot path by itself, with what it does counted.
 *
 * Time is what a person looks at; what tests hold it to is what does not depend on the machine: bytes allocated, writes,
 * bytes looked at. So a claim such as "one write for a chunk" stands as long as its test passes.
 */
import { getHeapStatistics } from "node:v8";

export interface Micro {
  readonly name: string;
  /** What one operation is. */
  readonly about: string;
  /** Makes what it runs on. */
  setUp(): MicroRun;
}

export interface MicroRun {
  /** Does it so many times. */
  run(times: number): void;
  /** What was counted since the start, by name; totals. */
  counts(): Readonly<Record<string, number>>;
  /** Ends what would keep the process alive. */
  close?(): void;
}

export interface MicroFigures {
  readonly times: number;
  /** The median over the rounds. */
  readonly nsEach: number;
  /** Bytes allocated on JavaScript's heap; the least of the rounds, for the compiler allocates, too. */
  readonly bytesEach: number;
  /** For each operation. */
  readonly counts: Readonly<Record<string, number>>;
}

const WARM_UP = 0.25;

export function measure(micro: Micro, times: number, rounds: number): MicroFigures {
  const made = micro.setUp();
  made.run(Math.max(1, Math.round(times * WARM_UP)));
  const before = made.counts();
  const each = Array.from({ length: rounds }, () => oneRound(made, times));
  const after = made.counts();
  made.close?.();
  const counts = Object.entries(after).map(([name, total]) => [
    name,
    (total - (before[name] ?? 0)) / (times * rounds),
  ]);
  const sorted = each.map(({ nsEach }) => nsEach).toSorted((a, b) => a - b);
  return {
    times,
    nsEach: sorted[rounds >> 1]!,
    bytesEach: Math.min(...each.map(({ bytesEach }) => bytesEach)),
    counts: Object.fromEntries(counts) as Readonly<Record<string, number>>,
  };
}

function oneRound(made: MicroRun, times: number): { readonly nsEach: number; readonly bytesEach: number } {
  const bytesBefore = allocatedBytes();
  const began = process.hrtime.bigint();
  made.run(times);
  const ns = Number(process.hrtime.bigint() - began);
  return { nsEach: ns / times, bytesEach: Math.max(0, allocatedBytes() - bytesBefore - PROBE_BYTES) / times };
}

/** Since the process began. */
const allocatedBytes = (): number =>
  (getHeapStatistics() as { readonly total_allocated_bytes?: number }).total_allocated_bytes ?? Number.NaN;

/** What asking costs. */
const PROBE_BYTES = probeBytes();

function probeBytes(): number {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 10; i++) {
    const before = allocatedBytes();
    process.hrtime.bigint();
    Number(process.hrtime.bigint());
    least = Math.min(least, allocatedBytes() - before);
  }
  return least;
}
