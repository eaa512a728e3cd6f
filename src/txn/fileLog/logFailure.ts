// Pure.
/** Why a decision log decides nothing, and what that means for a transaction. */
import { Fault } from "../../base/fault.ts";
import { NotWritten } from "./segmentWriter.ts";

/** A disk, quota or file size limit that was reached: of these a log goes on once there is room. */
const FULL_CODES: ReadonlySet<unknown> = new Set(["ENOSPC", "EDQUOT"]);

export class LogFailure {
  readonly #directory: string;
  readonly #cause: unknown;
  /** The disk is full, and the log is as it was before: it goes on when there is room. */
  readonly isPassing: boolean;

  constructor(directory: string, error: unknown) {
    this.#directory = directory;
    this.#cause = error instanceof NotWritten ? error.cause : error;
    this.isPassing = error instanceof NotWritten && FULL_CODES.has(codeOf(error.cause));
  }

  get fields(): { readonly directory: string; readonly reason: string } {
    return { directory: this.#directory, reason: reasonOf(this.#cause) };
  }

  /** For a transaction of which nothing was written: it is aborted. */
  refusal(): Fault {
    return this.isPassing
      ? new Fault("commit.log_full", {
          detail: `No commit over several shards is decided in ${this.#directory}: ${reasonOf(this.#cause)}.`,
          hint: "Free space there; pgxa goes on by itself. Commits on one shard are not affected.",
          cause: this.#cause,
        })
      : new Fault("commit.log_stopped", {
          detail: `No commit over several shards is decided in ${this.#directory} since a write failed: ${reasonOf(this.#cause)}.`,
          hint: "Make sure that the disk works, and start pgxa again. Commits on one shard are not affected.",
          cause: this.#cause,
        });
  }

  /** For a transaction whose decision may have been written. */
  unknown(): Fault {
    return new Fault("commit.log_failed", {
      detail: `The decision log in ${this.#directory} failed: ${reasonOf(this.#cause)}.`,
      hint: "Make sure that the disk works, and start pgxa again; transactions in doubt are settled then.",
      cause: this.#cause,
    });
  }
}

const codeOf = (error: unknown): unknown => (error as NodeJS.ErrnoException | null)?.code;

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
