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
}

/** What the client is told instead of the error that quotes `token`. */
interface Refusal {
  readonly token: string;
  readonly message: Buffer;
  readonly group: number;
}

export class ReplyMarks {
  #marks: Mark[] = [];
  #refusals: Refusal[] = [];

  push(mark: Mark): void {
    this.#marks.push(mark);
  }

  /** The mark of the message of `type` that has come; null if the message is of no interest. */
  take(type: number): Mark | null {
    return this.#marks[0]?.type === type ? this.#marks.shift()! : null;
  }

  /** The same, and the mark stays. */
  peek(type: number): Mark | null {
    const [mark] = this.#marks;
    return mark?.type === type ? mark : null;
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
    return this.#marks.flatMap((mark) =>
      mark.described !== null && !mark.isRelayed && mark.group === group ? [mark.described] : [],
    );
  }

  /** All of `group` has been answered; the keys of statements whose Parse was not. */
  endGroup(group: number): readonly string[] {
    if (this.#marks.length === 0 && this.#refusals.length === 0) return NONE;
    const keys: string[] = [];
    while (this.#marks.length > 0 && this.#marks[0]!.group <= group) {
      const { key } = this.#marks.shift()!;
      if (key !== null) keys.push(key);
    }
    while (this.#refusals.length > 0 && this.#refusals[0]!.group <= group) this.#refusals.shift();
    return keys;
  }
}

const NONE: readonly string[] = [];
