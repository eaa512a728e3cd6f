/**
 * What a session in front of one shard understands of its client's statements: their names, and what a pooler has to
 * know of what they do.
 *
 * A statement goes to the shard under a name that connections share (statementStore.ts). A cheap look at its text
 * (routing/sessionLook.ts) tells whether it may change settings, or makes state that cannot be carried.
 */
import type { ServerConnection } from "../pool/serverConnection.ts";
import type { SessionEffect } from "../routing/plan.ts";
import type { SessionLook } from "../routing/sessionLook.ts";
import { readQuery, readStatementName } from "../wire/frontendReaders.ts";
import * as send from "../wire/frontendWriters.ts";
import { CLIENT_MESSAGE } from "../wire/messageTypes.ts";
import type { ClientChannels } from "./clientChannels.ts";
import type { SessionParts } from "./session.ts";
import {
  CLOSE_NOTHING,
  ensureStatement,
  NO_STATEMENT,
  type Statement,
  StatementStore,
  sendParse,
} from "./statementStore.ts";

export class PlainStatements {
  /** Whether settings may have been changed since they were last asked of the shard. */
  mayHaveSet = false;
  /** Whether the connection has state that no other has. */
  isPinned: boolean;
  readonly #statements: StatementStore;
  readonly #look: SessionLook;
  readonly #channels: ClientChannels;
  readonly #pid: number;

  /** `pid` is the process id that the client was given. */
  constructor(
    pid: number,
    isPinned: boolean,
    { statementNames, look }: SessionParts,
    channels: ClientChannels,
  ) {
    this.#pid = pid;
    this.isPinned = isPinned;
    this.#statements = new StatementStore(statementNames);
    this.#look = look;
    this.#channels = channels;
  }

  /** A simple query, which goes as it is; the channel that has to be listened to first, or null. */
  query(
    lease: ServerConnection,
    buffer: Buffer,
    start: number,
    end: number,
  ): { readonly channel: string } | null {
    const effects = this.#look.effects(readQuery(buffer, start, end, "latin1"));
    const channel = this.#missingChannel(effects);
    if (channel !== null) return { channel };
    this.#note(lease, effects);
    this.#statements.unnamed = null;
    lease.unnamedStatement = null;
    return null;
  }

  /** Sends a Parse; or the channel that has to be listened to first, and nothing has happened. */
  parse(
    lease: ServerConnection,
    buffer: Buffer,
    start: number,
    end: number,
  ): { readonly channel: string } | null {
    const mayShare = !this.isPinned && !this.mayHaveSet;
    const { name, statement } = this.#statements.read(buffer, start, end, mayShare, "latin1");
    const effects = this.#look.effects(statement.text);
    const channel = this.#missingChannel(effects);
    if (channel !== null) return { channel };
    this.#note(lease, effects);
    this.#keepAndSend(lease, name, statement);
    return null;
  }

  #keepAndSend(lease: ServerConnection, name: string, statement: Statement): void {
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

  /** Texts are read byte for byte here; a channel's name is UTF-8. */
  #channelOf(name: string): string {
    return Buffer.from(name, "latin1").toString();
  }

  #missingChannel(effects: readonly SessionEffect[]): string | null {
    for (const effect of effects) {
      if (effect.kind !== "listen") continue;
      const channel = this.#channelOf(effect.channel);
      if (!this.#channels.isListening(0, channel)) return channel;
    }
    return null;
  }

  #note(lease: ServerConnection, effects: readonly SessionEffect[]): void {
    for (const effect of effects) {
      switch (effect.kind) {
        case "pin":
          this.isPinned = true;
          break;
        case "schema":
          this.#statements.noteSchemaChange();
          break;
        case "listen":
          lease.listens = true;
          break;
        case "unlisten":
          this.#channels.unlisten(effect.channel === null ? null : this.#channelOf(effect.channel));
          break;
        case "notify":
          lease.notifier = this.#pid;
          break;
        case "deallocateAll":
          this.#forget(lease);
          break;
        case "discardAll":
          this.#channels.unlisten(null);
          this.#forget(lease);
          this.mayHaveSet = true;
          break;
        default:
          this.mayHaveSet = true;
      }
    }
  }

  #forget(lease: ServerConnection): void {
    this.#statements.clear();
    lease.statements.clear();
  }
}
