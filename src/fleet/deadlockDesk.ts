/**
 * The parent's part in finding deadlocks: it collects the workers' shares for whoever asks, and lets one judge at a time.
 *
 * A worker that does not answer is waited for once; while it stays silent the others go on without it. One that has the
 * turn and does not end it loses it, and what it says afterwards is not carried out.
 */
import { detach } from "../base/detach.ts";
import type { Clock, Timer } from "../base/environment.ts";
import type { PeerShare, PeerShares, SnapshotShare } from "../deadlock/peers.ts";
import type { Crew, Member } from "./crew.ts";
import {
  OTHERS_SHARES,
  OWN_SHARE,
  SENTENCE,
  type Sentence,
  type ShareQuestion,
  TURN,
  TURN_OVER,
} from "./deadlockTopics.ts";
import { waitBounded } from "./waitBounded.ts";

/** How long a worker may take over its share, in ms. */
export const SHARE_MAX_MS = 250;
/** How long a worker may take over hearing of a victim, in ms. */
export const SENTENCE_MAX_MS = 500;
/** How long one may have the turn, in ms: a look at shards, one of which may be silent for the first time, and a sentence. */
export const TURN_MAX_MS = 4_000;

interface Turn {
  readonly member: Member;
  /** Lets it begin. */
  begin(answer: null): void;
}

export class DeadlockDesk {
  readonly #crew: Crew;
  readonly #clock: Clock;
  /** Those who did not answer in time, and have not since. */
  readonly #silent = new Set<Member>();
  #turn: Turn | null = null;
  #turnTimer: Timer | null = null;
  #waiting: Turn[] = [];

  constructor(crew: Crew, clock: Clock) {
    this.#crew = crew;
    this.#clock = clock;
    crew.watch({ onJoined: (member) => this.#serve(member), onLeft: (member) => this.#forget(member) });
  }

  close(): void {
    this.#turnTimer?.cancel();
    this.#turnTimer = null;
  }

  #serve(member: Member): void {
    const { channel } = member;
    channel.serve(OTHERS_SHARES, (question) => this.#sharesFor(member, question));
    channel.serve(TURN, () => this.#giveTurn(member));
    channel.serve(TURN_OVER, () => this.#endTurn(member));
    channel.serve(SENTENCE, (sentence) => this.#passOn(member, sentence));
  }

  #forget(member: Member): void {
    this.#silent.delete(member);
    this.#waiting = this.#waiting.filter((turn) => turn.member !== member);
    this.#endTurn(member);
  }

  // --- shares ---

  async #sharesFor(asking: Member, question: ShareQuestion): Promise<PeerShares> {
    const others = this.#crew.members.filter((member) => member !== asking);
    const answers = await Promise.all(others.map((member) => this.#shareOf(member, question)));
    const shares = answers.flatMap((answer) => (answer === "late" ? [] : answer));
    return { shares, isWhole: !answers.includes("late") };
  }

  /** Nothing of one that is not there any more, or not yet. */
  async #shareOf(member: Member, question: ShareQuestion): Promise<readonly PeerShare[] | "late"> {
    if (this.#silent.has(member)) return "late";
    const asked = member.channel.ask(OWN_SHARE, question);
    const share = await waitBounded<SnapshotShare>(this.#clock, SHARE_MAX_MS, asked);
    if (share === "gone") return [];
    if (share !== "late") return [{ worker: member.index, ...share }];
    if (this.#crew.at(member.index) === member && !this.#silent.has(member)) this.#noteSilence(member, asked);
    return "late";
  }

  #noteSilence(member: Member, asked: Promise<unknown>): void {
    this.#silent.add(member);
    const forget = (): void => void this.#silent.delete(member);
    detach(asked.then(forget, forget), "it has answered after all, or is gone");
  }

  // --- turns ---

  #giveTurn(member: Member): Promise<null> {
    return new Promise((begin) => {
      this.#waiting.push({ member, begin });
      this.#next();
    });
  }

  #endTurn(member: Member): void {
    if (this.#turn?.member !== member) return;
    this.#turn = null;
    this.#turnTimer?.cancel();
    this.#next();
  }

  #next(): void {
    if (this.#turn !== null) return;
    const turn = this.#waiting.shift();
    if (turn === undefined) return;
    this.#turn = turn;
    this.#turnTimer = this.#clock.after(TURN_MAX_MS, () => this.#endTurn(turn.member));
    turn.begin(null);
  }

  async #passOn(from: Member, sentence: Sentence): Promise<null> {
    const to = this.#crew.at(sentence.worker);
    if (this.#turn?.member === from && to !== undefined)
      await waitBounded(this.#clock, SENTENCE_MAX_MS, to.channel.ask(SENTENCE, sentence));
    return null;
  }
}
