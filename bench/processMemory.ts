/**
 * The memory of a process and its children, as Linux counts it: what is resident, and the most that ever was.
 * https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
 */
import { readFileSync, writeFileSync } from "node:fs";
import { childrenOf } from "./processTime.ts";

const BYTES_PER_KIB = 1024;

export interface Memory {
  readonly residentBytes: number;
  /** The most that was resident since the last `forgetPeak`. */
  readonly peakBytes: number;
}

/** Null where it can't be read. */
export function memoryOf(pid: number): Memory | null {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const children = childrenOf(pid).map(memoryOf);
    const sum = (own: number, of: (child: Memory) => number) =>
      children.reduce((total, child) => total + (child === null ? 0 : of(child)), own);
    return {
      residentBytes: sum(bytesIn(status, "VmRSS"), (child) => child.residentBytes),
      peakBytes: sum(bytesIn(status, "VmHWM"), (child) => child.peakBytes),
    };
  } catch {
    return null; // not Linux, or the process has ended
  }
}

/** From now on the peak is counted anew; false where that can't be had. */
export function forgetPeak(pid: number): boolean {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, "5");
    return childrenOf(pid).every(forgetPeak);
  } catch {
    return false;
  }
}

/** How much memory a process needs while something goes on. */
export class PeakWatch {
  readonly #pid: number;
  readonly #beforeBytes: number;
  peakBytes = 0;

  private constructor(pid: number, beforeBytes: number) {
    this.#pid = pid;
    this.#beforeBytes = beforeBytes;
  }

  /** Null where it can't be had. */
  static begin(pid: number): PeakWatch | null {
    const before = memoryOf(pid);
    return before !== null && forgetPeak(pid) ? new PeakWatch(pid, before.residentBytes) : null;
  }

  /** Notes what the peak is by now. */
  look(): void {
    this.peakBytes = Math.max(this.peakBytes, memoryOf(this.#pid)?.peakBytes ?? 0);
  }

  get grownBytes(): number {
    return this.peakBytes - this.#beforeBytes;
  }
}

/** A line of a status file, such as `VmRSS:    12345 kB`, in bytes; 0 if there is none. */
export function bytesIn(status: string, name: string): number {
  const found = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status);
  return Number(found?.[1] ?? 0) * BYTES_PER_KIB;
}
