/**
 * The workers of one pgxa open their decision logs of files one after the other.
 *
 * All of them are processes of one coordinator, as those of an online restart are (txn/fileLog/logFamily.ts). The first
 * takes the log directory itself, which is refused if another pgxa has it. Those that come later, and whoever takes a dead
 * one's place, are heirs: each has a directory below and an epoch of its own.
 *
 * The parent says whose turn it is, and gives out the epochs. So each is greater than all before it, whatever the clock
 * does; who finds a later one in a log never mistakes an earlier one, of a worker that lives, for that of a dead one.
 */
import type { Clock } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import { type Topic, topic } from "./channel.ts";
import type { Crew, Member, Membership } from "./crew.ts";

interface Turn {
  /** The worker takes an heir's directory, and the first epoch after this that it can have; null: the log directory. */
  readonly after: number | null;
}

/** Asked by a worker with the latest epoch of the process that it takes over from, if there is one. */
const TURN: Topic<{ readonly inherited: number | null }, Turn> = topic("log.turn");
/** Told when the turn is over, with the latest epoch that the worker's log tells of; null: it has none. */
const OPENED: Topic<{ readonly latestEpoch: number | null }> = topic("log.opened");

/** An heir tries a few. */
const EPOCHS_A_TURN = 16;

interface Waiting {
  readonly member: Member;
  readonly inherited: number | null;
  begin(turn: Turn): void;
}

/** The parent's side. */
export class LogTurns {
  readonly #clock: Clock;
  /** The greatest epoch that may have been given; null while nobody has had the directory. */
  #latest: number | null;
  #holder: Member | null = null;
  #waiting: Waiting[] = [];

  /** `inherited`: the latest epoch of the process, or the workers, that all of these take over from. */
  constructor(clock: Clock, inherited: number | null = null) {
    this.#clock = clock;
    this.#latest = inherited;
  }

  /** The greatest epoch that may have been given to a worker; null while nobody has had the directory. */
  get latestEpoch(): number | null {
    return this.#latest;
  }

  serve(crew: Crew): void {
    crew.watch({
      onJoined: (member) => {
        member.channel.serve(TURN, ({ inherited }) => {
          // What a worker said before its death may be heard after it.
          if (crew.at(member.index) !== member) throw new Fault("fleet.gone");
          return this.#take(member, inherited);
        });
        member.channel.serve(OPENED, ({ latestEpoch }) => {
          if (this.#holder !== member) return;
          if (latestEpoch !== null) this.#note(latestEpoch);
          this.#giveTo(null);
        });
      },
      onLeft: (member) => {
        this.#waiting = this.#waiting.filter((one) => one.member !== member);
        if (this.#holder === member) this.#giveTo(null);
      },
    });
  }

  #take(member: Member, inherited: number | null): Promise<Turn> {
    return new Promise((resolve) => {
      this.#waiting.push({ member, inherited, begin: resolve });
      if (this.#holder === null) this.#giveNext();
    });
  }

  #giveTo(member: Member | null): void {
    this.#holder = member;
    if (member === null) this.#giveNext();
  }

  #giveNext(): void {
    const next = this.#waiting.shift();
    if (next === undefined) return;
    this.#giveTo(next.member);
    if (next.inherited !== null) this.#note(next.inherited);
    if (this.#latest === null) return next.begin({ after: null });
    const after = Math.max(this.#latest, this.#clock.wallMs());
    this.#latest = after + EPOCHS_A_TURN;
    next.begin({ after });
  }

  #note(epoch: number): void {
    this.#latest = Math.max(this.#latest ?? 0, epoch);
  }
}

/**
 * A worker's side: opens its log when it is its turn. `open` gets what Turn says; `inherited` is the latest epoch of the
 * process that this one takes over from.
 */
export async function openInTurn<Log extends { readonly latestEpoch: number }>(
  { parent }: Membership,
  inherited: number | null,
  open: (after: number | null) => Promise<Log>,
): Promise<Log> {
  const { after } = await parent.ask(TURN, { inherited });
  let latestEpoch: number | null = null;
  try {
    const log = await open(after);
    latestEpoch = log.latestEpoch;
    return log;
  } finally {
    parent.tell(OPENED, { latestEpoch });
  }
}
