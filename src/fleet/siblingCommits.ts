/**
 * What the workers of one pgxa tell each other about commits, through their parent.
 *
 * Nothing of it is on a commit's way: a worker is told when another is gone, so that what that one left is settled at once,
 * and asks what the others know when an operator looks at transactions in doubt.
 */
import { Fault } from "../base/fault.ts";
import type { Knowledge } from "../txn/heuristic/rulingTable.ts";
import type { InDoubt } from "../txn/resolver.ts";
import { type Topic, topic } from "./channel.ts";
import type { Crew, Membership } from "./crew.ts";

/** What other workers know of transactions in doubt; branches by their gids. */
export interface SiblingView {
  /** Those whose transactions they are committing now. */
  readonly running: readonly string[];
  /** What is known of the decision, by whoever answers for it. */
  readonly known: readonly (readonly [string, Knowledge])[];
  /** What they left as it is. */
  readonly left: readonly InDoubt[];
}

export interface OwnCommits {
  /** What is known here of the branches `gids`, and all that is left. */
  look(gids: readonly string[]): Promise<SiblingView>;
  /** Searches the shards for what a worker left that is gone. */
  searchSoon(): void;
}

const LOOK: Topic<readonly string[], SiblingView> = topic("commits.look");
const GONE: Topic<null> = topic("commits.workerGone");

const NOTHING: SiblingView = { running: [], known: [], left: [] };

/** A worker's side, of which the others ask. */
export function serveSiblings({ parent }: Membership, own: OwnCommits): void {
  parent.serve(LOOK, (gids) => own.look(gids));
  parent.serve(GONE, () => own.searchSoon());
}

/** What the other workers know; nothing if there are none, or the parent is gone. */
export async function askSiblings(
  membership: Membership | null,
  gids: readonly string[],
): Promise<SiblingView> {
  if (membership === null) return NOTHING;
  try {
    return await membership.parent.ask(LOOK, gids);
  } catch (error) {
    if (error instanceof Fault && error.id === "fleet.gone") return NOTHING;
    throw error;
  }
}

/** The parent's side. */
export function relayCommits(crew: Crew): void {
  crew.watch({
    onJoined: (member) =>
      member.channel.serve(LOOK, async (gids) => {
        const views = (await crew.askOthers(member, LOOK, gids)).map(({ answer }) => answer);
        return {
          running: views.flatMap(({ running }) => running),
          known: views.flatMap(({ known }) => known),
          left: views.flatMap(({ left }) => left),
        };
      }),
    onLeft: (member) => crew.tellOthers(member, GONE, null),
  });
}
