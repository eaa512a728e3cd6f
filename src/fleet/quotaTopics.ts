/** What workers and their parent say to each other about what they share. */
import { topic } from "./channel.ts";
import type { QuotaReport } from "./quotaClaim.ts";

/** Of one claim; a worker may have several for the same key, each with a number of its own. */
export interface ReportedQuota extends QuotaReport {
  readonly claim: number;
  readonly key: string;
  readonly isLasting: boolean;
}

export interface GrantedQuota {
  readonly claim: number;
  readonly granted: number;
  readonly serial: number;
  readonly isFull: boolean;
}

/** A worker to its parent. */
export const QUOTA_REPORTED = topic<ReportedQuota>("quota.reported");
export const QUOTA_GIVEN_UP = topic<{ readonly claim: number }>("quota.given_up");
/** The parent to a worker. Each is answered by a report. */
export const QUOTA_GRANTED = topic<GrantedQuota>("quota.granted");
