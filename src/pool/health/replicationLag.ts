// Pure.
/**
 * How far a standby is behind its primary.
 *
 * The age of the last transaction that a standby has replayed says nothing while the primary writes nothing: it grows
 * although nothing is missing. So it counts only where bytes are missing, or where nobody knows whether they are.
 * https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-RECOVERY-CONTROL
 */
export interface StandbyPosition {
  /** Null before it has replayed anything. */
  readonly replayedBytes: number | null;
  /** Null if no transaction was replayed since it started. */
  readonly replayAgeSeconds: number | null;
}

export interface Lag {
  /** Null: not known. */
  readonly bytes: number | null;
  readonly seconds: number | null;
}

/** `writtenBytes`: where the primary was when it was last asked; null if it was not. */
export function replicationLag(standby: StandbyPosition, writtenBytes: number | null): Lag {
  const { replayedBytes, replayAgeSeconds } = standby;
  const bytes =
    replayedBytes === null || writtenBytes === null ? null : Math.max(0, writtenBytes - replayedBytes);
  return { bytes, seconds: bytes === 0 ? 0 : replayAgeSeconds };
}

/** How far a standby was behind when it was asked. */
export interface MeasuredLag {
  /** At most; null: not known. */
  readonly ms: number | null;
  /** When that was, in monotonic ms. */
  readonly atMs: number;
}

/** What a server said of itself. */
interface Answer extends StandbyPosition {
  readonly role: "primary" | "standby";
  /** Of a primary: how far it has written. */
  readonly writtenBytes: number | null;
  readonly latencyMs: number;
}

/** How many of the primary's positions are remembered. */
const REMEMBERED_MAX = 32;

/**
 * Where the primary was when, by this process's clock.
 *
 * A standby that has replayed what the primary had written at some moment is as fresh as the primary was then. This
 * says more than the age of the last transaction where the primary writes seldom.
 */
export class WrittenHistory {
  #positions: { readonly bytes: number; readonly atMs: number }[] = [];

  /** Notes what the primary answered at `nowMs`; how far a standby is behind what was noted before. Null: neither. */
  measure(answer: Answer | null, isPrimary: boolean, nowMs: number): MeasuredLag | null {
    if (answer?.role === "standby") return { ms: this.behindMs(answer, nowMs), atMs: nowMs };
    if (isPrimary && answer?.writtenBytes != null) this.note(answer.writtenBytes, nowMs - answer.latencyMs);
    return null;
  }

  /** The primary had written `bytes` at `atMs`, in monotonic ms, or later. */
  note(bytes: number, atMs: number): void {
    this.#positions.push({ bytes, atMs });
    if (this.#positions.length > REMEMBERED_MAX) this.#positions.shift();
  }

  /** Another primary's positions are not those of this one. */
  clear(): void {
    this.#positions = [];
  }

  /** How many ms a standby is behind at most that answered at `atMs`; null: not known. */
  behindMs({ replayedBytes, replayAgeSeconds }: StandbyPosition, atMs: number): number | null {
    const latest = this.#positions.at(-1);
    if (replayedBytes === null || latest === undefined) return null;
    if (replayedBytes >= latest.bytes) return 0;
    const reached = this.#positions.findLast(({ bytes }) => bytes <= replayedBytes);
    const bounds = [
      ...(reached === undefined ? [] : [atMs - reached.atMs]),
      ...(replayAgeSeconds === null ? [] : [Math.max(0, replayAgeSeconds * 1_000)]),
    ];
    return bounds.length === 0 ? null : Math.min(...bounds);
  }
}
