/**
 * What the console shows of transactions in doubt: what the resolver says of them, and what the shards say when somebody
 * looks.
 *
 * A shard that does not answer in time is shown by what was known of it last.
 */
import type { InDoubtDetails, InDoubtView, ServerView } from "../admin/views.ts";
import type { Clock, Timer } from "../base/environment.ts";
import type { CommitProtocol } from "../txn/commitProtocol.ts";
import { type GidParts, gidPrefix, gtrid, parseGid } from "../txn/gid.ts";
import type { Resolution } from "../txn/heuristic/resolution.ts";
import type { Knowledge } from "../txn/heuristic/rulingTable.ts";
import { lookInDoubt, type PreparedDetails, type ShardDetails } from "../txn/inDoubtLook.ts";
import type { InDoubt, Resolver } from "../txn/resolver.ts";
import type { ShardControl } from "../txn/shardControl.ts";

export interface DoubtSources {
  readonly fleet: string;
  readonly coordinator: string;
  readonly controls: readonly ShardControl[];
  readonly protocol: CommitProtocol;
  readonly resolver: Resolver;
  readonly resolution: Resolution;
  readonly clock: Clock;
  servers(): readonly ServerView[];
}

/** A commit that is under way is not in doubt. */
const IN_DOUBT_AFTER_MS = 1_000;
const LOOK_MS_MAX = 2_000;
/** Of so many the decision is asked for. */
const ASKED_MAX = 100;

const DECISIONS: Readonly<Record<Knowledge, string>> = {
  commit: "commit",
  abort: "abort",
  absent: "none",
  failed: "unknown",
  unknowable: "unknown",
};

/** Everything of the fleet that is prepared and not under way, shard by shard, oldest first. */
export async function lookAtDoubts(sources: DoubtSources): Promise<readonly InDoubtDetails[]> {
  const shards = await Promise.all(sources.controls.map((control) => lookAtShard(control, sources)));
  const rows = shards.flat();
  const asked = rows.filter(({ gid }) => gid !== null).slice(0, ASKED_MAX);
  const known = new Map(
    await Promise.all(
      asked.map(async ({ gid }) => {
        const ask = sources.resolution.known(gid!).then((knowledge) => DECISIONS[knowledge]);
        return [gid, await within(ask, "unknown", sources.clock)] as const;
      }),
    ),
  );
  return rows.map((row) => ({
    ...row,
    decision: row.gid === null ? null : (known.get(row.gid) ?? "unknown"),
  }));
}

async function lookAtShard(control: ShardControl, sources: DoubtSources): Promise<readonly InDoubtDetails[]> {
  const { fleet, resolver, protocol, clock } = sources;
  const looked = lookInDoubt(control, gidPrefix(fleet)).catch(() => null);
  const details = await within<ShardDetails | null>(looked, null, clock);
  const left = new Map(
    resolver.inDoubt.filter(({ shard }) => shard === control.id).map((one) => [one.gid, one] as const),
  );
  const nextLookMs = resolver.nextLookMs(control.id);
  const rows: InDoubtDetails[] = [];
  for (const one of details?.prepared ?? []) {
    const parts = parseGid(one.gid);
    if (parts === null || protocol.isRunning(gtrid(parts))) continue;
    const doubt = left.get(one.gid);
    left.delete(one.gid);
    if (doubt === undefined && one.ageMs < IN_DOUBT_AFTER_MS) continue;
    const reason = doubt?.reason ?? reasonOf(parts, sources);
    rows.push({ ...described(one, parts, control, sources), reason, nextLookMs });
  }
  for (const doubt of left.values())
    if (details === null || doubt.preparedAtMs === null)
      rows.push({ ...remembered(doubt, control, clock), nextLookMs });
  if (details !== null && details.foreign > 0) rows.push(foreignRow(details.foreign, control, fleet));
  return rows;
}

const reasonOf = ({ coordinator }: GidParts, sources: DoubtSources): string =>
  coordinator === sources.coordinator
    ? "it is about to be settled"
    : `coordinator "${coordinator}" has it in hand`;

const UNKNOWN = {
  owner: null,
  xid: null,
  holdsBackVacuum: null,
  lockCount: null,
  locks: [],
  waiters: [],
  decision: null,
} as const;

function described(one: PreparedDetails, parts: GidParts, { id }: ShardControl, sources: DoubtSources) {
  const clients = new Map(
    sources.servers().flatMap(({ shard, pid, client }) => (shard === id ? [[pid, client] as const] : [])),
  );
  const waiters = one.waiters.map((pid) => {
    const client = clients.get(pid) ?? null;
    return client === null ? `pid ${pid}` : `client ${client}`;
  });
  const { gid, database, owner, ageMs, preparedAtMs, xid, xidAge, lockCount, locks } = one;
  return {
    ...{ gid, gtrid: gtrid(parts), shard: id, coordinator: parts.coordinator, database, owner },
    ...{
      ageMs,
      preparedAtMs,
      xid,
      xminAge: xidAge,
      holdsBackVacuum: one.isOldest,
      lockCount,
      locks,
      waiters,
    },
    decision: null,
  };
}

/** What the resolver knew of it when it looked last. */
function remembered(doubt: InDoubt, { id, shard }: ShardControl, clock: Clock) {
  const { gid, preparedAtMs, xminAge, reason } = doubt;
  const parts = parseGid(gid);
  return {
    ...UNKNOWN,
    ...{ gid, shard: id, database: shard.database, preparedAtMs, xminAge, reason },
    gtrid: parts === null ? null : gtrid(parts),
    coordinator: parts?.coordinator ?? null,
    ageMs: preparedAtMs === null ? null : Math.max(0, clock.wallMs() - preparedAtMs),
  };
}

const foreignRow = (count: number, { id }: ShardControl, fleet: string): InDoubtDetails => ({
  ...UNKNOWN,
  ...{ gid: null, gtrid: null, shard: id, coordinator: null, database: null },
  ...{ ageMs: null, preparedAtMs: null, xminAge: null, nextLookMs: null },
  reason: `${count} more prepared on this server that ${count === 1 ? "is" : "are"} not of fleet "${fleet}": left alone`,
});

/** `answer`, or `otherwise` if it does not come in time. */
async function within<T>(answer: Promise<T>, otherwise: T, clock: Clock): Promise<T> {
  let timer: Timer | null = null;
  const late = new Promise<T>((resolve) => {
    timer = clock.after(LOOK_MS_MAX, () => resolve(otherwise));
  });
  const first = await Promise.race([answer, late]);
  (timer as Timer | null)?.cancel();
  return first;
}

/** What the resolver left, for the metrics. */
export const leftInDoubt = (left: readonly InDoubt[]): readonly InDoubtView[] =>
  left.map((one) => {
    const parts = parseGid(one.gid);
    return { ...one, gtrid: parts === null ? "" : gtrid(parts) };
  });
