// Pure.
/**
 * One look at everything that waits: what the shards report and what waits for pools, as one graph.
 *
 * A node is a client, with all of its backends and of what it is committing what is prepared already; a backend that
 * works for no client of pgxa; or a prepared transaction that somebody left, which waits for nothing and therefore never
 * is part of a deadlock.
 */
import { gtrid, parseGid } from "../txn/gid.ts";
import { type LockWait, waitKey } from "./lockWait.ts";
import type { ParticipantState } from "./participant.ts";
import type { NodeId, Wait, WaitForGraph } from "./waitForGraph.ts";

export interface PoolWait {
  readonly pool: number;
  readonly waitedMs: number;
  /** How many connections others have of it, here. */
  readonly inUse: number;
  /** Those of whom one has to go. */
  readonly holders: readonly ParticipantState[];
}

/** What a node waits for. */
export interface NodeWaits {
  readonly locks: readonly { readonly shard: number; readonly wait: LockWait }[];
  readonly pool: PoolWait | null;
}

export interface Node {
  readonly id: NodeId;
  /** Null for one that is no client of pgxa. */
  readonly participant: ParticipantState | null;
  /** How often the participant had moved. */
  readonly moves: number;
  readonly waits: NodeWaits;
  /** Who blocks each of `waits.locks`, in that order. */
  readonly blockers: readonly (readonly NodeId[])[];
}

export interface Snapshot {
  readonly graph: WaitForGraph;
  /** Those who wait. */
  readonly nodes: ReadonlyMap<NodeId, Node>;
}

export interface Observations {
  readonly participants: Iterable<ParticipantState>;
  /** By shard; null for a shard that was not asked or did not answer. */
  readonly locks: readonly (readonly LockWait[] | null)[];
  readonly pools: ReadonlyMap<ParticipantState, PoolWait>;
}

const clientNode = (participant: ParticipantState): NodeId => `client ${participant.client}`;

export const isClient = (id: NodeId): boolean => id.startsWith("client ");

/** Puts together what was observed. */
export function takeSnapshot({ participants, locks, pools }: Observations): Snapshot {
  const owners = new Map<string, ParticipantState>();
  const committing = new Map<string, NodeId>();
  for (const participant of participants) {
    for (const { shard, pid } of participant.backends) owners.set(`${shard} ${pid}`, participant);
    if (participant.isProtected && participant.gtrid !== null)
      committing.set(participant.gtrid, clientNode(participant));
  }
  const nodes = new Map<NodeId, Node>();
  const nodeOf = (shard: number, pid: number): NodeId => {
    const owner = owners.get(`${shard} ${pid}`);
    return owner === undefined ? `process ${pid} on ${shard}` : clientNode(owner);
  };
  for (const [shard, waits] of locks.entries()) {
    for (const wait of waits ?? []) {
      const owner = owners.get(`${shard} ${wait.pid}`) ?? null;
      if (owner !== null && !isBackendOf(owner, shard, wait)) continue; // of somebody who had the process id before
      addLockWait(nodes, nodeOf(shard, wait.pid), owner, shard, wait, [
        ...processesBlocking(wait).map((pid) => nodeOf(shard, pid)),
        ...preparedBlocking(wait, committing),
      ]);
    }
  }
  for (const [id, node] of nodes) nodes.set(id, { ...node, blockers: withRowHolders(node, nodes) });
  for (const [participant, pool] of pools) addPoolWait(nodes, participant, pool);
  return { nodes, graph: new Map([...nodes].map(([id, node]) => [id, waitOf(node)])) };
}

/**
 * The graph as it would be if nobody ever went but who is known here: who is stuck in it may wait for another worker's
 * clients.
 */
