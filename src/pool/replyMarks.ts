// Pure.
/**
 * What pgxa must know of messages that come within a client's own groups: whose they are, and what they mean for the
 * statement they are about. In the order in which they were asked for, which is the order in which they come; behind an
 * error the shard passes over the rest of a batch, and its marks go with the group.
 */

/** A statement whose columns are asked for. */
export interface Described {
  /** Its name on the connection. */
  readonly key: string;
}

export interface Mark {
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
  /** The one asked for next; null: not asked for yet. */
  next: Mark | null;
}

/** What the client is told instead of the error that quotes `token`. */
interface Refusal {
  readonly token: string;
  readonly message: Buffer;
  readonly group: number;
}

export class ReplyMarks {
  /** In a chain: an array that is emptied again and again makes new room each time. */
  #first: Mark | null = null;
  #last: Mark | null = null;
  #refusals: Refusal[] = [];

  push(mark: Mark): void {
    if (this.#last === null) this.#first = mark;
    else this.#last.next = mark;
    this.#last = mark;
  }

  /** The mark of the message of `type` that has come; null if the message is of no interest. */
  take(type: number): Mark | null {
    const mark = this.#first;
    return mark?.type === type ? this.#shift(mark) : null;
  }

  /** The same, and the mark stays. */
  peek(type: number): Mark | null {
    const mark = this.#first;
    return mark?.type === type ? mark : null;
  }

  #shift(first: Mark): Mark {
    this.#first = first.next;
    if (first.next === null) this.#last = null;
    return first;
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
    for (let mark = this.#first; mark !== null; mark = mark.next) {
      if (mark.described !== null && !mark.isRelayed && mark.group === group) asked.push(mark.described);
    }
    return asked;
  }

  get isEmpty(): boolean {
    return this.#first === null && this.#refusals.length === 0;
  }

  /** All of `group` has been answered; the keys of statements whose Parse was not. */
  endGroup(group: number): readonly string[] {
    const keys: string[] = [];
    for (let mark = this.#first; mark !== null && mark.group <= group; mark = this.#first) {
      const { key } = this.#shift(mark);
      if (key !== null) keys.push(key);
    }
    while (this.#refusals.length > 0 && this.#refusals[0]!.group <= group) this.#refusals.shift();
    return keys;
  }
}
