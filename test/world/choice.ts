// Pure.
/**
 * What may happen next in a simulated world, and who says which of it does.
 *
 * A schedule is the list of what was chosen, by id; the same list always leads to the same world.
 */

export type TransitionKind =
  /** The shard executes a statement that is on its way, or a part of it. */
  | "execute"
  /** Its answer, or that there is none, arrives. */
  | "hear"
  /** A statement whose sender has given it up is executed after all. */
  | "late"
  /** Such a statement never arrives, and its backend ends. */
  | "vanish"
  /** The disk of a process has made durable what was written. */
  | "sync"
  | "timer"
  | "restart"
  // Faults, of which there is a budget.
  | "crash"
  | "shardCrash"
  | "failover"
  | "loss"
  | "duplicate"
  | "expiry"
  // Also within a budget: what could be repeated for ever.
  | "sweep"
  | "renewal"
  | "oldLook"
  | "slowLook"
  /** Faults are over: all comes to rest. */
  | "rest";

export interface Transition {
  /** The same for the same thing in worlds that differ only in the order of what is independent. */
  readonly id: string;
  readonly kind: TransitionKind;
  /** Whose memory it changes; null: nobody's. */
  readonly process: string | null;
  /** Whose data it reads or changes; null: no shard's. */
  readonly shard: string | null;
  /** Whether it may change or forbid any other. */
  readonly isGlobal: boolean;
  /** For a person to read. */
  readonly words: string;
}

/** Says which of the transitions, of which there is at least one, happens next; null: the run ends here. */
export interface Chooser {
  choose(transitions: readonly Transition[]): Transition | null;
}

/** Whether the two lead to the same world in either order, and neither forbids the other. */
export function areIndependent(a: Transition, b: Transition): boolean {
  if (a.isGlobal || b.isGlobal || a.id === b.id) return false;
  if (a.process !== null && a.process === b.process) return false;
  return a.shard === null || a.shard !== b.shard;
}

/** Chooses what was chosen before. */
export class RecordedChoices implements Chooser {
  readonly #ids: readonly string[];
  #next = 0;

  constructor(ids: readonly string[]) {
    this.#ids = ids;
  }

  choose(transitions: readonly Transition[]): Transition | null {
    const id = this.#ids[this.#next];
    if (id === undefined) return null;
    this.#next += 1;
    const chosen = transitions.find((transition) => transition.id === id);
    if (chosen === undefined) throw new Error(`"${id}" cannot happen at step ${this.#next} of this schedule`);
    return chosen;
  }
}

/** Chooses by chance; `weightOf` says how often a transition is chosen in comparison with others, 0 for never. */
export class RandomChoices implements Chooser {
  readonly #fraction: () => number;
  readonly #weightOf: (transition: Transition) => number;

  constructor(fraction: () => number, weightOf: (transition: Transition) => number = () => 1) {
    this.#fraction = fraction;
    this.#weightOf = weightOf;
  }

  choose(transitions: readonly Transition[]): Transition | null {
    const weights = transitions.map((transition) => this.#weightOf(transition));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    let left = this.#fraction() * sum;
    for (const [i, weight] of weights.entries()) {
      if (left < weight) return transitions[i]!;
      left -= weight;
    }
    return null;
  }
}