export function withoutStrangers({ graph }: Snapshot): WaitForGraph {
  const stays = (id: NodeId): Wait => ({ kind: "all", on: [id] });
  const bound = new Map<NodeId, Wait>();
  for (const [id, wait] of graph) {
    const isForStrangers = wait.kind === "any" && wait.on.length === 0;
    bound.set(id, isForStrangers ? stays(id) : wait);
  }
  for (const { on } of graph.values()) for (const id of on) if (!isClient(id)) bound.set(id, stays(id));
  return bound;
}

/** What a node's state is as one text: equal texts mean that it has waited for the same all the time. */
export function nodeKey(node: Node): string | null {
  const keys = node.waits.locks.map(({ shard, wait }) => {
    const key = waitKey(wait);
    return key === null ? null : `${shard}|${key}`;
  });
  if (keys.includes(null)) return null;
  const { pool } = node.waits;
  const queue = pool === null ? "" : `pool ${pool.pool} ${pool.holders.map(clientNode).sort().join()}`;
  return [node.moves, ...keys.sort(), queue].join("\n");
}

const isBackendOf = (owner: ParticipantState, shard: number, wait: LockWait): boolean =>
  owner.backends.some(
    (backend) =>
      backend.shard === shard && backend.pid === wait.pid && backend.backendStart === wait.backendStart,
  );

const processesBlocking = (wait: LockWait): readonly number[] => wait.blockers.filter((pid) => pid !== 0);

/** One that a client is committing now is that client: it may wait on another shard for its PREPARE to go through. */
function preparedBlocking(wait: LockWait, committing: ReadonlyMap<string, NodeId>): readonly NodeId[] {
  if (!wait.blockers.includes(0)) return [];
  if (wait.preparedBlockers.length === 0) return ["prepared"]; // it ended before its name was asked
  return wait.preparedBlockers.map((name) => {
    const parts = parseGid(name);
    return (parts === null ? undefined : committing.get(gtrid(parts))) ?? `prepared ${name}`;
  });
}

/**
 * Of those who want one row the first holds the tuple's lock and waits for the transaction that has the row; the others
 * wait for the tuple's lock, and for that transaction too, whoever is the first.
 */
function withRowHolders(
  { id, waits, blockers }: Node,
  nodes: ReadonlyMap<NodeId, Node>,
): readonly (readonly NodeId[])[] {
  return waits.locks.map(({ shard, wait }, index) => {
    const by = blockers[index]!;
    if (wait.locktype !== "tuple") return by;
    const holders = by.flatMap((first) => transactionsAwaited(nodes.get(first), shard));
    return [...new Set([...by, ...holders])].filter((holder) => holder !== id);
  });
}

function transactionsAwaited(node: Node | undefined, shard: number): readonly NodeId[] {
  if (node === undefined) return [];
  return node.blockers
    .filter((_, index) => {
      const lock = node.waits.locks[index]!;
      return lock.shard === shard && lock.wait.locktype === "transactionid";
    })
    .flat();
}

function addLockWait(
  nodes: Map<NodeId, Node>,
  id: NodeId,
  participant: ParticipantState | null,
  shard: number,
  wait: LockWait,
  blockers: readonly NodeId[],
): void {
  const known = nodes.get(id);
  nodes.set(id, {
    id,
    participant,
    moves: participant?.moves ?? 0,
    waits: { locks: [...(known?.waits.locks ?? []), { shard, wait }], pool: null },
    blockers: [...(known?.blockers ?? []), blockers],
  });
}

function addPoolWait(nodes: Map<NodeId, Node>, participant: ParticipantState, pool: PoolWait): void {
  const id = clientNode(participant);
  if (nodes.has(id)) return; // a lock it waits for besides has to come first, and that is the stronger claim
  nodes.set(id, {
    id,
    participant,
    moves: participant.moves,
    waits: { locks: [], pool },
    blockers: [],
  });
}

function waitOf({ waits, blockers }: Node): Wait {
  if (waits.pool === null) return { kind: "all", on: blockers.flat() };
  return { kind: "any", on: waits.pool.holders.map(clientNode) };
}
