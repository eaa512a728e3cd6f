/**
 * What the workers of one pgxa do together about transactions in doubt: for compose.ts.
 *
 * Whichever of them an operator talks to, all is seen and can be resolved. What a transaction's own worker must do, or
 * the one that answers for what dead ones left, is passed on to it.
 */
import type { ResolveRemark, ResolveRequest } from "../admin/operations.ts";
import type { Gtrid } from "../base/brands.ts";
import { Fault } from "../base/fault.ts";
import { type Topic, topic } from "../fleet/channel.ts";
import type { Crew, Membership } from "../fleet/crew.ts";
import { askSiblings, type SiblingView, serveSiblings } from "../fleet/siblingCommits.ts";
import type { DecisionLog } from "../txn/decisionLog.ts";
import { gtrid, parseGid } from "../txn/gid.ts";
import type { Resolution } from "../txn/heuristic/resolution.ts";
import type { Resolver } from "../txn/resolver.ts";

/** What this worker has to tell. */
export interface SiblingSources {
  readonly coordinator: string;
  readonly decisions: DecisionLog;
  readonly resolver: Resolver;
  readonly resolution: Resolution;
  isRunning(transaction: Gtrid): boolean;
  searchSoon(): void;
}

/** Lets the others ask this worker; returns how they are asked. */
export function joinSiblings(membership: Membership | null, sources: SiblingSources) {
  if (membership !== null) {
    const look = (gids: readonly string[]): Promise<SiblingView> => lookHere(gids, sources);
    serveSiblings(membership, { look, searchSoon: sources.searchSoon });
  }
  return (gids: readonly string[]): Promise<SiblingView> => askSiblings(membership, gids);
}

async function lookHere(gids: readonly string[], sources: SiblingSources): Promise<SiblingView> {
  const { coordinator, decisions, resolver, resolution, isRunning } = sources;
  const named = gids.flatMap((gid) => {
    const parts = parseGid(gid);
    return parts === null ? [] : [{ gid, parts }];
  });
  const running = named.filter(({ parts }) => isRunning(gtrid(parts))).map(({ gid }) => gid);
  // What is decided on a shard everybody can read there.
  const own = named.filter(
    ({ parts }) =>
      parts.anchor === null && parts.coordinator === coordinator && decisions.answersFor(parts.epoch),
  );
  const known = await Promise.all(own.map(async ({ gid }) => [gid, await resolution.known(gid)] as const));
  return { running, known, left: resolver.inDoubt };
}

type Resolve = (request: ResolveRequest) => Promise<readonly ResolveRemark[]>;

const RESOLVE: Topic<ResolveRequest, readonly ResolveRemark[]> = topic("commits.resolve");

/** Resolves by `own`, or by the worker that has the transaction in hand. */
export function resolvesBy(membership: Membership | null, own: Resolve): Resolve {
  if (membership === null) return own;
  membership.parent.serve(RESOLVE, own);
  return async (request) => {
    try {
      return await own(request);
    } catch (error) {
      if (!isElsewhere(error)) throw error;
      return membership.parent.ask(RESOLVE, request).catch((other: unknown) => {
        throw isElsewhere(other) || isGone(other) ? error : other;
      });
    }
  };
}

/** The parent's side: asks the others in turn, until one has it in hand. */
export function relayResolve(crew: Crew): void {
  crew.watch({
    onJoined: (from) =>
      from.channel.serve(RESOLVE, async (request) => {
        let refusal = new Fault("resolve.owner_alive");
        for (const member of crew.members) {
          if (member === from) continue;
          try {
            return await member.channel.ask(RESOLVE, request);
          } catch (error) {
            if (isElsewhere(error)) refusal = error;
            else if (!isGone(error)) throw error;
          }
        }
        throw refusal;
      }),
  });
}

const isGone = (error: unknown): boolean => error instanceof Fault && error.id === "fleet.gone";

const isElsewhere = (error: unknown): error is Fault =>
  error instanceof Fault && error.id === "resolve.owner_alive";
