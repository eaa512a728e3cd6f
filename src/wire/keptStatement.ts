// Pure.
/**
 * A statement of pgxa's own that stays prepared on server connections, and the batch that runs it and one more behind it.
 *
 * The shard passes over the rest of a batch behind an error, so the second statement runs only if the first did.
 */
import { serialize } from "pg-protocol/dist/serializer.js";

export interface KeptStatement {
  /** ASCII, and no name of a client's statement. */
  readonly name: string;
  readonly text: string;
  /** Makes it stand, whether it does already or not. */
  readonly making: Buffer;
}

export const keptStatement = (name: string, text: string): KeptStatement => ({
  name,
  text,
  making: Buffer.concat([serialize.close({ type: "S", name }), serialize.parse({ name, text, types: [] })]),
});

const PARSE = 0x50;
const BIND = 0x42;
const EXECUTE = serialize.execute({ portal: "", rows: 0 });
/** Behind the Parse of an unnamed statement without parameters. */
const RUN_AND_SYNC = Buffer.concat([
  serialize.bind({ portal: "", statement: "", values: [] }),
  EXECUTE,
  serialize.sync(),
]);
/** Of a Bind besides its statement's name and its values: type, length, two NULs, and three counts. */
const BIND_BYTES = 13;
/** Of a Parse besides its text: type, length, two NULs, and the count of types. */
const PARSE_BYTES = 9;
const LENGTH_BYTES = 4;

/** Runs `first`, which has to be made unless it `stands`, with `values`; and behind it `sql`. Ends with a Sync. */
export function batchOf(
  { name, making }: KeptStatement,
  stands: boolean,
  values: readonly string[],
  sql: string,
): Buffer {
  let bindBytes = BIND_BYTES + name.length;
  for (const value of values) bindBytes += LENGTH_BYTES + Buffer.byteLength(value);
  const parseBytes = PARSE_BYTES + Buffer.byteLength(sql);
  const makingBytes = stands ? 0 : making.length;
  const batch = Buffer.allocUnsafe(
    makingBytes + bindBytes + EXECUTE.length + parseBytes + RUN_AND_SYNC.length,
  );
  let at = stands ? 0 : making.copy(batch);
  at = putBind(batch, at, bindBytes, name, values);
  at += EXECUTE.copy(batch, at);
  at = putParse(batch, at, parseBytes, sql);
  RUN_AND_SYNC.copy(batch, at);
  return batch;
}

function putBind(
  batch: Buffer,
  start: number,
  bytes: number,
  name: string,
  values: readonly string[],
): number {
  let at = batch.writeUInt8(BIND, start);
  at = batch.writeInt32BE(bytes - 1, at);
  at = batch.writeUInt8(0, at); // the unnamed portal
  at += batch.write(name, at, "latin1");
  at = batch.writeUInt8(0, at);
  at = batch.writeInt16BE(0, at); // all values as text
  at = batch.writeInt16BE(values.length, at);
  for (const value of values) {
    const length = batch.write(value, at + LENGTH_BYTES);
    at = batch.writeInt32BE(length, at) + length;
  }
  return batch.writeInt16BE(0, at);
}

function putParse(batch: Buffer, start: number, bytes: number, sql: string): number {
  let at = batch.writeUInt8(PARSE, start);
  at = batch.writeInt32BE(bytes - 1, at);
  at = batch.writeUInt8(0, at); // without a name
  at += batch.write(sql, at);
  at = batch.writeUInt8(0, at);
  return batch.writeInt16BE(0, at);
}
