/**
 * Statements that run on every shard.
 *
 * One execution of a prepared statement goes as a batch that stands on its own: Parse, Bind, Execute, Sync, with no names.
 * The shards that take part in a statement for all, but do not answer the client, get this.
 */
import { serialize } from "pg-protocol/dist/serializer.js";
import type { ServerConnection } from "../pool/serverConnection.ts";
import { parseRenamed } from "../wire/frontendWriters.ts";
import { CLIENT_MESSAGE } from "../wire/messageTypes.ts";
import type { ClientTransaction } from "./clientTransaction.ts";
import type { Statement } from "./statementStore.ts";

const HEADER_BYTES = 5;

/** Runs a statement on every one of `shards`: on all but the last here, and `last` sends it there and waits. */
export async function runEverywhere(
  transaction: ClientTransaction,
  shards: number,
  bytes: Buffer,
  last: (connection: ServerConnection) => Promise<void>,
): Promise<void> {
  const lastShard = shards - 1;
  // The first shard first and alone: two clients that write the same row queue there, and nowhere crosswise.
  await transaction.runOn(0, bytes);
  const between = Array.from({ length: Math.max(0, lastShard - 1) }, (_, i) => i + 1);
  for (const shard of between) await transaction.open(shard);
  await Promise.all(between.map((shard) => transaction.runOn(shard, bytes)));
  const connection = await transaction.open(lastShard);
  transaction.noteWrite(lastShard);
  await last(connection);
}

/** `statement` run with what the Bind in `buffer[start, end)` gives it; that message must be sound. */
export function runUnnamed(statement: Statement, buffer: Buffer, start: number, end: number): Buffer {
  const parse = parseRenamed(statement.parse, 0, statement.parse.length, "");
  const execute = serialize.execute({ portal: "", rows: 0 });
  return Buffer.concat([parse, bindUnnamed(buffer, start, end), execute, serialize.sync()]);
}

/** A copy of a Bind without the names of its portal and statement. */
function bindUnnamed(buffer: Buffer, start: number, end: number): Buffer {
  const portalEnd = buffer.indexOf(0, start + HEADER_BYTES);
  const statementEnd = buffer.indexOf(0, portalEnd + 1);
  const values = buffer.subarray(statementEnd + 1, end);
  const bind = Buffer.alloc(HEADER_BYTES + 2 + values.length);
  bind[0] = CLIENT_MESSAGE.bind;
  bind.writeInt32BE(bind.length - 1, 1);
  values.copy(bind, HEADER_BYTES + 2);
  return bind;
}
