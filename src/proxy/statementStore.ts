/**
 * The prepared statements of one client, and how a server connection is given the ones it lacks.
 *
 * A client's names mean something to that client alone, while a server connection serves many. So a named
 * statement goes to the shard under a name of pgxa's own, one for each text and list of parameter types, and a
 * connection that lacks it is sent its Parse in front of the message that needs it; the reply to that is dropped.
 * The unnamed statement keeps its (empty) name, and is parsed again wherever it was not the last one.
 */
import type { ServerConnection } from "../pool/serverConnection.ts";
import { STATEMENTS_MAX } from "../pool/serverConnection.ts";
import type { Encoding } from "../wire/fieldReader.ts";
import { readParse } from "../wire/frontendReaders.ts";
import * as send from "../wire/frontendWriters.ts";

export interface Statement {
  /** The name on server connections; empty for the unnamed statement. */
  readonly key: string;
  readonly text: string;
  readonly parameterTypes: readonly number[];
  /** The Parse message under that name. */
  readonly parse: Buffer;
  /** Whether a shard has accepted the text. */
  isConfirmed: boolean;
}

/** Names for statement texts, shared by all clients of a process. The oldest are forgotten; a new name is as good. */
export class StatementNames {
  readonly #names = new Map<string, string>();
  readonly #namesMax: number;
  #next = 1;

  constructor(namesMax: number) {
    this.#namesMax = namesMax;
  }

  nameOf(text: string, parameterTypes: readonly number[]): string {
    const id = `${parameterTypes.join(",")}\n${text}`;
    const known = this.#names.get(id);
    if (known !== undefined) return known;
    const name = `pgxa_${this.#next}`;
    this.#next += 1;
    this.#names.set(id, name);
    if (this.#names.size > this.#namesMax) {
      for (const oldest of this.#names.keys()) {
        this.#names.delete(oldest);
        break;
      }
    }
    return name;
  }
}

export class StatementStore {
  readonly #names: StatementNames;
  readonly #named = new Map<string, Statement>();
  unnamed: Statement | null = null;

  constructor(names: StatementNames) {
    this.#names = names;
  }

  get size(): number {
    return this.#named.size;
  }

  /** The client's statement of that name, or null. */
  find(name: string): Statement | null {
    return name === "" ? this.unnamed : (this.#named.get(name) ?? null);
  }

  /** Reads a Parse message into a statement that is not kept yet. */
  read(
    buffer: Buffer,
    start: number,
    end: number,
    encoding: Encoding = "utf8",
  ): { readonly name: string; readonly statement: Statement } {
    const { name, text, parameterTypes } = readParse(buffer, start, end, encoding);
    const key = name === "" ? "" : this.#names.nameOf(text, parameterTypes);
    const parse =
      name === "" ? Buffer.from(buffer.subarray(start, end)) : send.parseRenamed(buffer, start, end, key);
    return { name, statement: { key, text, parameterTypes, parse, isConfirmed: false } };
  }

  keep(name: string, statement: Statement): void {
    if (name === "") this.unnamed = statement;
    else this.#named.set(name, statement);
  }

  close(name: string): void {
    if (name === "") this.unnamed = null;
    else this.#named.delete(name);
  }

  clear(): void {
    this.#named.clear();
    this.unnamed = null;
  }

  /** A shard accepted or refused the statement of that key; one that was never accepted is the client's no more. */
  settle(key: string, stands: boolean): void {
    for (const [name, statement] of this.#named) {
      if (statement.key !== key || statement.isConfirmed) continue;
      if (stands) statement.isConfirmed = true;
      else this.#named.delete(name);
    }
  }
}

/** Sends the client's own Parse; its ParseComplete goes to the client. */
export function sendParse(connection: ServerConnection, statement: Statement): void {
  const { key } = statement;
  if (key === "") {
    connection.unnamedStatement = statement;
    connection.replies.expectParse(true, null);
  } else {
    if (connection.statements.has(key)) closeOn(connection, key);
    connection.statements.add(key);
    connection.replies.expectParse(true, key);
  }
  connection.outbox.put(statement.parse);
  evict(connection, key);
}

/** Makes sure that `statement` stands on `connection`; what is sent for it stays between pgxa and the shard. */
export function ensureStatement(connection: ServerConnection, statement: Statement): void {
  const { key } = statement;
  if (key === "") {
    if (connection.unnamedStatement === statement) return;
    connection.unnamedStatement = statement;
    connection.replies.expectParse(false, null);
  } else {
    if (connection.statements.has(key)) return;
    connection.statements.add(key);
    connection.replies.expectParse(false, key);
  }
  connection.outbox.put(statement.parse);
  evict(connection, key);
}

function evict(connection: ServerConnection, keep: string): void {
  if (connection.statements.size <= STATEMENTS_MAX) return;
  for (const oldest of connection.statements) {
    if (oldest === keep) continue;
    closeOn(connection, oldest);
    return;
  }
}

function closeOn(connection: ServerConnection, key: string): void {
  connection.statements.delete(key);
  connection.replies.expectClose(false);
  connection.outbox.put(send.closeStatement(key));
}
