// Pure.
/**
 * What the commit protocol needs of a branch's server connection: to say one thing and hear the answer.
 *
 * The answer is one of three, and the third is why this type exists: *lost* means the shard may or may not have
 * done what it was told. Nobody may treat it as a refusal.
 */
import type { BackendPid, ShardId } from "../base/brands.ts";
import type { ControlReply } from "../pool/controlReply.ts";
import type { KeptStatement } from "../wire/keptStatement.ts";

export type { ControlReply };

export interface BranchConnection {
  readonly shard: ShardId;
  readonly pid: BackendPid;
  /** `pg_stat_activity.backend_start` of this backend in UTC, as text: with the pid, the backend's identity. */
  readonly backendStart: string;
  /** Its server's timeline when it was opened, which lasts as long as the connection; empty if it is not known. */
  readonly timeline: string;
  /** Whether a transaction block was open, and had not failed, when the shard last said that it was ready. */
  readonly isInTransaction: boolean;
  /**
   * Runs `sql` as one simple query; resolves with the answer, never rejects. At `timeoutMs` the answer is lost.
   */
  run(sql: string, timeoutMs: number): Promise<ControlReply>;
  /**
   * Runs `first` with `values` and then `sql`, as one batch: `sql` only if `first` succeeded. Else as `run`. `first` stays
   * prepared on the connection.
   */
  runBehind(
    first: KeptStatement,
    values: readonly string[],
    sql: string,
    timeoutMs: number,
  ): Promise<ControlReply>;
}
