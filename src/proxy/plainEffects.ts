/** What the statements of a session in front of one shard do to the session, beyond their own transaction. */
import type { Fault } from "../base/fault.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import type { PinReason, SessionEffect } from "../routing/plan.ts";
import type { ClientChannels } from "./clientChannels.ts";
import type { ClientParameters } from "./clientParameters.ts";
import type { GiantFindings } from "./giantMessageSearch.ts";
import { hearOwn, watchEnd } from "./ownNotifications.ts";
import { Pins, pinRefusal } from "./pins.ts";
import type { SessionParts } from "./session.ts";
import type { SqlStatements } from "./sqlStatements.ts";
import type { StatementStore } from "./statementStore.ts";

/** A channel that has to be listened to first. */
export interface ListenFirst {
  readonly channel: string;
}

/** What of the session is affected. */
export interface AffectedParts {
  readonly statements: StatementStore;
  readonly sql: SqlStatements;
  readonly channels: ClientChannels;
  readonly parameters: ClientParameters;
}

export class PlainEffects {
  /** Whether settings may have been changed since they were last asked of the shard. */
  mayHaveSet = false;
  readonly pins: Pins;
  readonly #pid: number;
  readonly #isSession: boolean;
  readonly #refusesPins: boolean;
  readonly #statements: StatementStore;
  readonly #sql: SqlStatements;
  readonly #channels: ClientChannels;
  readonly #parameters: ClientParameters;
  /** How many groups of the client's were sent, and how many were answered. */
  #asked = 0;
  #answered = 0;
  /** Whether the client may have a search_path that begins with the temporary schema. */
  #pathMayBeTemporary = false;
  /** Whether something until the end of the transaction may give texts another meaning. */
  #hasLocal = false;

  /** `pid` is the process id that the client was given; `isSession`: the client keeps its connection anyway. */
  constructor(pid: number, isSession: boolean, parts: SessionParts, own: AffectedParts) {
    this.#pid = pid;
    this.#isSession = isSession;
    this.pins = new Pins(parts.pinCounts, parts.environment.clock);
    this.#refusesPins = !isSession && parts.config.pool.pins === "refuse";
    this.#statements = own.statements;
    this.#sql = own.sql;
    this.#channels = own.channels;
    this.#parameters = own.parameters;
  }

  /** Whether the connection has state that no other has. */
  get isPinned(): boolean {
    return this.#isSession || this.pins.isPinned;
  }

  /** Whether a text means to this client what it means to others under the same settings. */
  get mayShare(): boolean {
    return !this.isPinned && !this.mayHaveSet && !this.#hasLocal;
  }

  /** The last message of a group of the client's is sent. */
  noteGroup(): void {
    this.#asked += 1;
  }

  /** All of a group has been answered. */
  noteAnswered(hadError: boolean): void {
    this.#sql.noteAnswered(hadError, this.#answered);
    this.#answered += 1;
  }

  /** A group ended outside a transaction block; LISTEN and UNLISTEN up to it count, or do not. */
  noteIdle(lease: ServerConnection, hadError: boolean): void {
    if (!lease.replies.watchesEnd) return;
    const isCommitted = !hadError && lease.replies.transactionEnd !== "ROLLBACK";
    lease.replies.transactionEnd = "";
    if (!isCommitted) lease.listening.clear(); // a LISTEN of the transaction is undone with it
    this.#channels.settle(isCommitted, this.#answered - 1);
    lease.replies.watchesEnd = this.#channels.hasChanges;
  }

  noteTransactionEnd(): void {
    this.#hasLocal = false;
  }

