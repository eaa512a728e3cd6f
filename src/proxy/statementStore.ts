/**
 * The prepared statements of one client, and how a server connection is given the ones it lacks.
 *
 * A client's names mean something to that client alone, while a server connection serves many. So a named
 * statement goes to the shard under a name of pgxa's own, one for each text and list of parameter types, and a
 * connection that lacks it is sent its Parse in front of the message that needs it; the reply to that is dropped.
 *
 * The unnamed statement keeps its (empty) name, and is parsed again wherever it was not the last one, until its text
 * has been seen often (statementNames.ts): from then on it goes under a name too, and a connection where it stands
 * is not sent the Parse again. Which name is decided when it is sent, for that depends on the settings it is sent under.
 */
import { SmallSet } from "../base/smallSet.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import { STATEMENTS_MAX } from "../pool/serverConnection.ts";
import { isOrdinary } from "../routing/ordinaryStatement.ts";
import type { SessionEffect } from "../routing/plan.ts";
import type { Encoding } from "../wire/fieldReader.ts";
import { readParse } from "../wire/frontendReaders.ts";
import * as send from "../wire/frontendWriters.ts";
import { CLIENT_MESSAGE } from "../wire/messageTypes.ts";
import type { BackendSignal } from "./backendSignals.ts";
import { type NameMemo, newMemo, type StatementNames } from "./statementNames.ts";

export interface Statement {
  /** The name on server connections; empty for an unnamed statement that is not shared. */
  key: string;
  readonly text: string;
  /** What it does to the session when it runs; in front of several shards the plan says that. */
  effects: readonly SessionEffect[];
  readonly parameterTypes: readonly number[];
  /** The Parse message; under that name if the client named the statement. */
  readonly parse: Buffer;
  /** Whether a shard has accepted the text. */
  isConfirmed: boolean;
  /** Where a shared name for it may come from; null if the client named it, or it is not to be shared. */
  readonly sharing: StatementNames | null;
  /** The name that its text had last. */
  readonly memo: NameMemo | null;
  /** Whether it surely is one of those that do nothing to the session (routing/ordinaryStatement.ts). */
  readonly isOrdinary: boolean;
  /** The settings under which it got its shared name. */
  settings: string;
  /** The columns that the client was told it has; null if it was not told, or each time it runs. */
  shape: string | null;
  /** The client's own text, if that reads pg_prepared_statements. */
  viewText: string | null;
  /** The cancelling or ending of a client that it asks for. */
  signal: BackendSignal | null;
}

/** An unnamed Parse that was read. */
interface UnnamedParse {
  readonly name: "";
  readonly bytes: Buffer;
  readonly encoding: Encoding;
  readonly text: string;
  readonly parameterTypes: readonly number[];
  readonly memo: NameMemo;
  readonly isOrdinary: boolean;
}

/** Longer messages are copied to be renamed. */
const IN_PLACE_BYTES_MAX = 8_192;
/** Type and length. */
const HEADER_BYTES = 5;
const NO_EFFECTS: readonly SessionEffect[] = [];
/** Longer ones are read each time they come: they are seldom repeated, and each client would keep its last. */
const REPEATED_BYTES_MAX = 2_048;
/** How many unnamed statements may be shared before the answers to them have come. */
const IN_FLIGHT_MAX = 1_000;

export class StatementStore {
  readonly #names: StatementNames;
  readonly #named = new Map<string, Statement>();
  unnamed: Statement | null = null;
  /** The client's unnamed statements that may have gone under a shared name and have not been answered. */
  readonly #inFlight = new SmallSet<Statement>();
  #changesSchema = false;
  /** The last unnamed Parse: an application sends the same one again and again. */
  #lastParse: UnnamedParse | null = null;

  constructor(names: StatementNames) {
    this.#names = names;
  }

  has(name: string): boolean {
    return this.#named.has(name);
  }

  entries(): IterableIterator<[name: string, statement: Statement]> {
    return this.#named.entries();
  }

  get size(): number {
    return this.#named.size;
  }

  /** The client's statement of that name, or null; it is asked for because it is about to be used. */
  find(name: string): Statement | null {
    if (name !== "") return this.#named.get(name) ?? null;
    if (this.unnamed !== null && this.unnamed.key !== "") this.#inFlight.add(this.unnamed);
    return this.unnamed;
  }

