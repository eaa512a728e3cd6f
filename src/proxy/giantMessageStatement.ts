/**
 * The unnamed statement whose Parse was not held as a whole.
 *
 * It stands on the connection it was sent to as long as nobody makes another unnamed one there, and cannot be sent to any
 * other: who binds it elsewhere is told by the shard, in its own words, that there is no such statement.
 */
import type { ServerConnection } from "../pool/serverConnection.ts";
import * as send from "../wire/frontendWriters.ts";
import type { GiantFindings } from "./giantMessageSearch.ts";
import type { Statement } from "./statementStore.ts";

const NOTHING = Buffer.alloc(0);

export interface GiantStatement extends Statement {
  /** What it may do when it runs; null until all of its text has gone by. */
  found: GiantFindings | null;
}

export const giantStatement = (): GiantStatement => ({
  key: "",
  text: "",
  effects: [],
  parameterTypes: [],
  parse: NOTHING,
  isConfirmed: false,
  sharing: null,
  memo: null,
  isOrdinary: false,
  settings: "",
  shape: null,
  viewText: null,
  signal: null,
  found: null,
});

export const isGiant = (statement: Statement | null): statement is GiantStatement =>
  statement !== null && "found" in statement;

/** `statement`, unless it is one that would have to be sent to `lease` and cannot be. */
export const ifSendable = (statement: Statement | null, lease: ServerConnection): Statement | null =>
  isGiant(statement) && lease.unnamedStatement !== statement ? null : statement;

/** Makes sure that the connection has no unnamed statement, which would be somebody else's. */
export function closeUnnamed(lease: ServerConnection): void {
  lease.unnamedStatement = null;
  lease.replies.expectClose(false);
  lease.outbox.put(CLOSE_UNNAMED);
}

const CLOSE_UNNAMED = send.closeStatement("");
