/**
 * One execution of a prepared statement as a batch that stands on its own: Parse, Bind, Execute, Sync, with no names.
 * The shards that take part in a statement for all, but do not answer the client, get this.
 */
import { serialize } from "pg-protocol/dist/serializer.js";
import { parseRenamed } from "../wire/frontendWriters.ts";
import { CLIENT_MESSAGE } from "../wire/messageTypes.ts";
import type { Statement } from "./statementStore.ts";

const HEADER_BYTES = 5;

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
