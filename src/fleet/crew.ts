/**
 * The workers of one pgxa, as their parent and as each of them sees them.
 *
 *     worker 0 ---\
 *     worker 1 ----+--- parent
 *     worker 2 ---/
 *
 * Workers do not talk to each other: what concerns another goes through the parent, which also keeps what can be had only
 * once. A worker that died is followed by another with its number, which is another member.
 */
import { Fault } from "../base/fault.ts";
import type { Channel, Topic } from "./channel.ts";

/** What a worker knows of the others. */
export interface Membership {
  /** The number of this worker, from 0; another takes it over after its death. */
  readonly index: number;
  /** How many workers there are to be. */
  readonly size: number;
  readonly parent: Channel;
}

/** A worker that runs, as the parent sees it. */
export interface Member {
  readonly index: number;
  readonly pid: number;
  readonly channel: Channel;
}

export interface CrewListener {
  /** A worker is there; what it is to be asked can be served on its channel from now on. */
  onJoined?(member: Member): void;
  /** It is built and serves its topics; it lets clients in when all of these have resolved. */
  onBuilt?(member: Member): void | Promise<void>;
  onLeft?(member: Member): void;
}

export class Crew {
  readonly #members = new Map<number, Member>();
  readonly #listeners: CrewListener[] = [];

  get members(): readonly Member[] {
    return [...this.#members.values()];
  }

  at(index: number): Member | undefined {
    return this.#members.get(index);
  }

  /** Tells of those who are there already, too. */
  watch(listener: CrewListener): void {
    this.#listeners.push(listener);
    for (const member of this.members) listener.onJoined?.(member);
  }

  join(member: Member): void {
    this.#members.set(member.index, member);
    for (const listener of this.#listeners) listener.onJoined?.(member);
  }

  /** Resolves when it knows all that it has to before it lets clients in. */
  async prepare(member: Member): Promise<void> {
    for (const listener of this.#listeners) await listener.onBuilt?.(member);
  }

  /** It is gone, and whoever waits for its answers is told. */
  leave(member: Member): void {
    if (this.#members.get(member.index) !== member) return;
    this.#members.delete(member.index);
    member.channel.close();
    for (const listener of this.#listeners) listener.onLeft?.(member);
  }

  /** Tells every worker but `from`. */
  tellOthers<Question>(from: Member | null, topic: Topic<Question>, body: Question): void {
    for (const member of this.members) if (member !== from) member.channel.tell(topic, body);
  }

  /**
   * Asks every worker but `from`. Those that are gone before they answer are left out; rejects with the first Fault of
   * another kind.
   */
  async askOthers<Question, Answer>(
    from: Member | null,
    topic: Topic<Question, Answer>,
    body: Question,
  ): Promise<readonly { readonly member: Member; readonly answer: Answer }[]> {
    const asked = this.members
      .filter((member) => member !== from)
      .map((member) =>
        member.channel.ask(topic, body).then(
          (answer) => [{ member, answer }],
          (error: unknown) => {
            if (error instanceof Fault && error.id === "fleet.gone") return [];
            throw error;
          },
        ),
      );
    return (await Promise.all(asked)).flat();
  }
}
