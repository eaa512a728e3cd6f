// Pure.
/** What is in doubt, and what operators have decided about it. */
import { columns, type Row, row, timestamp } from "./consoleTable.ts";
import type { Show } from "./show.ts";
import type { InDoubtDetails, Shown } from "./views.ts";

const seconds = (ms: number | null): number | null => (ms === null ? null : Math.floor(ms / 1_000));

async function showInDoubt(sources: Shown): Promise<readonly Row[]> {
  return (await sources.inDoubtNow()).map((one: InDoubtDetails) =>
    row(
      one.gid,
      one.gtrid,
      one.shard,
      one.coordinator,
      one.database,
      one.owner,
      seconds(one.ageMs),
      one.preparedAtMs === null ? null : timestamp(one.preparedAtMs),
      one.xid,
      one.xminAge,
      one.holdsBackVacuum,
      one.lockCount,
      one.locks.join(", "),
      one.waiters.join(", "),
      one.decision,
      one.reason,
      one.nextLookMs,
    ),
  );
}

async function showHeuristics(sources: Shown): Promise<readonly Row[]> {
  return (await sources.heuristics()).map(({ gtrid, outcome, by, reason, atMs, verdict }) =>
    row(gtrid, outcome, by, reason, timestamp(atMs), verdict),
  );
}

export const IN_DOUBT_SHOWS: Readonly<Record<string, Show>> = {
  IN_DOUBT: {
    says: "prepared branches that nobody has finished yet, what they hold up, and why",
    columns: columns(
      "gid:text gtrid shard coordinator database owner age_s:int8 prepared_at:timestamptz xid:int8 xmin_age " +
        "holds_back_vacuum:bool lock_count:int8 locks:text waiting decision reason next_look_ms:int8",
    ),
    rows: showInDoubt,
  },
  HEURISTICS: {
    says: "what operators decided about transactions in doubt, and whether it turned out right",
    columns: columns("gtrid:text outcome by reason at:timestamptz verdict:text"),
    rows: showHeuristics,
  },
};
