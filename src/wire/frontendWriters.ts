// Pure.
/**
 * The messages that pgxa itself sends to shards, and a client's messages with a name replaced.
 *
 * Plain ones are written by pg-protocol. It has none for protocol 3.2 (a cancel secret of any length, a version
 * to ask for), which are written here.
 *
 * A client's prepared statements have other names on a server connection. Its Parse, Bind, Describe and Close are
 * copied around the name, never read and encoded again: whatever else they say arrives as it was said.
 *
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
import { serialize } from "pg-protocol/dist/serializer.js";
import { FieldReader } from "./fieldReader.ts";
import type { ParseMessage } from "./frontendReaders.ts";
import { MessageBuilder } from "./messageBuilder.ts";

const SSL_REQUEST = 80877103;
const CANCEL_REQUEST = 80877102;
const QUERY = 0x51;

export const query = (text: string): Buffer => serialize.query(text);

/** A Query with the bytes of `text` as they are, where its encoding is the client's affair. */
export const queryBytes = (text: Buffer): Buffer => new MessageBuilder(QUERY).bytes(text).uint8(0).finish();

/** `name` has at most 63 bytes, as all names that Postgres keeps. */
export const parse = ({ name, text, parameterTypes }: ParseMessage): Buffer =>
  serialize.parse({ name, text, types: [...parameterTypes] });

const run = (text: string): Buffer =>
  Buffer.concat([
    serialize.parse({ name: "", text, types: [] }),
    serialize.bind({ portal: "", statement: "", values: [] }),
    serialize.execute({ portal: "", rows: 0 }),
  ]);
const BEGIN = run("BEGIN");

/** Statements without parameters in the extended protocol, without a Sync: they go in front of what has one. */
export const statements = (texts: readonly string[]): Buffer =>
  texts.length === 1 && texts[0] === "BEGIN" ? BEGIN : Buffer.concat(texts.map(run));

export const describeStatement = (name: string): Buffer => serialize.describe({ type: "S", name });
export const closeStatement = (name: string): Buffer => serialize.close({ type: "S", name });
export const sync = (): Buffer => serialize.sync();
export const flush = (): Buffer => serialize.flush();
export const terminate = (): Buffer => serialize.end();

/** A password in clear text, or the answer to an md5 request (`md5Password`). */
export const password = (text: string): Buffer => serialize.password(text);

export const saslInitialResponse = (mechanism: string, data: string): Buffer =>
  serialize.sendSASLInitialResponseMessage(mechanism, data);

export const saslResponse = (data: string): Buffer => serialize.sendSCRAMClientFinalMessage(data);

/** A StartupMessage of protocol 3.`minor`. */
export function startup(parameters: Iterable<readonly [name: string, value: string]>, minor: number): Buffer {
  const builder = new MessageBuilder(null).uint16(3).uint16(minor);
  for (const [name, value] of parameters) builder.cstring(name).cstring(value);
  return builder.uint8(0).finish();
}

/** Asks for TLS; the answer is one byte, S or N. */
export const sslRequest = (): Buffer => new MessageBuilder(null).int32(SSL_REQUEST).finish();

/** Sent on a connection of its own; `pid` and `secret` are those of BackendKeyData. */
export const cancelRequest = (pid: number, secret: Uint8Array): Buffer =>
  new MessageBuilder(null).int32(CANCEL_REQUEST).uint32(pid).bytes(secret).finish();

/** A copy of the Parse in `buffer[start, end)` that makes the statement `name`. Throws `protocol.malformed`. */
export function parseRenamed(buffer: Buffer, start: number, end: number, name: string): Buffer {
  const fields = new FieldReader("client").reset(buffer, start, end);
  return withName(buffer, start, end, fields, name);
}

/** A copy of the Bind in `buffer[start, end)` of the statement `name`. Throws `protocol.malformed`. */
export function bindRenamed(buffer: Buffer, start: number, end: number, name: string): Buffer {
  const fields = new FieldReader("client").reset(buffer, start, end);
  fields.skipCString();
  return withName(buffer, start, end, fields, name);
}

/** A copy of the Describe in `buffer[start, end)` about the statement `name`. Throws `protocol.malformed`. */
export function describeRenamed(buffer: Buffer, start: number, end: number, name: string): Buffer {
  const fields = new FieldReader("client").reset(buffer, start, end);
  fields.skip(1);
  return withName(buffer, start, end, fields, name);
}

/** A copy of the Close in `buffer[start, end)` of the statement `name`. Throws `protocol.malformed`. */
export const closeRenamed = describeRenamed;

/**
 * Copies a message, with `name` for the one that `fields` stands in front of. Of a message that is not held as a whole
 * its head will do (messageHead.ts): the length is that of the message, not of what lies here.
 */
function withName(buffer: Buffer, start: number, end: number, fields: FieldReader, name: string): Buffer {
  const nameStart = fields.skipCString();
  const nameEnd = fields.at - 1;
  const nameBytes = Buffer.byteLength(name);
  const before = nameStart - start;
  const copy = Buffer.allocUnsafe(before + nameBytes + (end - nameEnd));
  buffer.copy(copy, 0, start, nameStart);
  copy.write(name, before);
  buffer.copy(copy, before + nameBytes, nameEnd, end);
  copy.writeInt32BE(buffer.readInt32BE(start + 1) + nameBytes - (nameEnd - nameStart), 1);
  return copy;
}
