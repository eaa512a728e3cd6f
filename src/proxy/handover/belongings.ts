/**
 * What a session carries from statement to statement, taken out of it in one process and put into another one.
 *
 * Only a session at rest has a state that can be told: in no transaction, nothing asked and not answered, no server
 * connection held. Whoever holds one, because its mode or a pin says so, stays.
 */
import { invariant } from "../../base/invariant.ts";
import { templateOf } from "../../routing/preparedSql.ts";
import type { SessionLook } from "../../routing/sessionLook.ts";
import type { Encoding } from "../../wire/fieldReader.ts";
import * as send from "../../wire/frontendWriters.ts";
import { backendSignal } from "../backendSignals.ts";
import type { ClientChannels, ShardChannel } from "../clientChannels.ts";
import { ConsoleSession } from "../consoleSession.ts";
import { isGiant } from "../giantMessageStatement.ts";
import type { HintName } from "../hints.ts";
import { answerAtOnce } from "../localStatements.ts";
import { PlainSession } from "../plainSession.ts";
import { ABOUT_SESSIONS } from "../plainStatements.ts";
import type { Session } from "../session.ts";
import { ShardedSession } from "../shardedSession.ts";
import { isExecutable } from "../sqlPrepare.ts";
import type { Statement, StatementStore } from "../statementStore.ts";
import type { SessionState, StatementState } from "./messages.ts";

/** The client's channels, if its kind of session has any. */
export function channelsOf(session: Session): ClientChannels | null {
  if (session instanceof PlainSession) return session.belongings.channels;
  return session instanceof ShardedSession ? session.ownChannels() : null;
}

/** What the session carries; null while it cannot be handed over. */
export function stateOf(session: Session): SessionState | null {
  if (!session.client.isAtRest) return null;
  if (session instanceof ConsoleSession) {
    const prepared = session.belongings?.state;
    return prepared === undefined ? null : { kind: "console", prepared };
  }
  const channels = channelsOf(session)?.settled ?? null;
  if (channels === null) return null;
  if (session instanceof PlainSession) return plainState(session, channels);
  return session instanceof ShardedSession ? shardedState(session, channels) : null;
}

function plainState(session: PlainSession, channels: readonly ShardChannel[]): SessionState | null {
  const { isFree, statements, sql } = session.belongings;
  if (!isFree) return null;
  const states = statementStates(statements, (name) => Buffer.from(name, "latin1").toString());
  return { kind: "plain", statements: states, prepared: sql.state, channels };
}

function shardedState(session: ShardedSession, channels: readonly ShardChannel[]): SessionState | null {
  const { transaction, statements, hints, isQuiet } = session;
  if (!isQuiet || transaction.leases > 0 || transaction.held.length > 0) return null;
  return {
    kind: "sharded",
    statements: statementStates(statements, (name) => name),
    hints: hints.state,
    channels,
  };
}

function statementStates(store: StatementStore, utf8: (name: string) => string): StatementState[] {
  const states = [...store.entries()].map(([name, statement]) => {
    const { parse } = statement;
    return statementState(name, statement, send.parseRenamed(parse, 0, parse.length, utf8(name)));
  });
  const { unnamed } = store;
  // One that was not held as a whole stands on its server connection alone, and that may be gone at any time.
  if (unnamed === null || isGiant(unnamed)) return states;
  return [...states, statementState("", unnamed, unnamed.parse)];
}

const statementState = (name: string, statement: Statement, parse: Buffer): StatementState => ({
  name,
  parse: parse.toString("base64"),
  isConfirmed: statement.isConfirmed,
  shape: statement.shape,
  viewText: statement.viewText,
  ...(isExecutable(statement) ? { types: statement.types } : {}),
});

/**
 * Puts `state` into a new session, whose client does not get anything yet; rejects with a Fault if it cannot be, or
 * throws for a state that is none.
 */
export async function restoreSession(session: Session, state: SessionState): Promise<void> {
  if (session instanceof PlainSession && state.kind === "plain") {
    const { statements, sql, look, channels } = session.belongings;
    for (const one of state.statements) restorePlain(statements, one, look);
    sql.restore(state.prepared);
    return channels.restore(state.channels);
  }
  if (session instanceof ShardedSession && state.kind === "sharded") {
    for (const one of state.statements) restoreSharded(session.statements, one);
    for (const [name, value] of state.hints) {
      answerAtOnce({ kind: "hintSetting", name: name as HintName, value, local: false }, session.local);
    }
    return session.ownChannels().restore(state.channels);
  }
  invariant(session instanceof ConsoleSession && state.kind === "console", "sessions are of the same kind");
  session.belongings?.restore(state.prepared);
}

function restorePlain(store: StatementStore, state: StatementState, look: SessionLook): void {
  const statement = read(store, state, "latin1");
  statement.effects = look.effects(statement.text);
  statement.viewText = state.viewText;
  const isOwn = state.viewText === null && ABOUT_SESSIONS.test(statement.text);
  statement.signal = isOwn ? backendSignal(statement.text) : null;
  store.keep(state.name, statement);
}

function restoreSharded(store: StatementStore, state: StatementState): void {
  const statement = read(store, state, "utf8");
  const { types } = state;
  store.keep(
    state.name,
    types === undefined
      ? statement
      : Object.assign(statement, { types, template: templateOf(statement.text) }),
  );
}

function read(
  store: StatementStore,
  { parse, isConfirmed, shape }: StatementState,
  encoding: Encoding,
): Statement {
  const message = Buffer.from(parse, "base64");
  const { statement } = store.read(message, 0, message.length, false, encoding);
  return Object.assign(statement, { isConfirmed, shape });
}
