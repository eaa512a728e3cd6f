// Pure.
/**
 * Who waits for connections, and for whom, over all processes of one pgxa.
 *
 * Each process has a part of the connections, the same number of every pool, and gives up what of it nobody there has. So one
 * that is short waits for a holder of that pool in its own process, or for anybody who holds a connection in another; and
 * while not all are taken, some are free or on their way, and it waits for nobody.
 */
import type { ParticipantState } from "./participant.ts";
import type { PeerShare, SharedClient } from "./peers.ts";
import type { PoolWait } from "./snapshot.ts";

/** What there is in one process. */
export interface PoolPart {
  readonly waits: readonly {
    readonly owner: ParticipantState;
    readonly pool: number;
    readonly waitedMs: number;
  }[];
  /** By pool. */
  readonly holders: readonly (readonly ParticipantState[])[];
  /** How many connections of each pool others cannot have while these clients stay. */
  readonly taken: number;
}

/** How many of `max` connections of a pool nobody has taken. */
export const untaken = (parts: readonly PoolPart[], max: number): number =>
  max - parts.reduce((sum, { taken }) => sum + taken, 0);

export function poolWaitsOf(parts: readonly PoolPart[]): ReadonlyMap<ParticipantState, PoolWait> {
  const waits = new Map<ParticipantState, PoolWait>();
  for (const part of parts) {
    if (part.waits.length === 0) continue;
    const others = parts.filter((other) => other !== part).flatMap(({ holders }) => holders.flat());
    const elsewhere = [...new Set(others)];
    for (const { owner, pool, waitedMs } of part.waits) {
      const here = part.holders[pool]!.filter((holder) => holder !== owner);
      waits.set(owner, { pool, waitedMs, inUse: here.length, holders: [...here, ...elsewhere] });
    }
  }
  return waits;
}

/** That of another worker. */
export function poolPart({ clients, holders, poolWaits, taken }: PeerShare): PoolPart {
  const known = new Map(clients.map((one) => [one.client, one] as const));
  const of = (client: number): SharedClient => known.get(client)!;
  return {
    waits: poolWaits.map(({ client, ...wait }) => ({ owner: of(client), ...wait })),
    holders: holders.map((ids) => ids.map(of)),
    taken,
  };
}