  /**
   * Reads a Parse message into a statement that is not kept yet. `mayShare`: whether the connection it is for has
   * nothing of the session's own, such as a temporary table, that would give the text another meaning.
   */
  read(
    buffer: Buffer,
    start: number,
    end: number,
    mayShare: boolean,
    encoding: Encoding = "utf8",
  ): { readonly name: string; readonly statement: Statement } {
    const last = this.#repeated(buffer, start, end, encoding);
    const { name, text, parameterTypes } = last ?? readParse(buffer, start, end, encoding);
    const isShared = name === "" && mayShare && this.#inFlight.size < IN_FLIGHT_MAX;
    const key = name === "" ? "" : this.#names.nameOf(text, parameterTypes);
    const parse =
      last?.bytes ??
      (name === "" ? Buffer.from(buffer.subarray(start, end)) : send.parseRenamed(buffer, start, end, key));
    const memo = last?.memo ?? (name === "" ? newMemo() : null);
    const ordinary = last?.isOrdinary ?? isOrdinaryParse(buffer, start, end);
    if (last === null && memo !== null && parse.length <= REPEATED_BYTES_MAX)
      this.#lastParse = {
        name: "",
        bytes: parse,
        encoding,
        text,
        parameterTypes,
        memo,
        isOrdinary: ordinary,
      };
    const sharing = isShared ? this.#names : null;
    const statement: Statement = {
      key,
      text,
      effects: NO_EFFECTS,
      parameterTypes,
      parse,
      isConfirmed: false,
      sharing,
      memo,
      isOrdinary: ordinary,
      settings: "",
      shape: null,
      viewText: null,
      signal: null,
    };
    if (isShared) this.#inFlight.add(statement);
    return { name, statement };
  }

  /** The last Parse if `buffer[start, end)` is the same one, byte by byte; null if it is another. */
  #repeated(buffer: Buffer, start: number, end: number, encoding: Encoding): UnnamedParse | null {
    const last = this.#lastParse;
    if (last === null || last.bytes.length !== end - start || last.encoding !== encoding) return null;
    return last.bytes.compare(buffer, start, end) === 0 ? last : null;
  }

  /** The client changes the schema: what stands prepared may mean something else, before and once it is done. */
  noteSchemaChange(): void {
    this.#changesSchema = true;
    this.#names.forgetAll();
  }

  /**
   * A group of answers has come, and with `isLast` all of them. After an error, unnamed statements in flight are
   * parsed anew wherever they come next: it may have been that what stands prepared no longer fits the tables.
   */
  noteAnswered(hadError: boolean, isLast: boolean): void {
    if (hadError) {
      for (const { key, text, parameterTypes, settings } of this.#inFlight) {
        if (key !== "") this.#names.forget(text, parameterTypes, settings);
      }
    }
    if (!isLast) return;
    this.#inFlight.clear();
  }

  /** The client is in no transaction any more: what it did to the schema is there for others, or undone. */
  noteTransactionEnd(): void {
    if (!this.#changesSchema) return;
    this.#changesSchema = false;
    this.#names.forgetAll();
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

/** Whether the text of a Parse is an ordinary statement. */
function isOrdinaryParse(buffer: Buffer, start: number, end: number): boolean {
  const textAt = buffer.indexOf(0, start + HEADER_BYTES) + 1;
  const textEnd = buffer.indexOf(0, textAt);
  return textAt > 0 && textEnd >= 0 && textEnd < end && isOrdinary(buffer, textAt, textEnd);
}

/** Sends the client's own Parse; its ParseComplete goes to the client. */
export function sendParse(connection: ServerConnection, statement: Statement): void {
  share(statement, connection.settings);
  const { key } = statement;
  if (statement.sharing === null || !standsSurely(connection, key)) return parse(connection, statement, true);
  noteUse(connection, key);
  // The shard answers in order, so the ParseComplete has to come from there: it is asked to close what does not
  // exist, and the answer to that, of the same length, is passed on as a ParseComplete.
  connection.replies.expectCloseForParse();
  connection.outbox.put(CLOSE_NOTHING);
}

/** Makes sure that `statement` stands on `connection`; what is sent for it stays between pgxa and the shard. */
export function ensureStatement(connection: ServerConnection, statement: Statement): void {
  const { key } = statement;
  if (!isStanding(connection, statement)) parse(connection, statement, false);
  else if (key !== "") noteUse(connection, key);
}

/** Passes on the Bind or Describe of `statement` in `buffer[start, end)`, under the name that it has on `connection`. */
export function passNamed(
  connection: ServerConnection,
  { key }: Statement,
  buffer: Buffer,
  start: number,
  end: number,
): void {
  const { outbox } = connection;
  const isBind = buffer[start] === CLIENT_MESSAGE.bind;
  if (key === "") outbox.pass(buffer, start, end);
  else if (end - start > IN_PLACE_BYTES_MAX)
    outbox.put((isBind ? send.bindRenamed : send.describeRenamed)(buffer, start, end, key));
  else if (isBind) outbox.renamed(buffer, start, end, buffer.indexOf(0, start + HEADER_BYTES) + 1, key);
  else outbox.renamed(buffer, start, end, start + HEADER_BYTES + 1, key);
}

/**
 * Whether `statement` gives, on `connection`, the columns that the client was told: "yes"; "ask", and then it has been
 * sent for and `onShape` comes; or "no". A statement is prepared anew on another connection, where its table may look
 * otherwise by now, and a client that was told the columns would misread the rows.
 */
export function hasToldShape(connection: ServerConnection, statement: Statement): "yes" | "no" | "ask" {
  const { key, shape } = statement;
  const { replies } = connection;
  // Behind an error of its batch the shard passes over everything.
  if (shape === null || (replies.groups.length === 0 && replies.hasError)) return "yes";
  const stands = isStanding(connection, statement);
  const found = stands ? connection.shapes.get(key) : undefined;
  if (found === shape) return "yes";
  const isFresh = connection.freshStatement === statement;
  connection.freshStatement = null;
  if (found !== undefined && isFresh) return "no";
  if (!stands || found !== undefined) parse(connection, statement, false);
  connection.freshStatement = statement;
  connection.replies.expectDescribe(false, statement);
  connection.outbox.put(send.describeStatement(key));
  connection.outbox.put(send.flush());
  return "ask";
}

const isStanding = (connection: ServerConnection, statement: Statement): boolean =>
  statement.key === "" ? connection.unnamedStatement === statement : connection.statements.has(statement.key);

/** Keeps the least recently used first, once there are so many that some will have to go. */
function noteUse(connection: ServerConnection, key: string): void {
  const { statements } = connection;
  if (statements.size < STATEMENTS_MAX / 2) return;
  const isAccepted = statements.get(key)!;
  statements.delete(key);
  statements.set(key, isAccepted);
}

/** Gives an unnamed statement its shared name if it has come to one. */
function share(statement: Statement, settings: string | null): void {
  if (statement.sharing === null || settings === null) return;
  statement.key = statement.sharing.sharedNameOf(
    statement.text,
    statement.parameterTypes,
    settings,
    statement.memo,
  );
  statement.settings = settings;
}

/** Whether the shard has accepted the statement `key`, and would now: in a failed transaction it takes no Parse. */
const standsSurely = (connection: ServerConnection, key: string): boolean =>
  connection.statements.get(key) === true && connection.replies.status !== "E";

function parse(connection: ServerConnection, statement: Statement, isRelayed: boolean): void {
  const { key, parse: message, sharing } = statement;
  if (key === "") {
    connection.shapes.delete(key);
    connection.unnamedStatement = statement;
    connection.replies.expectParse(isRelayed, null);
    connection.outbox.put(message);
    return;
  }
  // Behind an error the shard passes over all up to the next Sync, so a statement that was to be closed may stand
  // still; a Parse of the same name would be refused.
  closeOn(connection, key);
  connection.statements.set(key, false);
  connection.replies.expectParse(isRelayed, key);
  connection.outbox.put(sharing === null ? message : send.parseRenamed(message, 0, message.length, key));
  evict(connection, key);
}

/** A name that no statement ever has. */
export const NO_STATEMENT = "pgxa_closed";
/** Closing a statement that does not exist is answered like closing one that does. */
export const CLOSE_NOTHING = send.closeStatement(NO_STATEMENT);

function evict(connection: ServerConnection, keep: string): void {
  if (connection.statements.size <= STATEMENTS_MAX) return;
  for (const oldest of connection.statements.keys()) {
    if (oldest === keep) continue;
    closeOn(connection, oldest);
    return;
  }
}

function closeOn(connection: ServerConnection, key: string): void {
  connection.statements.delete(key);
  connection.shapes.delete(key);
  connection.replies.expectClose(false);
  connection.outbox.put(send.closeStatement(key));
}
