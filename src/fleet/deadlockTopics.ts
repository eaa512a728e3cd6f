// Pure.
/** What workers and their parent say to each other about deadlocks. */
import type { PeerShares, SnapshotShare, Verdict } from "../deadlock/peers.ts";
import { topic } from "./channel.ts";

/** For which the question about shares is: `all` as in Peers. */
export interface ShareQuestion {
  readonly all: boolean;
}

/** To the parent: what do the others know? */
export const OTHERS_SHARES = topic<ShareQuestion, PeerShares>("deadlock.others");
/** To a worker: what does it know? */
export const OWN_SHARE = topic<ShareQuestion, SnapshotShare>("deadlock.share");
/** To the parent, answered when it is the worker's turn to judge. */
export const TURN = topic<null, null>("deadlock.turn");
/** To the parent: the worker has judged. */
export const TURN_OVER = topic<null>("deadlock.turn_over");

export interface Sentence {
  readonly worker: number;
  readonly verdict: Verdict;
  /** When whoever has not heard it is to leave it, in ms since 1970: it was true when it was said. */
  readonly validUntilMs: number;
}

/** To the parent, and by it to the worker whose client it is. */
export const SENTENCE = topic<Sentence, null>("deadlock.sentence");
