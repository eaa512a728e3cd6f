// Pure.
/** What must hold in every world, and what else in one that has come to rest (rest.ts). */
import type { BranchState } from "./simulatedPostgres.ts";
import type { World, WorldTransaction } from "./world.ts";

/** What is wrong; empty if all is well. */
export function brokenNow(world: World): readonly string[] {
  const broken = world.broken.map((error) => `an invariant of the code is broken: ${reasonOf(error)}`);
  return [...broken, ...world.transactions.flatMap((transaction) => brokenIn(world, transaction))];
}

/** What a shard itself has lost is no fault of pgxa's, if it is told. */
function brokenIn(world: World, transaction: WorldTransaction): readonly string[] {
  const { gtrid, told } = transaction;
  const states = statesOf(world, transaction);
  const found: string[] = [];
  const isSplit = states.includes("committed") && states.includes("aborted");
  if (isSplit) found.push(`${gtrid} is committed on one shard and aborted on another`);
  if (told?.kind === "committed" && states.includes("aborted"))
    found.push(`${gtrid} was acknowledged, and is aborted on a shard`);
  if (told?.kind === "aborted" && states.includes("committed"))
    found.push(`${gtrid} was reported as aborted, and is committed on a shard`);
  const isEverywhere = states.every((state) => state === "committed" || state === "lost");
  const isPromised = told?.kind === "committed" && told.notice === undefined && told.applied === undefined;
  if (isPromised && !isEverywhere)
    found.push(`${gtrid} was acknowledged before it was applied on every shard`);
  return found;
}

export const stillPrepared = (world: World): readonly string[] =>
  world.shards.flatMap(({ id, prepared }) =>
    [...prepared.keys()].map((gid) => `${gid} is still prepared on ${id}`),
  );

/** What nobody has seen to, or told of, although everybody has had the time. */
export function unresolved(world: World): readonly string[] {
  const found = world.transactions.flatMap((transaction) => unresolvedIn(world, transaction));
  for (const process of world.living) {
    const left = process.decisions.unconcluded().map(({ gtrid }) => gtrid);
    const isReported = left.every((gtrid) => wasReported(world, gtrid));
    if (!isReported) found.push(`${process.name} still minds ${left}`);
  }
  return found;
}

function unresolvedIn(world: World, transaction: WorldTransaction): readonly string[] {
  const states = statesOf(world, transaction);
  if (states.includes("open")) return [`${transaction.gtrid} is still open on a shard`];
  const isLost = states.includes("lost") && states.includes("committed");
  if (isLost && !wasReported(world, transaction.gtrid))
    return [`a shard lost its part of ${transaction.gtrid}, which is committed, and nobody says so`];
  return [];
}

const statesOf = (world: World, { gtrid, shards }: WorldTransaction): readonly BranchState[] =>
  shards.map((shard) => world.shards[shard]!.branches.get(gtrid)!.state);

function wasReported(world: World, gtrid: string): boolean {
  const said = world.living.flatMap(({ notes }) =>
    notes.said
      .filter(({ event }) => event === "resolver.evidence_lost")
      .map(({ fields }) => String(fields["gid"])),
  );
  return [...world.reports, ...said].some((gid) => gid.includes(`:${gtrid}:`));
}

function reasonOf(error: Error): string {
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : "";
  return `${error.message}${cause}`;
}
