/**
 * What a kind of session state is: how a client makes it, and how anybody sees it.
 *
 * Two clients, "a" and "b", make the same kind with another value each. Who looks sees a text: the value, "" for
 * nothing, or "!" and the SQLSTATE with which Postgres says that there is nothing.
 */
import { errorField, type Message, query, type RawClient } from "./rawClient.ts";

export type Who = "a" | "b";

/** A client that asks for one text at a time. */
export class Asker {
  readonly raw: RawClient;
  /** The status of the last ReadyForQuery. */
  status = "I";
  /** What came unasked. */
  readonly notified: string[] = [];

  constructor(raw: RawClient) {
    this.raw = raw;
  }

  /** The first column of the first row, or "!" and the SQLSTATE. */
  async say(...messages: readonly Buffer[]): Promise<string> {
    this.raw.send(...messages);
    const answer = await this.raw.until("Z");
    this.status = answer.at(-1)!.body.toString();
    for (const { type, body } of answer) if (type === "A") this.notified.push(body.toString());
    const error = answer.find(({ type }) => type === "E");
    if (error !== undefined) return `!${errorField(error, "C")}`;
    return firstColumn(answer.find(({ type }) => type === "D"));
  }

  ask(sql: string): Promise<string> {
    return this.say(query(sql));
  }

  /** Looks without harm to the transaction that may be open. */
  async look(kind: Kind, isOwner = false): Promise<string> {
    const isInBlock = this.status === "T" && !isOwner;
    if (isInBlock) await this.ask("SAVEPOINT looking");
    const seen = await kind.see(this, isOwner);
    if (isInBlock) await this.ask("ROLLBACK TO SAVEPOINT looking; RELEASE SAVEPOINT looking");
    return seen;
  }
}

function firstColumn(row: Message | undefined): string {
  return row === undefined ? "" : row.body.subarray(6, 6 + Math.max(0, row.body.readInt32BE(2))).toString();
}

export interface Kind {
  readonly name: string;
  /** Kinds with the same slot are seen by the same look. */
  readonly slot: string;
  /** Keeps its server connection: by a transaction that is open, or as pinned. */
  readonly holds?: boolean;
  /** Parameters of the startup message. */
  startup?(who: Who): Readonly<Record<string, string>>;
  /** Resolves with what `see` tells its owner from then on. */
  make(client: Asker, who: Who): Promise<string>;
  see(client: Asker, isOwner: boolean): Promise<string>;
  /** What is seen by who has made nothing. */
  readonly none: string;
  /** What is seen is gone once something else was said. */
  readonly isBrief?: boolean;
}
