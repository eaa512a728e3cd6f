// Pure.
/**
 * What an operator decided about a transaction whose decision nobody could know: a heuristic outcome, kept for good.
 *
 * The record is durable before anything is done by it, and the first one for a transaction stands: of two operators, or
 * two processes, the second learns what the first said. Whoever finds a branch of the transaction later ends it alike.
 */
import { type Gtrid, gtridOf, type ShardId, shardId } from "../../base/brands.ts";
import type { Outcome } from "../decisionLog.ts";
import type { Verdict } from "./rulingTable.ts";

export interface HeuristicRecord {
  readonly gtrid: Gtrid;
  readonly outcome: Outcome;
  /** Who said so, and by which way. */
  readonly by: string;
  /** Why; empty if nothing was said. */
  readonly reason: string;
  /** Wall time, in ms since 1970. */
  readonly atMs: number;
  /** The shard that has the decision, if it ever comes back; null: it was in files. */
  readonly anchor: ShardId | null;
  /** What has become known since. */
  readonly verdict: Verdict;
}

export interface HeuristicRecords {
  /** All that can be read now, oldest first; what cannot be asked is passed over. Never rejects for a shard. */
  list(): Promise<readonly HeuristicRecord[]>;
  /**
   * Makes `record` durable for branches on `shards`, unless there is one of the transaction; resolves with the one that
   * stands.
   */
  add(record: HeuristicRecord, shards: readonly ShardId[]): Promise<HeuristicRecord>;
  /** Notes what has become known. */
  note(record: HeuristicRecord, verdict: Verdict): Promise<void>;
}

type Loose = Readonly<Record<string, unknown>>;

const VERDICTS: readonly string[] = ["unproven", "confirmed", "contradicted", "hazard"] satisfies Verdict[];

/** Null for what is none. */
export function readRecord(value: unknown): HeuristicRecord | null {
  if (typeof value !== "object" || value === null) return null;
  const { gtrid, outcome, by, reason, atMs, anchor, verdict } = value as Loose;
  if (typeof gtrid !== "string" || (outcome !== "commit" && outcome !== "abort")) return null;
  return {
    gtrid: gtridOf(gtrid),
    outcome,
    by: String(by ?? ""),
    reason: String(reason ?? ""),
    atMs: Number(atMs ?? 0),
    anchor: typeof anchor === "string" ? shardId(anchor) : null,
    verdict: VERDICTS.includes(String(verdict)) ? (verdict as Verdict) : "unproven",
  };
}

export const readRecordText = (text: string): HeuristicRecord | null => {
  try {
    return readRecord(JSON.parse(text));
  } catch {
    return null;
  }
};
