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
