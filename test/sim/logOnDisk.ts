/** The real decision log of files, on a disk that tears, loses and reorders what was not synced. */
import type { Clock } from "../../src/base/environment.ts";
import type { Log } from "../../src/observe/log.ts";
import type { DecisionLog } from "../../src/txn/decisionLog.ts";
import { FileLog } from "../../src/txn/fileLog/fileLog.ts";
import type { OpenedLog, ProcessDisk } from "../world/processDisk.ts";
import { type DiskProcess, SimulatedDisk } from "../world/simulatedDisk.ts";
import type { SeededRandom } from "./seededRandom.ts";

const DIRECTORY = "/decisions";
/** So small that segments change often. */
const SEGMENT_BYTES_MAX = 2_000;
const SHORT_WRITES = 0.1;

export class LogOnDisk implements ProcessDisk {
  readonly #disk: SimulatedDisk;
  #process: DiskProcess | null = null;
  /** Operations that have begun and not ended, in order. */
  #waiting: (() => void)[] = [];

  constructor(random: SeededRandom) {
    this.#disk = new SimulatedDisk(random, () => new Promise((resolve) => this.#waiting.push(resolve)));
    this.#disk.faults.shortWrites = SHORT_WRITES;
  }

  /** Whether it has cannot be seen from here. */
  get hasWritten(): boolean {
    return true;
  }

  crash(isKept: boolean): void {
    if (isKept) this.#process?.kill();
    else this.#disk.crash();
    this.#waiting = [];
  }

  async open(clock: Clock, log: Log): Promise<OpenedLog> {
    this.#process = this.#disk.process();
    const parts = { directory: DIRECTORY, disk: this.#process, log, segmentBytesMax: SEGMENT_BYTES_MAX };
    // What opening asks of the disk is done at once: nobody is told anything before it is over.
    const opening = FileLog.open({ ...parts, wallMs: clock.wallMs(), faultPoint() {} });
    let decisions: DecisionLog | null = null;
    opening.then(
      (opened) => {
        decisions = opened;
      },
      () => {},
    );
    while (decisions === null) {
      this.#next();
      await new Promise((resolve) => setImmediate(resolve));
    }
    return this.#opened(await opening);
  }

  /** Of no use: nothing is compared with what is drawn by chance. */
  fingerprint(): string {
    return "";
  }

  #opened(decisions: DecisionLog): OpenedLog {
    const next = (): void => this.#next();
    const isWaiting = (): boolean => this.#waiting.length > 0;
    return {
      decisions,
      get isWaiting() {
        return isWaiting();
      },
      sync: next,
      fingerprint: () =>
        decisions
          .unconcluded()
          .map(({ gtrid }) => gtrid)
          .join(),
    };
  }

  #next(): void {
    this.#waiting.shift()?.();
  }
}
