/** A process's own disk, as far as its decision log is on it. */
import type { Clock } from "../../src/base/environment.ts";
import type { Log } from "../../src/observe/log.ts";
import type { DecisionLog } from "../../src/txn/decisionLog.ts";

/** Outlives the process. */
export interface ProcessDisk {
  /** Whether something is written and not durable. */
  readonly hasWritten: boolean;
  /** The process is gone; `isKept`: it alone, so that what it wrote is found again. */
  crash(isKept: boolean): void;
  open(clock: Clock, log: Log): Promise<OpenedLog>;
  /** All that can matter for what comes, as text. */
  fingerprint(): string;
}

export interface OpenedLog {
  readonly decisions: DecisionLog;
  /** Whether something waits for the disk. */
  readonly isWaiting: boolean;
  /** The disk has done what was waited for, or the next of it. */
  sync(): void;
  /** All that can matter for what comes, as text. */
  fingerprint(): string;
}
