// Pure.
/**
 * What pgxa must know of messages that come within a client's own groups: whose they are, and what they mean for the
 * statement they are about. In the order in which they were asked for, which is the order in which they come; behind an
 * error the shard passes over the rest of a batch, and its marks go with the group.
 */
import { Chain, type Link } from "../base/chain.ts";

/** A statement whose columns are asked for. */
export interface Described {
  /** Its name on the connection. */
  readonly key: string;
}

export interface Mark extends Link<Mark> {
  /** The type of the message that comes. */
  readonly type: number;
  readonly isRelayed: boolean;
  /** Whether a CloseComplete is passed on as the ParseComplete that the client waits for. */
  readonly isForParse: boolean;
  /** Of a Describe. */
  readonly described: Described | null;
  /** Of a Parse: the statement's key if it stays. */
  readonly key: string | null;
  /** Which group it belongs to, counted from the connection's first. */
  readonly group: number;
}

/** What the client is told instead of the error that quotes `token`. */
interface Refusal {
  readonly token: string;
  readonly message: Buffer;
  readonly group: number;
}

export class ReplyMarks {
  readonly #marks = new Chain<Mark>();
  #refusals: Refusal[] = [];

  push(mark: Mark): void {
    this.#marks.push(mark);
  }

  /** The mark of the message of `type` that has come; null if the message is of no interest. */
  take(type: number): Mark | null {
    return this.#marks.first?.type === type ? this.#marks.shift() : null;
  }

  /** The same, and the mark stays. */
  peek(type: number): Mark | null {
    const { first } = this.#marks;
    return first?.type === type ? first : null;
  }

  refuse(refusal: Refusal): void {
    this.#refusals.push(refusal);
  }

  get hasRefusals(): boolean {
    return this.#refusals.length > 0;
  }

  refusalOf(errorMessage: string): Buffer | null {
    return this.#refusals.find(({ token }) => errorMessage.includes(token))?.message ?? null;
  }

  /** The statements whose columns pgxa itself asked for within `group`. */
  asked(group: number): readonly Described[] {
    const asked: Described[] = [];
    for (let mark = this.#marks.first; mark !== null; mark = mark.next) {
      if (mark.described !== null && !mark.isRelayed && mark.group === group) asked.push(mark.described);
    }
    return asked;
  }

  get isEmpty(): boolean {
    return this.#marks.first === null && this.#refusals.length === 0;
  }

  /** All of `group` has been answered; the keys of statements whose Parse was not. */
  endGroup(group: number): readonly string[] {
    const keys: string[] = [];
    for (let mark = this.#marks.first; mark !== null && mark.group <= group; mark = this.#marks.first) {
      this.#marks.shift();
      if (mark.key !== null) keys.push(mark.key);
    }
    while (this.#refusals.length > 0 && this.#refusals[0]!.group <= group) this.#refusals.shift();
    return keys;
  }
}
