// Pure.
/** A deadlock in words: the DETAIL that the victim's client reads, in PostgreSQL's manner, and rows for the console. */
import { describeLock } from "./lockWait.ts";
import type { ParticipantState } from "./participant.ts";
import type { Node, Snapshot } from "./snapshot.ts";
import type { NodeId } from "./waitForGraph.ts";

export const DEADLOCK_HINT =
  "Repeat the transaction. Where transactions take their locks in the same order, on whichever shards, there are no deadlocks.";

/** One wait, as the console shows it. */
export interface WaitRow {
  /** The process id that the client was given; null for a backend of nobody's. */
  readonly client: number | null;
  readonly gtrid: string | null;
  readonly shard: string;
  /** The backend that waits; null where it waits for a connection. */
  readonly pid: number | null;
  readonly waitsFor: string;
  readonly waitedMs: number;
  readonly blockedBy: readonly string[];
}

/** Every wait in the snapshot. */
export function waitRows({ nodes }: Snapshot, shards: readonly string[]): readonly WaitRow[] {
  return [...nodes.values()].flatMap((node) => rowsOf(node, nodes, shards));
}

/** The waits of `node`, of those on one of `on` only, if that is given. */
function rowsOf(
  node: Node,
  nodes: ReadonlyMap<NodeId, Node>,
  shards: readonly string[],
  on: NodeId | null = null,
): readonly WaitRow[] {
  const { participant, waits, blockers } = node;
  const who = { client: participant?.client ?? null, gtrid: participant?.gtrid ?? null };
  const { pool } = waits;
  if (pool !== null) {
    const blockedBy = pool.holders.map(nameOfClient);
    const shard = shards[pool.pool]!;
    const waitsFor = `a server connection to shard "${shard}", of which others have ${pool.inUse}`;
    return [{ ...who, shard, pid: null, waitsFor, waitedMs: pool.waitedMs, blockedBy }];
  }
  return waits.locks.flatMap(({ shard, wait }, index) => {
    const by = blockers[index]!;
    if (on !== null && !by.includes(on)) return [];
    const named = on === null ? by : [on];
    return {
      ...who,
      shard: shards[shard]!,
      pid: wait.pid,
      waitsFor: `${wait.mode} on ${describeLock(wait)}`,
      waitedMs: wait.waitedMs,
      blockedBy: named.map((id) => nameOf(id, nodes, shards)),
    };
  });
}

/** The waits that make up the circle, each for the next. */
export function circleRows(
  circle: readonly NodeId[],
  { nodes }: Snapshot,
  shards: readonly string[],
): readonly WaitRow[] {
  return circle.flatMap((id, index) => {
    const next = circle[(index + 1) % circle.length]!;
    return rowsOf(nodes.get(id)!, nodes, shards, next).slice(0, 1);
  });
}

/** One line for each wait. */
export const describeCircle = (rows: readonly WaitRow[]): string => rows.map(describeRow).join("\n");

function describeRow({ client, gtrid, shard, pid, waitsFor, blockedBy }: WaitRow): string {
  const backend = pid === null ? null : `process ${pid} of shard "${shard}"`;
  const who = client === null ? null : nameOfTransaction(client, gtrid);
  const subject = who !== null && backend !== null ? `${who}, ${backend},` : (who ?? backend)!;
  const waiter = subject[0]!.toUpperCase() + subject.slice(1);
  return `${waiter} waits for ${waitsFor}; blocked by ${blockedBy.join(", ")}.`;
}

const nameOfTransaction = (client: number, gtrid: string | null): string =>
  gtrid === null ? `client ${client}` : `transaction ${gtrid} of client ${client}`;

const nameOfClient = ({ client, gtrid }: ParticipantState): string => nameOfTransaction(client, gtrid);

function nameOf(id: NodeId, nodes: ReadonlyMap<NodeId, Node>, shards: readonly string[]): string {
  const participant = nodes.get(id)?.participant;
  if (participant !== undefined && participant !== null) return nameOfClient(participant);
  if (id === "prepared") return "a prepared transaction";
  const foreign = /^process (\d+) on (\d+)$/.exec(id);
  return foreign === null
    ? id.replace(/^prepared /, "prepared transaction ")
    : `process ${foreign[1]} of shard "${shards[Number(foreign[2])]}"`;
}
