/**
 * Processes as the operating system sees them: which are alive, which are whose children, which are still the same.
 *
 * A pid alone proves nothing, since the system gives it out again; with the moment the process started it does. A
 * zombie counts as dead: it holds no memory, no port and no lock any more, only its entry in the table. Linux is
 * asked through /proc, because small images have no `ps`; others through `ps`.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

const POLL_MS = 10;
const ON_LINUX = process.platform === "linux";

/** When the process started, in the system's own words; null if there is none or it is a zombie. */
export function startOfProcess(pid: number): string | null {
  if (ON_LINUX) {
    const stat = statOf(pid);
    return stat === null || stat.state === "Z" || stat.state === "X" ? null : stat.startTicks;
  }
  const [state, start] = [psOf(pid, "stat="), psOf(pid, "lstart=")];
  return state === null || state.startsWith("Z") ? null : start;
}

export const isAlive = (pid: number): boolean => startOfProcess(pid) !== null;

/** The directory a process runs in, or null if that cannot be learned. */
export function directoryOfProcess(pid: number): string | null {
  if (!ON_LINUX) return null;
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return null;
  }
}

/** The command line of a process, or null. */
export function commandOfProcess(pid: number): string | null {
  if (!ON_LINUX) return psOf(pid, "command=");
  return readOrNull(`/proc/${pid}/cmdline`)?.replaceAll("\0", " ").trim() ?? null;
}

/** The pids of the direct children. */
export function childrenOf(pid: number): number[] {
  if (!ON_LINUX) return pidsFrom(outputOf("pgrep", ["-P", String(pid)]) ?? "");
  return pidsFrom(readdirSync("/proc").join(" ")).filter((other) => statOf(other)?.parent === pid);
}

/** Sends the signal; false if the process is gone. */
export function signalProcess(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}

/** Whether all of them were gone within `timeoutMs`. */
export async function areGone(pids: readonly number[], timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (pids.some(isAlive)) {
    if (performance.now() > deadline) return false;
    await delay(POLL_MS);
  }
  return true;
}

interface ProcessStat {
  readonly state: string;
  readonly parent: number;
  readonly startTicks: string;
}

/** https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html; the name in parentheses may hold anything. */
function statOf(pid: number): ProcessStat | null {
  const text = readOrNull(`/proc/${pid}/stat`);
  if (text === null) return null;
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0]!, parent: Number(fields[1]), startTicks: fields[19]! };
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

const psOf = (pid: number, column: string): string | null =>
  outputOf("ps", ["-o", column, "-p", String(pid)]);

function outputOf(command: string, args: readonly string[]): string | null {
  try {
    return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return null;
  }
}

const pidsFrom = (text: string): number[] =>
  text
    .split(/\s+/)
    .filter((word) => /^\d+$/.test(word))
    .map(Number);
