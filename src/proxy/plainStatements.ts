/**
 * What a session in front of one shard understands of its client's statements: their names, and what a pooler has to
 * know of what they do.
 *
 * A statement goes to the shard under a name that connections share (statementStore.ts). A cheap look at its text
 * (routing/sessionLook.ts) tells whether it may change settings, prepares statements in SQL, or makes state that cannot
 * be carried. A simple query does so when it is sent, a statement of the extended protocol when it is bound.
 */
import { detach } from "../base/detach.ts";
import { Fault } from "../base/fault.ts";
import type { Described } from "../pool/replyMarks.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import { isOrdinary } from "../routing/ordinaryStatement.ts";
import type { SessionLook } from "../routing/sessionLook.ts";
import type { StandbyLook } from "../routing/standbyLook.ts";
import { mayChain, mayCommit } from "../routing/transactionEnd.ts";
import { BindReader } from "../wire/bindReader.ts";
import { QUERY_TEXT_AT, readParse, readQuery, readStatementName } from "../wire/frontendReaders.ts";
import * as send from "../wire/frontendWriters.ts";
import { CLIENT_MESSAGE } from "../wire/messageTypes.ts";
import { type BackendSignal, backendSignal, boundPid, signalStatement } from "./backendSignals.ts";
import { withParameters } from "./boundEffects.ts";
import type { ClientChannels } from "./clientChannels.ts";
import type { ClientParameters } from "./clientParameters.ts";
import { GiantMessageSearch } from "./giantMessageSearch.ts";
import { closeUnnamed, giantStatement, ifSendable, isGiant } from "./giantMessageStatement.ts";
import { refuseInBatch, refuseQuery } from "./inPlace.ts";
import { hearOwn } from "./ownNotifications.ts";
import { pidColumn, pidStatement } from "./ownPid.ts";
import { type ListenFirst, PlainEffects } from "./plainEffects.ts";
import { mayReadPrepared, withOwnPrepared } from "./preparedView.ts";
import type { SessionParts } from "./session.ts";
import { SqlStatements } from "./sqlStatements.ts";
import { refusalOnStandby } from "./standbyLease.ts";
import {
  CLOSE_NOTHING,
  ensureStatement,
  hasToldShape,
  passNamed,
  type Statement,
  StatementStore,
  sendParse,
} from "./statementStore.ts";

/**
 * A message is to be passed on; it was sent in another form; it was refused in its place among the answers; or something
 * has to be done first.
 */
export const PASS = "pass";
export const SENT = "sent";
export const REFUSED = "refused";
/** The columns of a statement come first. */
export const ASKED = "asked";
/** Another worker is asked first whether it has a client. */
interface AskFirst {
  readonly asked: Promise<void>;
}
/** What comes before a message is presented again. */
export type First = ListenFirst | AskFirst;
export type Understood = typeof PASS | typeof SENT | typeof ASKED | typeof REFUSED | First;

export class PlainStatements {
  /** What the statements do to the session. */
  readonly effects: PlainEffects;
  /** Whether something was sent, and not answered, that may commit a transaction block. */
  isCommitting = false;
  /** What another worker has answered to the signal that is presented again now. */
  #wasSignalled: boolean | null = null;
  readonly #statements: StatementStore;
  readonly #sql: SqlStatements;
  readonly #look: SessionLook;
  readonly #standbys: StandbyLook | null;
  readonly #parameters: ClientParameters;
  readonly #channels: ClientChannels;
  readonly #pid: number;
  readonly #parts: SessionParts;
  readonly #bind = new BindReader();
  readonly #statementsMax: number;