  /**
   * Asks the shard what the client has set, and whether it has state that only this connection has; false: it did not
   * say. `tell`: to the client.
   */
  async look(lease: ServerConnection, tell: (...messages: readonly Buffer[]) => void): Promise<boolean> {
    const { pins, mayHaveSet } = this;
    this.mayHaveSet = false;
    if (mayHaveSet && !(await this.#parameters.capture(lease))) return false;
    if (pins.mayHaveChanged && !(await pins.look(lease))) return false;
    if (!this.isPinned || this.#parameters.isInForceOn(lease)) return true;
    // A RESET went to the shard's own value, and the client's is that of its startup packet.
    return this.#parameters.apply(lease).then(
      () => {
        tell(...this.#parameters.differences(lease));
        return true;
      },
      () => false,
    );
  }

  /** The connection is lost, and what it owed. */
  noteLost(): void {
    this.#sql.noteLost();
    this.#channels.settle(false, this.#asked);
    this.#answered = this.#asked;
  }

  /** Notes what a statement may do that was not held as a whole. */
  noteGiant(lease: ServerConnection, found: GiantFindings | null): void {
    if (found === null) return;
    for (const effect of found.effects) this.#noteOne(lease, effect);
    if (!found.mayHaveForgotten) return;
    lease.statements.clear();
    for (const name of lease.sqlStatements.keys()) lease.sqlStatements.set(name, "");
  }

  /** A channel that has to be listened to before a statement with `effects` is sent. */
  missingChannel(effects: readonly SessionEffect[]): ListenFirst | null {
    for (const effect of effects) {
      if (effect.kind !== "listen") continue;
      const channel = utf8(effect.channel);
      if (!this.#channels.isListening(0, channel)) return { channel };
    }
    return null;
  }

  /** Notes what a statement about to be sent does to the session; returns why it must not be. */
  note(lease: ServerConnection, effects: readonly SessionEffect[]): Fault | null {
    if (effects.length === 0) return null;
    const refusal = this.#refusesPins ? pinRefusal(effects) : null;
    if (refusal !== null) return refusal;
    this.#sql.group = this.#asked;
    for (const effect of effects) {
      const fault = this.#noteOne(lease, effect);
      if (fault !== null) return fault;
    }
    return null;
  }

  #noteOne(lease: ServerConnection, effect: SessionEffect): Fault | null {
    switch (effect.kind) {
      case "prepare":
        return this.#sql.prepare(lease, effect);
      case "execute":
        return this.#sql.execute(lease, effect.name) ?? this.note(lease, this.#sql.effectsOf(effect.name));
      case "deallocate":
        this.#sql.deallocate(lease, effect.name);
        break;
      case "pin":
        this.#pin(effect.reason);
        break;
      case "set":
        this.mayHaveSet = true;
        this.#pathMayBeTemporary ||= TEMPORARY_PATH.test(effect.sql ?? "");
        if (!this.#parameters.noteName(effect.name)) this.#pin("setting");
        break;
      case "unpin":
        this.pins.noteEnd();
        break;
      case "temporary":
      case "setLocal":
        this.#hasLocal = true;
        break;
      case "schema":
        this.#statements.noteSchemaChange();
        // Under such a search_path tables are temporary without saying so.
        if (this.#pathMayBeTemporary || TEMPORARY_PATH.test(this.#parameters.settings))
          this.#pin("temporary table");
        break;
      case "listen":
        lease.listens = true;
        lease.listening.add(utf8(effect.channel));
        watchEnd(lease);
        this.#channels.noteListen(0, utf8(effect.channel), this.#asked);
        break;
      case "unlisten":
        lease.listening.clear();
        watchEnd(lease);
        this.#channels.noteUnlisten(effect.channel === null ? null : utf8(effect.channel), this.#asked);
        break;
      case "notify":
        lease.notifier = this.#pid;
        hearOwn(lease, this.#channels);
        break;
      case "deallocateAll":
        this.#forget(lease);
        break;
      case "discardAll":
        lease.listening.clear();
        watchEnd(lease);
        this.#channels.noteUnlisten(null, this.#asked);
        this.#forget(lease);
        this.mayHaveSet = true;
        break;
      default:
        this.mayHaveSet = true;
    }
    return null;
  }

  #pin(reason: PinReason): void {
    if (!this.#isSession) this.pins.add(reason);
  }

  #forget(lease: ServerConnection): void {
    this.#statements.clear();
    this.#sql.clear();
    this.pins.notePreparedGone();
    lease.statements.clear();
  }
}

/** Texts are read byte for byte here. */
const utf8 = (text: string): string => Buffer.from(text, "latin1").toString();

const TEMPORARY_PATH = /search_path.*pg_temp/is;
