/**
 * The parent's knowledge of its workers: it asks them when somebody wants to know, and keeps what the dead had counted.
 *
 * A worker that does not answer in time is counted as it was last. Whoever asks gets numbers that have gone through
 * here, so that no counter that was ever shown goes backwards. What a worker counted after it was asked last dies with it.
 */
import type { Clock, Timer } from "../../base/environment.ts";
import { Fault } from "../../base/fault.ts";
import type { Topic } from "../../fleet/channel.ts";
import type { Crew, Member } from "../../fleet/crew.ts";
import type { MemoryView, WorkersView } from "../views.ts";
import { DeadlockBook } from "./deadlockBook.ts";
import { FACT_NAMES, type FactName, type Facts } from "./facts.ts";
import { addRemains, mergeFact, RULES, remainsOf } from "./merging.ts";
import { ALL_FACTS, OWN_FACTS } from "./topics.ts";

/** More than a worker needs that asks its shards, which takes two seconds at most. */
const ANSWER_MS_MAX = 5_000;

export interface GatheringParts {
  readonly crew: Crew;
  readonly clock: Clock;
  /** Of the parent itself. */
  memory(): MemoryView;
}

export class Gathering {
  readonly #parts: GatheringParts;
  /** Of each worker that is there, what would remain of it. */
  readonly #remains = new Map<Member, Partial<Facts>>();
  /** Of all that are gone. */
  #gone: Partial<Facts> = {};
  /** What will do when no worker answers. */
  #kept: Partial<Facts> = {};
  readonly #deadlocks = new DeadlockBook();
  readonly #indexes = new Set<number>();
  #restarts = 0;

  constructor(parts: GatheringParts) {
    this.#parts = parts;
    parts.crew.watch({
      onJoined: (member) => this.#join(member),
      onLeft: (member) => this.#leave(member),
    });
  }

  /** Those of `names`, of all workers; rejects with the Fault of one, but not for one that is gone or silent. */
  async gather(names: readonly FactName[]): Promise<Partial<Facts>> {
    const { crew } = this.#parts;
    const told = await Promise.all(
      crew.members.map(async (member) => {
        const facts = await this.#ask(member, OWN_FACTS, names);
        if (facts !== null) this.#remember(member, facts);
        return [member, facts] as const;
      }),
    );
    const heard = told.flatMap(([member, facts]) => (facts === null ? [] : [[member, facts] as const]));
    if (names.includes("deadlocks")) {
      this.#deadlocks.hear(heard.map(([member, facts]) => [member, facts.deadlocks ?? []] as const));
    }
    const silent = [...this.#remains].filter(([member]) => !heard.some(([one]) => one === member));
    const present = heard.filter(([member]) => this.#remains.has(member)).map(([, facts]) => facts);
    const all = [...present, ...silent.map(([, remains]) => remains), this.#gone];
    return Object.fromEntries(names.map((name) => [name, this.#merge(name, all)]));
  }

  /** Asks one worker; null if it is gone, or does not answer in time. */
  async #ask<Question, Answer>(
    { channel }: Member,
    topic: Topic<Question, Answer>,
    question: Question,
  ): Promise<Answer | null> {
    let timer: Timer | null = null;
    const late = new Promise<null>((resolve) => {
      timer = this.#parts.clock.after(ANSWER_MS_MAX, () => resolve(null));
    });
    const answer = channel.ask(topic, question).catch((error: unknown) => {
      if (error instanceof Fault && error.id === "fleet.gone") return null;
      throw error;
    });
    const first = await Promise.race([answer, late]);
    (timer as Timer | null)?.cancel();
    return first;
  }

  #merge<Name extends FactName>(name: Name, all: readonly Partial<Facts>[]): Facts[Name] {
    const told = all.flatMap((facts) => (facts[name] === undefined ? [] : [facts[name]]));
    const isKept = RULES[name].isKept === true;
    const known = this.#kept[name];
    if (isKept && told.length === 0 && known !== undefined) return known;
    const merged = mergeFact(name, told as readonly Facts[Name][]);
    if (isKept && told.length > 0) this.#kept = { ...this.#kept, [name]: merged };
    return this.#ownPart(name, merged);
  }

  /** With what the parent alone knows. */
  #ownPart<Name extends FactName>(name: Name, fact: Facts[Name]): Facts[Name] {
    switch (name) {
      case "memory":
        return mergeFact("memory", [fact as MemoryView, this.#parts.memory()]) as Facts[Name];
      case "workers":
        return { ...(fact as WorkersView), restarts: this.#restarts } as Facts[Name];
      case "deadlocks":
        return this.#deadlocks.records as Facts[Name];
      default:
        return fact;
    }
  }

  #remember(member: Member, facts: Partial<Facts>): void {
    const known = this.#remains.get(member);
    if (known !== undefined) this.#remains.set(member, { ...known, ...remainsOf(facts) });
  }

  #join(member: Member): void {
    this.#remains.set(member, {});
    if (this.#indexes.has(member.index)) this.#restarts += 1;
    this.#indexes.add(member.index);
    member.channel.serve(ALL_FACTS, (names) =>
      this.gather(names.filter((name) => FACT_NAMES.includes(name))),
    );
  }

  #leave(member: Member): void {
    const remains = this.#remains.get(member) ?? {};
    this.#remains.delete(member);
    this.#gone = addRemains(this.#gone, remains);
  }
}