  /** `pid` is the process id that the client was given; `isSession`: the client keeps its connection anyway. */
  constructor(
    pid: number,
    isSession: boolean,
    parts: SessionParts,
    channels: ClientChannels,
    parameters: ClientParameters,
  ) {
    this.#pid = pid;
    this.#parts = parts;
    this.#statements = new StatementStore(parts.statementNames);
    this.#sql = new SqlStatements(this.#statements);
    const own = { statements: this.#statements, sql: this.#sql, channels, parameters };
    this.effects = new PlainEffects(pid, isSession, parts, own);
    this.#look = parts.look;
    this.#standbys = isSession ? null : parts.standbys;
    this.#parameters = parameters;
    this.#channels = channels;
    this.#statementsMax = parts.config.limits.statementsMax;
  }

  get count(): number {
    return this.#statements.size;
  }

  /** Where the client's prepared statements are. */
  get stores() {
    return { statements: this.#statements, sql: this.#sql, look: this.#look };
  }

  /** A simple query. */
  query(lease: ServerConnection, buffer: Buffer, start: number, end: number): Understood {
    this.#statements.unnamed = null;
    lease.unnamedStatement = null;
    if (!lease.isStandby && isOrdinary(buffer, start + QUERY_TEXT_AT, end - 1)) return PASS;
    const text = readQuery(buffer, start, end, "latin1");
    this.#noteCommit(lease, text);
    const other = ABOUT_SESSIONS.test(text) ? this.#answerOf(lease, text) : null;
    if (typeof other === "object" && other !== null) return other;
    const effects = this.#look.effects(text);
    const first = this.effects.missingChannel(effects);
    if (first !== null) return first;
    const fault = refusalOnStandby(lease, text, effects) ?? this.effects.note(lease, effects);
    if (fault !== null) refuseQuery(lease, fault);
    else if (other !== null) lease.outbox.put(send.queryBytes(Buffer.from(other, "latin1")));
    else return PASS;
    return SENT;
  }

  #noteCommit({ replies }: ServerConnection, text: string): void {
    const mayBeInBlock = replies.status !== "I" || replies.groups.length > 0 || replies.isBatchOpen;
    if (mayBeInBlock && !this.isCommitting) this.isCommitting = mayCommit(text);
  }

  /**
   * The text of a message by which a statement comes to run; null: there is none, or it is not known. Of those that are
   * parsed only when they are sent.
   */
  textOf(type: number, buffer: Buffer, start: number, end: number): string | null {
    if (type === CLIENT_MESSAGE.query) return readQuery(buffer, start, end, "latin1");
    if (type === CLIENT_MESSAGE.parse) return readParse(buffer, start, end, "latin1").text;
    if (type !== CLIENT_MESSAGE.bind) return null;
    const name = readStatementName(buffer, start, end, "latin1");
    return name === null ? null : (this.#statements.find(name)?.text ?? null);
  }

  /** Whether what begins with a message may be read from a standby. */
  wantsStandby(type: number, buffer: Buffer, start: number, end: number): boolean {
    if (this.#standbys === null) return false;
    try {
      const text = this.textOf(type, buffer, start, end);
      return text !== null && this.#standbys.wants(text, this.#parameters.settings);
    } catch (error) {
      if (!(error instanceof Fault) || error.id !== "protocol.malformed") throw error;
      return false;
    }
  }

  /** Refuses a statement that asks for a transaction like the one that was lost; false: it does not. */
  refuseChain(lease: ServerConnection, type: number, buffer: Buffer, start: number, end: number): boolean {
    const text = this.textOf(type, buffer, start, end);
    if (text === null || !mayChain(text)) return false;
    const fault = new Fault("session.lost_chain");
    if (type === CLIENT_MESSAGE.query) refuseQuery(lease, fault);
    else refuseInBatch(lease, fault);
    return true;
  }

  /** What the shard is asked instead of a simple query that is about what pgxa gives a client; null: nothing. */
  #answerOf(lease: ServerConnection, text: string): string | AskFirst | null {
    const column = pidColumn(text);
    if (column !== null) return pidStatement(this.#pid, column);
    const signal = backendSignal(text);
    const isSignalled = signal !== null && this.#signal(signal, null);
    if (typeof isSignalled === "object") return isSignalled;
    if (isSignalled) return signalStatement(signal, signal.pid === this.#pid);
    return this.#ownView(lease, text, true);
  }

  /** `text` where it reads pg_prepared_statements, as that is to the client; null: it does not. */
  #ownView(lease: ServerConnection, text: string, isQuery: boolean): string | null {
    if (!mayReadPrepared(text) || lease.replies.status === "E") return null;
    for (const name of this.#sql.names()) this.#sql.execute(lease, name);
    for (const [, statement] of this.#statements.entries()) ensureStatement(lease, statement);
    // What cannot be prepared any more must not keep the query from running.
    if (isQuery) detach(lease.runBytes(send.sync(), PREPARE_TIMEOUT_MS), "the view shows what stands");
    const named = [...this.#statements.entries()].map(([name, { key }]) => [key, name] as const);
    const own = [...this.#sql.names()].map((name) => [name, name] as const);
    const other = withOwnPrepared(text, lease, [...named, ...own]);
    return other === text ? null : other;
  }

  /** Whether a client has been signalled; `bound`: by the parameter. */
  #signal({ kind, pid }: BackendSignal, bound: number | null): boolean | AskFirst {
    const target = pid === "own" ? this.#pid : (pid ?? bound);
    if (target === this.#pid && kind === "cancel") return pid !== "own"; // by the statement that answers
    const known = this.#wasSignalled;
    this.#wasSignalled = null;
    if (known !== null) return known;
    const done = target !== null && this.#parts.signal(kind, target);
    if (typeof done === "boolean") return done;
    return {
      asked: done.then((isDone) => {
        this.#wasSignalled = isDone;
      }),
    };
  }

  /** Sends a Parse. */
  parse(lease: ServerConnection, buffer: Buffer, start: number, end: number): void {
    const { mayShare } = this.effects;
    const { name, statement } = this.#readParse(lease, buffer, start, end, mayShare);
    const fault = this.#prepareParse(lease, name, statement);
    if (fault !== null) return refuseInBatch(lease, fault);
    if (name === "" || !(this.#statements.has(name) || this.#sql.has(name))) {
      this.#statements.keep(name, statement);
      return sendParse(lease, statement);
    }
    // The name is taken: the shard says so itself, in its place among the answers.
    this.#sql.take(lease, name);
    lease.replies.expectParse(true, null);
    lease.outbox.put(send.parseRenamed(buffer, start, end, utf8(name)));
  }

  #readParse(lease: ServerConnection, buffer: Buffer, start: number, end: number, mayShare: boolean) {
    const parsed = this.#statements.read(buffer, start, end, mayShare, "latin1");
    const { text, parameterTypes } = parsed.statement;
    if (parsed.statement.isOrdinary || !ABOUT_SESSIONS.test(text)) return parsed;
    parsed.statement.signal = backendSignal(text);
    const column = pidColumn(text);
    const other = column === null ? this.#ownView(lease, text, false) : pidStatement(this.#pid, column);
    if (other === null) return parsed;
    const own = send.parse({ name: utf8(parsed.name), text: utf8(other), parameterTypes });
    const rewritten = this.#statements.read(own, 0, own.length, mayShare, "latin1");
    if (column === null) rewritten.statement.viewText = text;
    return rewritten;
  }

  #prepareParse(lease: ServerConnection, name: string, statement: Statement): Fault | null {
    if (!statement.isOrdinary) statement.effects = this.#look.effects(statement.text);
    if (name !== "" && this.#statements.size + this.#sql.size >= this.#statementsMax) {
      return new Fault("session.too_many_statements");
    }
    if (statement.effects.length === 0) return null;
    for (const effect of statement.effects) {
      if (effect.kind === "notify") hearOwn(lease, this.#channels); // the batch is not open yet
      // The shard looks at once what columns it gives.
      const fault = effect.kind === "execute" ? this.#sql.execute(lease, effect.name) : null;
      if (fault !== null) return fault;
    }
    return null;
  }

  /** A simple query of which only the head is here; what becomes known of it when its text has gone by. */
  giantQuery(lease: ServerConnection): GiantMessageSearch {
    this.#statements.unnamed = null;
    lease.unnamedStatement = null;
    this.isCommitting ||= lease.replies.status !== "I";
    this.#sql.clearOthers(lease);
    return new GiantMessageSearch((found) => this.effects.noteGiant(lease, found));
  }

  /** The same for a Parse; null: it was refused. */
  giantParse(lease: ServerConnection, head: Buffer): GiantMessageSearch | null {
    const name = readStatementName(head, 0, head.length, "latin1");
    if (name !== "") {
      this.#refuse(lease, new Fault("session.statement_too_long"));
      return null;
    }
    const statement = giantStatement();
    this.#statements.keep(name, statement);
    lease.unnamedStatement = statement;
    lease.replies.expectParse(true, null);
    return new GiantMessageSearch((found) => {
      statement.found = found;
    });
  }

  /** Bind, Describe or Close of a statement, whose name there is another. */
  named(lease: ServerConnection, type: number, buffer: Buffer, start: number, end: number): Understood {
    const name = readStatementName(buffer, start, end, "latin1");
    if (type === CLIENT_MESSAGE.close) return this.#close(lease, name);
    if (name === null) return PASS;
    const statement = ifSendable(this.#statements.find(name), lease);
    if (isGiant(statement)) this.effects.noteGiant(lease, statement.found);
    const effects = statement?.effects ?? this.#sql.effectsOf(name);
    if (type === CLIENT_MESSAGE.bind && statement?.isOrdinary === false)
      this.#noteCommit(lease, statement.text);
    if (statement !== null && type === CLIENT_MESSAGE.bind && statement.shape !== null) {
      const answer = hasToldShape(lease, statement);
      if (answer === "ask") return ASKED;
      if (answer === "no") return this.#refuse(lease, new Fault("session.stale_statement"));
    }
    const refusal = refusalOnStandby(lease, statement?.text ?? "", effects);
    if (refusal !== null) return this.#refuse(lease, refusal);
    if (type === CLIENT_MESSAGE.bind && effects.length > 0) {
      const first = this.effects.missingChannel(effects);
      if (first !== null) return first;
      const fault = this.effects.note(lease, withParameters(effects, this.#bind, buffer, start, end));
      if (fault !== null) return this.#refuse(lease, fault);
    }
    if (statement !== null) {
      const instead =
        type === CLIENT_MESSAGE.bind ? this.#insteadOf(lease, statement, buffer, start, end) : null;
      if (instead !== null && "asked" in instead) return instead;
      if (instead !== null) {
        ensureStatement(lease, instead);
        passNamed(lease, instead, buffer, start, end);
        return SENT;
      }
      ensureStatement(lease, statement);
      if (type === CLIENT_MESSAGE.describe) lease.replies.expectDescribe(true, statement);
      passNamed(lease, statement, buffer, start, end);
      return SENT;
    }
    if (name === "") {
      // Without a name it would take another client's.
      closeUnnamed(lease);
      return PASS;
    }
    const fault = this.#sql.use(lease, name);
    return fault === null ? PASS : this.#refuse(lease, fault);
  }

  /** The statement that runs instead of one that is about what pgxa gives a client; null: it runs itself. */
  #insteadOf(
    lease: ServerConnection,
    { signal, viewText, parameterTypes }: Statement,
    buffer: Buffer,
    start: number,
    end: number,
  ): Statement | AskFirst | null {
    let text: string | null = null;
    if (viewText !== null) text = this.#ownView(lease, viewText, false);
    else if (signal !== null && this.#bind.reset(buffer, start, end)) {
      const bound = boundPid(this.#bind);
      const isOwn = (signal.pid ?? bound) === this.#pid;
      const isSignalled = this.#signal(signal, bound);
      if (typeof isSignalled === "object") return isSignalled;
      if (isSignalled) text = signalStatement(signal, isOwn);
    }
    if (text === null) return null;
    const message = send.parse({ name: "instead", text: utf8(text), parameterTypes });
    return this.#statements.read(message, 0, message.length, false, "latin1").statement;
  }

  #close(lease: ServerConnection, name: string | null): Understood {
    lease.replies.expectClose(true);
    if (name === null) return PASS;
    this.#statements.close(name);
    this.#sql.forget(name);
    if (name === "") lease.unnamedStatement = null;
    // A statement stays on the connection for others; closing one that does not exist is answered alike.
    lease.outbox.put(name === "" ? send.closeStatement("") : CLOSE_NOTHING);
    return SENT;
  }

  #refuse(lease: ServerConnection, fault: Fault): typeof REFUSED {
    refuseInBatch(lease, fault);
    return REFUSED;
  }

  /** A group of answers has come, and with `isLast` all of them. */
  noteAnswered(hadError: boolean, isLast: boolean): void {
    this.#wasSignalled = null;
    if (isLast) this.isCommitting = false;
    this.#statements.noteAnswered(hadError, isLast);
    this.effects.noteAnswered(hadError);
  }

  /** The connection was lost, and what it owed; a transaction with it. */
  noteLost(): void {
    this.isCommitting = false;
    this.noteTransactionEnd();
  }

  noteTransactionEnd(): void {
    this.effects.noteTransactionEnd();
    this.#statements.noteTransactionEnd();
  }

  /** The client was told the columns of `described`. */
  noteShape(described: Described, shape: string | null): void {
    (described as Statement).shape = shape;
  }

  settle(key: string, stands: boolean): void {
    this.#statements.settle(key, stands);
  }
}

/** Whether a text may ask for process ids or prepared statements, which are others to a client; seldom. */
export const ABOUT_SESSIONS = /_backend|pg_prepared_s/i;

const PREPARE_TIMEOUT_MS = 60_000;
/** Texts are read byte for byte here. */
const utf8 = (text: string): string => Buffer.from(text, "latin1").toString();
