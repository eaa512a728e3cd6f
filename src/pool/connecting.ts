/** How a connection to a shard is opened, attempt by attempt, and what is said and asked then. */
import type { Clock } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import type { ShardConfig } from "../config/config.ts";
import { attempts, type Encryption, placeOf } from "./shardLink.ts";

/** The backend's start, which with its process id names it for ever, and the timeline of a primary. */
export const BACKEND_START =
  "SELECT pg_catalog.to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00'), " +
  "CASE WHEN pg_catalog.pg_is_in_recovery() THEN '' " +
  "ELSE pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8) END " +
  "FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()";

/** invalid_authorization_specification: no line of pg_hba.conf is for who comes like this. */
const NO_PLACE = "28000";

/** Why an attempt failed, as far as it decides on another one. */
export type FailureKind =
  /** TLS could not be agreed on. */
  | "tls"
  /** Perhaps the shard wants it with TLS, or without. */
  | "no place"
  | "other";

export type Attempt<Opened> =
  | { readonly kind: "open"; readonly opened: Opened }
  | { readonly kind: "failed"; readonly fault: Fault; readonly why: FailureKind };

/** Tries what the shard's TLS mode allows, within `timeoutMs` in all; rejects with the Fault that tells most. */
export async function openByAttempts<Opened>(
  shard: ShardConfig,
  clock: Clock,
  timeoutMs: number,
  attempt: (encryption: Encryption, timeoutMs: number) => Promise<Attempt<Opened>>,
): Promise<Opened> {
  const deadlineMs = clock.monotonicMs() + timeoutMs;
  const [first, second] = attempts(shard);
  const outcome = await attempt(first!, timeoutMs);
  if (outcome.kind === "open") return outcome.opened;
  if (second === undefined || outcome.why === "other") throw outcome.fault;
  const last = await attempt(second, Math.max(1, deadlineMs - clock.monotonicMs()));
  if (last.kind === "open") return last.opened;
  throw last.why === "tls" ? outcome.fault : last.fault;
}

/** What a refused login means for another attempt. `isEncrypted`: whether the first came with TLS. */
export function refusalKind(
  sqlstate: string | null,
  encryption: Encryption,
  isEncrypted: boolean,
): FailureKind {
  const isSameAgain = encryption === "either" && !isEncrypted;
  return sqlstate === NO_PLACE && !isSameAgain ? "no place" : "other";
}

export function connectFailed(shard: ShardConfig, reason: string): Fault {
  return new Fault("pool.connect_failed", {
    message: `could not connect to shard "${shard.id}"`,
    detail: `${placeOf(shard)}: ${reason}.`,
    hint: "Check that the shard is running and accepts connections; pgxa check --config FILE tells more.",
  });
}
