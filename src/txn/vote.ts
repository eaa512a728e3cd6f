// Pure.
/**
 * What a shard's reply means for a commit. *Failed* and *unknown* are told apart here and nowhere else: an error with
 * which the connection ends says nothing about what the shard had done by then.
 */
import { type Gid, type Xid, xidOf } from "../base/brands.ts";
import { Fault } from "../base/fault.ts";
import type { ControlReply } from "../pool/controlReply.ts";
import type { ErrorFields } from "../wire/errorFields.ts";
import { type KeptStatement, keptStatement } from "../wire/keptStatement.ts";
import { DECISION_KEY, WRITE_COMMIT } from "./shardLog/schema.ts";

export type CommitError = ErrorFields | Fault;

export type PrepareVote =
  | { readonly vote: "yes"; readonly xid: Xid | null }
  | { readonly vote: "no"; readonly error: CommitError }
  | { readonly vote: "unknown"; readonly reason: string };

/** What became of a plain COMMIT. */
export type CommitReply =
  | { readonly kind: "committed" }
  | { readonly kind: "aborted"; readonly error: CommitError }
  | { readonly kind: "unknown"; readonly reason: string };

/** Class 08 and the shutdowns of class 57: the connection is ending, and the transaction may be either way. */
const ENDS_CONNECTION = /^(08|57P0[123])/;

/** Null if the transaction wrote nothing so far; noted at PREPARE, it is evidence later. */
export const ASK_XID = "SELECT pg_catalog.pg_current_xact_id_if_assigned()";

/** The same in front of `prepareStatement`. Kept prepared, it costs the shard a third of what it does parsed each time. */
export const XID: KeptStatement = keptStatement("pgxa_xid", ASK_XID);

/** Behind `XID`, and only on a connection that is in a transaction block: its transaction is meant, and no other. */
export const prepareStatement = (gid: Gid): string => `PREPARE TRANSACTION '${gid}'`;

/** The vote, by the answer to `XID` and `prepareStatement`. In a failed transaction PREPARE raises no error: its tag is ROLLBACK. */
export function prepareVote(reply: ControlReply): PrepareVote {
  if (reply.kind === "lost") return { vote: "unknown", reason: reply.reason };
  if (reply.kind === "error") {
    const { error } = reply;
    if (ENDS_CONNECTION.test(error.sqlstate)) return { vote: "unknown", reason: error.message };
    if (isDeallocated(error, XID)) return { vote: "no", error: new Fault("commit.deallocated") };
    return { vote: "no", error };
  }
  if (reply.tags.at(-1) !== "PREPARE TRANSACTION") {
    return { vote: "no", error: new Fault("session.failed_transaction") };
  }
  const xid = reply.rows[0]?.[0] ?? null;
  return { vote: "yes", xid: xid === null ? null : xidOf(xid) };
}

/** COMMIT of a failed transaction answers with tag ROLLBACK. */
export function commitReply(reply: ControlReply): CommitReply {
  if (reply.kind === "lost") return { kind: "unknown", reason: reply.reason };
  if (reply.kind === "error") {
    const { error } = reply;
    if (ENDS_CONNECTION.test(error.sqlstate)) return { kind: "unknown", reason: error.message };
    return { kind: "aborted", error };
  }
  if (reply.tags.at(-1) === "COMMIT") return { kind: "committed" };
  return { kind: "aborted", error: new Fault("session.failed_transaction") };
}

/** The decision to commit; with COMMIT behind it an anchor's transaction is committed, if it is, together with it. */
export const COMMIT_DECISION: KeptStatement = keptStatement("pgxa_commit", WRITE_COMMIT);

/** The answer to `COMMIT_DECISION` and COMMIT: committed only if both say what they say when all is well. */
export function anchorReply(reply: ControlReply): CommitReply {
  if (reply.kind === "error" && isTakenOver(reply.error)) {
    return { kind: "aborted", error: new Fault("commit.taken_over") };
  }
  if (reply.kind === "error" && isDeallocated(reply.error, COMMIT_DECISION)) {
    return { kind: "aborted", error: new Fault("commit.deallocated") };
  }
  if (reply.kind === "error" && reply.error.sqlstate === "25006") {
    return { kind: "aborted", error: new Fault("commit.made_read_only") };
  }
  const read = commitReply(reply);
  if (read.kind !== "committed" || reply.kind !== "complete") return read;
  const isWhole = reply.tags.length === 2 && reply.tags[0] === "INSERT 0 1";
  return isWhole ? read : { kind: "unknown", reason: `it answered ${reply.tags.join(", ")}` };
}

/** A client's own code took it away unseen, with DEALLOCATE ALL in a DO block or a function, in whatever transaction. */
const isDeallocated = ({ sqlstate, message }: ErrorFields, { name }: KeptStatement): boolean =>
  sqlstate === "26000" && message.includes(name);

/** Somebody has decided to abort it: the row is there already. */
const isTakenOver = ({ sqlstate, rest }: ErrorFields): boolean =>
  sqlstate === "23505" &&
  rest?.get("s") === DECISION_KEY.schema &&
  rest.get("t") === DECISION_KEY.table &&
  rest.get("n") === DECISION_KEY.constraint;
