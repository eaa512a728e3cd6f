/**
 * What became of the only COMMIT of a transaction, when its answer was lost.
 *
 * The shard's own record tells, if the transaction's id is known: it was asked when there was something else to ask, or
 * it is read off the backend that is still at work on the COMMIT, be it that the network is gone or that a standby is
 * waited for. Then the backend is ended, so that what is not committed now never will be, and the record is read.
 *
 * A backend that is gone has taken its id along. Where it was not known, nobody can tell, nor could a client that
 * talks to Postgres itself.
 */
import { type Xid, xidOf } from "../base/brands.ts";
import type { BranchConnection } from "./participant.ts";
import type { ShardControl } from "./shardControl.ts";

/** The id has 32 bits there; the next one to be given tells the rest. */
const RUNNING =
  "SELECT backend_xid::text AS xid, pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text AS next " +
  "FROM pg_catalog.pg_stat_get_activity($1) WHERE backend_start = $2::timestamptz AND backend_xid IS NOT NULL";

/** `server`: which the shard was before the COMMIT was sent. Never rejects. */
export async function lookUpCommit(
  control: ShardControl,
  { pid, backendStart }: BranchConnection,
  known: Xid | null,
  server: string | null,
): Promise<"committed" | "aborted" | "unknown"> {
  try {
    const xid = known ?? (await runningXid(control, pid, backendStart));
    await control.fence(pid, backendStart);
    if (xid === null) return "unknown";
    const evidence = await control.evidence({ xid, server });
    return evidence === "committed" || evidence === "aborted" ? evidence : "unknown";
  } catch {
    return "unknown"; // the shard cannot be asked either
  }
}

async function runningXid(control: ShardControl, pid: number, backendStart: string): Promise<Xid | null> {
  const [row] = await control.ask(RUNNING, [pid, backendStart]);
  return row === undefined ? null : fullXid(String(row["xid"]), String(row["next"]));
}

/** The id of 64 bits that ends in the 32 of `xid` and is nearest to `next`: no running one is further away. */
export function fullXid(xid: string, next: string): Xid {
  const nearby = BigInt(next);
  return xidOf(String(nearby + BigInt.asIntN(32, BigInt(xid) - nearby)));
}
