/**
 * The processor time a process and its children have used, as Linux counts it.
 * https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
 */
import { readFileSync } from "node:fs";

/** The kernel reports in ticks of USER_HZ, which is 100 on every platform Node runs on. */
const US_PER_TICK = 10_000;

/** User and system time of `pid` and its living descendants in µs; null where it can't be read. */
export function processTimeUs(pid: number): number | null {
  try {
    const own = ticksOf(readFileSync(`/proc/${pid}/stat`, "utf8")) * US_PER_TICK;
    return childrenOf(pid).reduce((sum, child) => sum + (processTimeUs(child) ?? 0), own);
  } catch {
    return null; // not Linux, or the process has ended
  }
}

/** utime + stime of a stat line. The command's name may hold blanks and parentheses: count from its last one. */
export function ticksOf(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

/** The pids of the processes that `pid` has started and that live. */
export function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  return text === "" ? [] : text.split(" ").map(Number);
}
