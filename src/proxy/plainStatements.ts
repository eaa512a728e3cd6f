/**
 * What a session in front of one shard understands of its client's statements: their names, and what a pooler has to
 * know of what they do.
 *
 * A statement goes to the shard under a name that connections share (statementStore.ts). A cheap look at its text
 * (routing/sessionLook.ts) tells whether it may change settings, or makes state that cannot be carried.
 */
import type { ServerConnection } from "../pool/serverConnection.ts";
import type { SessionLook } from "../routing/sessionLook.ts";
import { readQuery, readStatementName } from "../wire/frontendReaders.ts";
import * as send from "../wire/frontendWriters.ts";
import { CLIENT_MESSAGE } from "../wire/messageTypes.ts";
import type { StatementNames } from "./statementNames.ts";
import { CLOSE_NOTHING, ensureStatement, NO_STATEMENT, StatementStore, sendParse } from "./statementStore.ts";

export class PlainStatements {
  /** Whether settings may have been changed since they were last asked of the shard. */
  mayHaveSet = false;
  /** Whether the connection has state that no other has. */
  isPinned = false;
  readonly #statements: StatementStore;
  readonly #look: SessionLook;

  constructor(names: StatementNames, look: SessionLook) {
    this.#statements = new StatementStore(names);
    this.#look = look;
  }

  /** A simple query, which goes as it is. */
  query(lease: ServerConnection, buffer: Buffer, start: number, end: number): void {
    this.#note(lease, readQuery(buffer, start, end, "latin1"));
    this.#statements.unnamed = null;
    lease.unnamedStatement = null;
  }

  parse(lease: ServerConnection, buffer: Buffer, start: number, end: number): void {
    const mayShare = !this.isPinned && !this.mayHaveSet;
    const { name, statement } = this.#statements.read(buffer, start, end, mayShare, "latin1");
    this.#note(lease, statement.text);
    const known = name === "" ? null : this.#statements.find(name);
    if (known === null) {
      this.#statements.keep(name, statement);
      return sendParse(lease, statement);
    }
    // The name is taken: the shard says so itself, in its place among the answers.
    ensureStatement(lease, known);
    lease.replies.expectParse(true, null);
    lease.outbox.put(known.parse);
  }

  /** Sends Bind, Describe or Close of a named statement under its name there; false: it goes as it is. */
  renamed(lease: ServerConnection, type: number, buffer: Buffer, start: number, end: number): boolean {
    const name = readStatementName(buffer, start, end, "latin1");
    if (name === null) {
      if (type === CLIENT_MESSAGE.close) lease.replies.expectClose(true);
      return false;
    }
    if (type === CLIENT_MESSAGE.close) {
      this.#statements.close(name);
      lease.replies.expectClose(true);
      if (name === "") lease.unnamedStatement = null;
      // A statement stays on the connection for others; closing one that does not exist is answered alike.
      lease.outbox.put(name === "" ? send.closeStatement("") : CLOSE_NOTHING);
      return true;
    }
    const statement = this.#statements.find(name);
    const rename = type === CLIENT_MESSAGE.bind ? send.bindRenamed : send.describeRenamed;
    if (statement === null) {
      // Under a name of its own the shard knows it as little; without one it would take another client's.
      if (name !== "") return false;
      lease.outbox.put(rename(buffer, start, end, NO_STATEMENT));
      return true;
    }
    ensureStatement(lease, statement);
    if (statement.key === "") return false;
    lease.outbox.put(rename(buffer, start, end, statement.key));
    return true;
  }

  /** A group of answers has come, and with `isLast` all of them. */
  noteAnswered(hadError: boolean, isLast: boolean): void {
    this.#statements.noteAnswered(hadError, isLast);
  }

  noteTransactionEnd(): void {
    this.#statements.noteTransactionEnd();
  }

  settle(key: string, stands: boolean): void {
    this.#statements.settle(key, stands);
  }

  /** Looks at a statement's text for what a pooler must know. */
  #note(lease: ServerConnection, text: string): void {
    for (const effect of this.#look.effects(text)) {
      if (effect.kind === "pin") this.isPinned = true;
      else if (effect.kind === "schema") this.#statements.noteSchemaChange();
      else this.mayHaveSet = true;
      if (effect.kind === "resetAll") {
        // DISCARD ALL and DEALLOCATE ALL take the statements with them.
        this.#statements.clear();
        lease.statements.clear();
      }
    }
  }
}
