// Pure.
/**
 * Requests and answers between pgxa and the shards, in any order, and lost whenever the simulation likes.
 *
 * A request that is lost to pgxa may still be on its way and arrive after everybody stopped waiting for it: only a
 * fence (`terminate`) ends that.
 */
import type { SeededRandom } from "./seededRandom.ts";
import type { Answer } from "./simulatedShard.ts";

export interface Message {
  /** Which life of the process sent it. */
  readonly generation: number;
  readonly shard: number;
  readonly gtrid: string;
  readonly execute: () => Answer;
  /** Told once, unless the process died: the answer, or null when it is lost. */
  readonly onAnswer: (answer: Answer | null) => void;
}

interface Travelling extends Message {
  answer: Answer | null;
  isHeard: boolean;
}

export class Messages {
  #travelling: Travelling[] = [];
  readonly #random: SeededRandom;

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  send(message: Message): void {
    this.#travelling.push({ ...message, answer: null, isHeard: true });
  }

  get areHeard(): boolean {
    return this.#travelling.some(({ isHeard }) => isHeard);
  }

  /** A request arrives, or an answer does. */
  deliver(which: (message: Travelling) => boolean = () => true): boolean {
    const candidates = this.#travelling.filter(which);
    if (candidates.length === 0) return false;
    const message = this.#random.pick(candidates);
    if (message.answer === null) {
      message.answer = message.execute();
      if (!message.isHeard) this.#remove(message);
    } else {
      this.#remove(message);
      message.onAnswer(message.answer);
    }
    return true;
  }

  deliverUnheardOf(isOld: (generation: number) => boolean): void {
    while (this.deliver(({ isHeard, generation }) => !isHeard && isOld(generation)));
  }

  loseOne(): void {
    const heard = this.#travelling.filter(({ isHeard }) => isHeard);
    if (heard.length > 0) this.#lose(this.#random.pick(heard));
  }

  /** The shard is gone: requests to it never arrive, answers from it do not either. */
  loseAllOf(shard: number): void {
    for (const message of this.#travelling.filter((one) => one.shard === shard)) {
      const wasHeard = message.isHeard;
      this.#remove(message);
      if (wasHeard) message.onAnswer(null);
    }
  }

  /** The process is gone: nobody hears anything; requests on their way may arrive. */
  forgetListeners(): void {
    for (const message of [...this.#travelling]) {
      message.isHeard = false;
      if (message.answer !== null) this.#remove(message);
    }
  }

  /** The backend is gone, and what it had not read yet. */
  terminate(shard: number, gtrid: string): void {
    this.#travelling = this.#travelling.filter(
      (one) => one.isHeard || one.shard !== shard || one.gtrid !== gtrid,
    );
  }

  #lose(message: Travelling): void {
    message.isHeard = false;
    if (message.answer !== null) this.#remove(message);
    message.onAnswer(null);
  }

  #remove(message: Travelling): void {
    this.#travelling.splice(this.#travelling.indexOf(message), 1);
  }
}
