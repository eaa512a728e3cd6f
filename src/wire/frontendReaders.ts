// Pure.
/**
 * Reads what pgxa must know of a client's messages, in place: the message lies, header included, in
 * `buffer[start, end)`, as a `MessageCollector` shows it.
 *
 * All throw a `Fault`: `protocol.malformed` for a body that is not what its type promises (of Parse and Bind only
 * what is in front of the name is looked at, if the name is asked for), and
 * `session.invalid_encoding` for text that is not UTF-8. Bind has a reader of its own, `bindReader.ts`.
 *
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
import { type Encoding, FieldReader } from "./fieldReader.ts";
import { CLIENT_MESSAGE } from "./messageTypes.ts";

export interface ParseMessage {
  /** Empty for the unnamed statement. */
  readonly name: string;
  readonly text: string;
  /** The OIDs the client gave; 0, and every one beyond the list, leaves the type to the server. */
  readonly parameterTypes: readonly number[];
}

export interface SaslInitialResponse {
  readonly mechanism: string;
  /** Null if the client sent none: it then waits for an empty challenge. */
  readonly data: Buffer | null;
}

/** A header and the ends of two names. */
const NAMELESS_BIND_BYTES_MIN = 7;
const STATEMENT = 0x53;
const PORTAL = 0x50;

function fieldsOf(buffer: Buffer, start: number, end: number, encoding: Encoding = "utf8"): FieldReader {
  return new FieldReader("client", encoding).reset(buffer, start, end);
}

/** Where the text of a Query is: behind its type and length. */
export const QUERY_TEXT_AT = 5;

/** The text of a Query. */
export function readQuery(buffer: Buffer, start: number, end: number, encoding?: Encoding): string {
  const fields = fieldsOf(buffer, start, end, encoding);
  const text = fields.cstring();
  fields.finish();
  return text;
}

export function readParse(buffer: Buffer, start: number, end: number, encoding?: Encoding): ParseMessage {
  const fields = fieldsOf(buffer, start, end, encoding);
  const name = fields.cstring();
  const text = fields.cstring();
  const parameterTypes: number[] = [];
  for (let count = fields.uint16(); count > 0; count -= 1) parameterTypes.push(fields.uint32());
  fields.finish();
  return { name, text, parameterTypes };
}

/** The statement that a Parse, Bind, Describe or Close names; null if a Describe or Close names a portal. */
export function readStatementName(
  buffer: Buffer,
  start: number,
  end: number,
  encoding?: Encoding,
): string | null {
  const type = buffer[start];
  // A Bind of neither a named portal nor a named statement, as most drivers send it.
  if (
    type === CLIENT_MESSAGE.bind &&
    end - start >= NAMELESS_BIND_BYTES_MIN &&
    buffer.readUInt16BE(start + 5) === 0
  )
    return "";
  const fields = fieldsOf(buffer, start, end, encoding);
  if (type === CLIENT_MESSAGE.parse) return fields.cstring();
  if (type === CLIENT_MESSAGE.bind) fields.skipCString();
  else if (readSubject(fields) !== STATEMENT) return null;
  const name = fields.cstring();
  if (type !== CLIENT_MESSAGE.bind) fields.finish();
  return name;
}

/** The portal that a Bind, Execute, Describe or Close names; null if a Describe or Close names a statement. */
export function readPortalName(buffer: Buffer, start: number, end: number): string | null {
  const fields = fieldsOf(buffer, start, end);
  const type = buffer[start];
  if (type === CLIENT_MESSAGE.bind) return fields.cstring();
  if (type !== CLIENT_MESSAGE.execute && readSubject(fields) !== PORTAL) return null;
  const name = fields.cstring();
  if (type === CLIENT_MESSAGE.execute) fields.int32(); // the row count
  fields.finish();
  return name;
}

export interface ResultRequest {
  readonly portal: string;
  readonly statement: string;
  readonly parameterCount: number;
  /** Of the columns: none for text, one for all, or one each. */
  readonly formats: readonly number[];
}

/** A Bind whose parameters nobody looks at. */
export function readResultRequest(buffer: Buffer, start: number, end: number): ResultRequest {
  const fields = fieldsOf(buffer, start, end);
  const portal = fields.cstring();
  const statement = fields.cstring();
  fields.skip(2 * fields.uint16());
  const parameterCount = fields.uint16();
  for (let i = 0; i < parameterCount; i += 1) fields.skip(Math.max(0, fields.int32()));
  const formats: number[] = [];
  for (let count = fields.uint16(); count > 0; count -= 1) formats.push(fields.uint16());
  fields.finish();
  return { portal, statement, parameterCount, formats };
}

/** How many rows an Execute asks for; 0 is all. */
export function readRowLimit(buffer: Buffer, start: number, end: number): number {
  const fields = fieldsOf(buffer, start, end);
  fields.skipCString();
  return Math.max(0, fields.int32());
}

/** What a Describe or Close is about. */
function readSubject(fields: FieldReader): number {
  const subject = fields.uint8();
  if (subject !== STATEMENT && subject !== PORTAL) throw fields.fault(`invalid message subtype ${subject}`);
  return subject;
}

/** The password of a PasswordMessage: clear text or the md5 answer. */
export const readPassword = (buffer: Buffer, start: number, end: number): string =>
  readQuery(buffer, start, end);

export function readSaslInitialResponse(buffer: Buffer, start: number, end: number): SaslInitialResponse {
  const fields = fieldsOf(buffer, start, end);
  const mechanism = fields.cstring();
  const byteCount = fields.int32();
  if (byteCount < -1) throw fields.fault("invalid message format");
  const data = byteCount === -1 ? null : fields.bytes(byteCount);
  fields.finish();
  return { mechanism, data };
}

/** The data of a SASLResponse, where it lies. */
export const readSaslResponse = (buffer: Buffer, start: number, end: number): Buffer =>
  fieldsOf(buffer, start, end).rest();
