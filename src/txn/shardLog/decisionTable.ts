/** The decision table of one shard, as far as pgxa's own sessions read and write it. */
import { type Gtrid, gtridOf, type ShardId, shardId, type Xid } from "../../base/brands.ts";
import type { Decision, Outcome, Participant } from "../decisionLog.ts";
import { gid } from "../gid.ts";
import type { ShardControl } from "../shardControl.ts";
import { DECIDE, READ_DECISIONS, READ_OLD_COMMITS } from "./schema.ts";

/** How a row has a participant; the gid follows from the rest. */
type Written = readonly [shard: ShardId, xid: Xid | null, server: string | null];

export const writeParticipants = (participants: readonly Participant[]): string =>
  JSON.stringify(participants.map(({ shard, xid, server }): Written => [shard, xid, server]));

function readParticipants(gtrid: Gtrid, anchor: ShardId, written: string): readonly Participant[] {
  return (JSON.parse(written) as readonly Written[]).map(([name, xid, server]) => {
    const shard = shardId(name);
    return { shard, gid: gid(gtrid, shard, anchor), xid, server };
  });
}

/** What stands for each transaction that is decided; the others are absent. */
export async function readDecisions(
  control: ShardControl,
  gtrids: readonly Gtrid[],
): Promise<ReadonlyMap<Gtrid, Outcome>> {
  const rows = await control.ask(READ_DECISIONS, [gtrids]);
  return new Map(rows.map((row) => [gtridOf(String(row["gtrid"])), outcomeOf(row)]));
}

/** Decides `outcome` unless it was decided before; resolves with what stands. */
export async function decideOn(
  control: ShardControl,
  gtrid: Gtrid,
  outcome: Outcome,
  participants: readonly Participant[],
): Promise<Outcome> {
  const [row] = await control.ask(DECIDE, [gtrid, outcome, writeParticipants(participants)]);
  return outcomeOf(row!);
}

/** Commits of the fleet that begin with `prefix` and have stood for `ageSeconds`. */
export async function readOldCommits(
  control: ShardControl,
  prefix: string,
  ageSeconds: number,
  count: number,
): Promise<readonly Decision[]> {
  const rows = await control.ask(READ_OLD_COMMITS, [prefix, ageSeconds, count]);
  return rows.map((row) => {
    const gtrid = gtridOf(String(row["gtrid"]));
    return { gtrid, participants: readParticipants(gtrid, control.id, String(row["participants"])) };
  });
}

const outcomeOf = (row: Readonly<Record<string, unknown>>): Outcome =>
  row["outcome"] === "commit" ? "commit" : "abort";
