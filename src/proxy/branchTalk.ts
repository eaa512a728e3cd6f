/** What pgxa itself says on the connections of a transaction, and what it makes of the answers. */
import { Fault } from "../base/fault.ts";
import type { ControlReply } from "../pool/controlReply.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import { ShardError } from "../pool/shardError.ts";
import type { Transaction } from "../txn/transaction.ts";
import { statements } from "../wire/frontendWriters.ts";
import type { Refusal } from "./refusal.ts";

/** Puts what a branch that joins now has to hear in front of whatever is sent next. */
export function putOpening(connection: ServerConnection, transaction: Transaction<ServerConnection>): void {
  const opening = transaction.opening();
  connection.replies.expectOpening(opening.length);
  connection.unnamedStatement = null;
  connection.outbox.put(statements(opening));
}

/** Throws what `translate` makes of a refusal, or that the connection was lost. */
export function throwUnlessComplete(
  connection: ServerConnection,
  reply: ControlReply,
  translate: (refusal: Refusal) => Refusal,
): void {
  if (reply.kind === "complete") return;
  if (reply.kind === "error") throw translate(new ShardError(reply.error));
  throw new Fault("commit.branch_lost", { detail: `Shard "${connection.shard}": ${reply.reason}.` });
}

/** Throws, once, that a branch is gone; after that the transaction is an ordinary failed one. */
export function throwLossOnce(transaction: Transaction<ServerConnection>): void {
  if (transaction.lostReason === null || transaction.isLossTold) return;
  transaction.isLossTold = true;
  throw new Fault("commit.branch_lost", {
    detail: `${transaction.lostReason}.`,
    hint: "Roll back, and repeat the transaction.",
  });
}

/** Throws if no savepoint can bring the transaction back: what it did is gone on a shard, or on all. */
export function throwIfBeyondReturn({ lostReason }: Transaction<ServerConnection>): void {
  if (lostReason === null) return;
  throw new Fault("session.failed_transaction", {
    detail: `The transaction cannot go back to a savepoint: ${lostReason}.`,
    hint: "Roll back, and repeat the transaction.",
  });
}
