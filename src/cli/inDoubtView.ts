/**
 * What the console shows of transactions in doubt: what the resolver says of them, and what the shards say when somebody
 * looks.
 *
 * A shard that does not answer in time is shown by what was known of it last.
 */
import type { InDoubtDetails, InDoubtView, ServerView } from "../admin/views.ts";
import type { Clock, Timer } from "../base/environment.ts";
import type { SiblingView } from "../fleet/siblingCommits.ts";
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
  /** What other workers know of these branches. */
  siblings(gids: readonly string[]): Promise<SiblingView>;
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

const NO_SIBLINGS: SiblingView = { running: [], known: [], left: [] };

/** Everything of the fleet that is prepared and not under way, shard by shard, oldest first. */
export async function lookAtDoubts(sources: DoubtSources): Promise<readonly InDoubtDetails[]> {
  const { controls, clock, fleet } = sources;
  const looks = controls.map((control) => lookInDoubt(control, gidPrefix(fleet)).catch(() => null));
  const shards = await Promise.all(looks.map((look) => within<ShardDetails | null>(look, null, clock)));
  // Who is committing is asked after what is prepared: in between a transaction can only have ended.
  const prepared = shards.flatMap((details) => details?.prepared.map(({ gid }) => gid) ?? []);
  const siblings = await within(sources.siblings(prepared), NO_SIBLINGS, clock);
  const rows = controls.flatMap((control, i) => rowsOf(control, shards[i]!, siblings, sources));
  const known = await decisionsOf(rows, siblings, sources);
  return rows.map((row) => ({
    ...row,
    decision: row.gid === null ? null : (known.get(row.gid) ?? "unknown"),
  }));
}

/** What is known of the decisions, in words, by gid. */
async function decisionsOf(
  rows: readonly InDoubtDetails[],
  siblings: SiblingView,
  { resolution, clock }: DoubtSources,
): Promise<ReadonlyMap<string, string>> {
  const gids = rows.flatMap(({ gid }) => gid ?? []).slice(0, ASKED_MAX);
  const elsewhere = new Map(siblings.known);
  const asked = gids.map(async (gid) => {
    const own = await within<Knowledge>(resolution.known(gid), "unknowable", clock);
    return [gid, DECISIONS[own === "unknowable" ? (elsewhere.get(gid) ?? own) : own]] as const;
  });
  return new Map(await Promise.all(asked));
}

function rowsOf(
  control: ShardControl,
  details: ShardDetails | null,
  siblings: SiblingView,
  sources: DoubtSources,
): readonly InDoubtDetails[] {
  const { fleet, resolver, protocol, clock } = sources;
  const running = new Set(siblings.running);
  const left = new Map(
    [...siblings.left, ...resolver.inDoubt].flatMap((one) =>
      one.shard === control.id ? [[one.gid, one] as const] : [],
    ),
  );
  const nextLookMs = resolver.nextLookMs(control.id);
  const rows: InDoubtDetails[] = [];
  for (const one of details?.prepared ?? []) {
    const parts = parseGid(one.gid);
    if (parts === null || protocol.isRunning(gtrid(parts)) || running.has(one.gid)) continue;
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
