// Pure.
/**
 * Reads what pgxa must know of a shard's messages: those of the login, the reports, and the answers to its own
 * statements. The message lies, header included, in `buffer[start, end)`, as a `MessageCollector` shows it.
 *
 * What is returned is the reader's to keep; nothing points into the buffer. All throw the `Fault`
 * `protocol.server_violation` for a body that is not what its type promises.
 *
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
import { createHash } from "node:crypto";
import type { TransactionStatus } from "./backendWriters.ts";
import type { ErrorFields } from "./errorFields.ts";
import { FieldReader } from "./fieldReader.ts";
import { SERVER_MESSAGE } from "./messageTypes.ts";

/** What the shard asks for, or says, in an Authentication message. */
export type AuthenticationRequest =
  | { readonly kind: "ok" }
  | { readonly kind: "cleartext" }
  | { readonly kind: "md5"; readonly salt: Buffer }
  | { readonly kind: "sasl"; readonly mechanisms: readonly string[] }
  | { readonly kind: "saslContinue"; readonly data: Buffer }
  | { readonly kind: "saslFinal"; readonly data: Buffer }
  | { readonly kind: "unsupported"; readonly code: number };

const fieldsOf = (buffer: Buffer, start: number, end: number): FieldReader =>
  new FieldReader("server").reset(buffer, start, end);

export interface Notification {
  /** Of the backend that notified. */
  readonly pid: number;
  readonly channel: string;
  readonly payload: string;
}

export function readNotification(buffer: Buffer, start: number, end: number): Notification {
  const fields = fieldsOf(buffer, start, end);
  const notification = { pid: fields.int32(), channel: fields.cstring(), payload: fields.cstring() };
  fields.finish();
  return notification;
}

const TABLE_BYTES = 6;
const TYPE_BYTES = 10;
const FORMAT_BYTES = 2;

/**
 * What makes two row descriptions the same to Postgres, which refuses to run a prepared statement under another: the
 * columns' names and types, not the tables they come from. Of NoData it is empty.
 */
export function readShape(buffer: Buffer, start: number, end: number): string {
  if (buffer[start] === SERVER_MESSAGE.noData) return "";
  const fields = fieldsOf(buffer, start, end);
  const hash = createHash("sha1");
  for (let count = fields.uint16(); count > 0; count -= 1) {
    const nameAt = fields.skipCString();
    hash.update(buffer.subarray(nameAt, fields.at));
    fields.skip(TABLE_BYTES);
    hash.update(fields.bytes(TYPE_BYTES));
    fields.skip(FORMAT_BYTES);
  }
  return hash.digest("latin1");
}

const UNTRANSLATED = 0x56;
const FATAL = 0x46;
const PANIC = 0x50;

/** Whether an ErrorResponse ends the connection; its texts are not read. */
export function isFatalError(buffer: Buffer, start: number, end: number): boolean {
  const fields = fieldsOf(buffer, start, end);
  for (let code = fields.uint8(); code !== 0; code = fields.uint8()) {
    const at = fields.skipCString();
    if (code === UNTRANSLATED) return buffer[at] === FATAL || buffer[at] === PANIC;
  }
  return false;
}

const SQLSTATE = 0x43;

/** The SQLSTATE of an ErrorResponse. */
export function readSqlstate(buffer: Buffer, start: number, end: number): string {
  const fields = fieldsOf(buffer, start, end);
  for (let code = fields.uint8(); code !== 0; code = fields.uint8()) {
    const at = fields.skipCString();
    if (code === SQLSTATE) return buffer.toString("latin1", at, fields.at - 1);
  }
  return "XX000";
}

/** The fields of an ErrorResponse or NoticeResponse. */
export function readErrorFields(buffer: Buffer, start: number, end: number): ErrorFields {
  const fields = fieldsOf(buffer, start, end);
  const values = new Map<string, string>();
  for (let code = fields.uint8(); code !== 0; code = fields.uint8()) {
    values.set(String.fromCharCode(code), fields.cstring());
  }
  fields.finish();
  return sortFields(values);
}

function sortFields(values: Map<string, string>): ErrorFields {
  const take = (code: string) => {
    const value = values.get(code);
    values.delete(code);
    return value;
  };
  const localized = values.get("S");
  const severity = take("V") ?? localized ?? "ERROR";
  // Before 9.6 there is only `S`; in English the two are the same.
  if (localized === severity) values.delete("S");
  const sqlstate = take("C") ?? "XX000";
  const message = take("M") ?? "";
  const detail = take("D");
  const hint = take("H");
  const position = /^[1-9]\d{0,9}$/.test(values.get("P") ?? "") ? Number(take("P")) : undefined;
  return {
    severity,
    sqlstate,
    message,
    ...(detail === undefined ? {} : { detail }),
    ...(hint === undefined ? {} : { hint }),
    ...(position === undefined ? {} : { position }),
    ...(values.size === 0 ? {} : { rest: values }),
  };
}

export function readParameterStatus(
  buffer: Buffer,
  start: number,
  end: number,
): { readonly name: string; readonly value: string } {
  const fields = fieldsOf(buffer, start, end);
  const name = fields.cstring();
  const value = fields.cstring();
  fields.finish();
  return { name, value };
}

/** The secret has 4 bytes in protocol 3.0, up to 256 in 3.2. */
export function readBackendKeyData(
  buffer: Buffer,
  start: number,
  end: number,
): { readonly pid: number; readonly secret: Buffer } {
  const fields = fieldsOf(buffer, start, end);
  return { pid: fields.uint32(), secret: Buffer.from(fields.rest()) };
}

/** The tag of a CommandComplete, for example `COMMIT` or `INSERT 0 1`. */
export function readCommandTag(buffer: Buffer, start: number, end: number): string {
  const fields = fieldsOf(buffer, start, end);
  const tag = fields.cstring();
  fields.finish();
  return tag;
}

/** The values of a DataRow whose columns are in text format; null is SQL NULL. */
export function readDataRowText(buffer: Buffer, start: number, end: number): (string | null)[] {
  const fields = fieldsOf(buffer, start, end);
  const values: (string | null)[] = [];
  for (let count = fields.uint16(); count > 0; count -= 1) {
    const byteCount = fields.int32();
    if (byteCount < -1) throw fields.fault("invalid column length");
    values.push(byteCount === -1 ? null : fields.text(byteCount));
  }
  fields.finish();
  return values;
}

/** The transaction status in a ReadyForQuery. */
export function readReadyStatus(buffer: Buffer, start: number, end: number): TransactionStatus {
  const fields = fieldsOf(buffer, start, end);
  const status = String.fromCharCode(fields.uint8());
  fields.finish();
  if (status !== "I" && status !== "T" && status !== "E") throw fields.fault("unknown transaction status");
  return status;
}

export function readAuthentication(buffer: Buffer, start: number, end: number): AuthenticationRequest {
  const fields = fieldsOf(buffer, start, end);
  const code = fields.int32();
  if (code === 0) return { kind: "ok" };
  if (code === 3) return { kind: "cleartext" };
  if (code === 5) return { kind: "md5", salt: Buffer.from(fields.bytes(4)) };
  if (code === 10) return { kind: "sasl", mechanisms: readMechanisms(fields) };
  if (code === 11) return { kind: "saslContinue", data: Buffer.from(fields.rest()) };
  if (code === 12) return { kind: "saslFinal", data: Buffer.from(fields.rest()) };
  return { kind: "unsupported", code };
}

function readMechanisms(fields: FieldReader): string[] {
  const mechanisms: string[] = [];
  for (let name = fields.cstring(); name !== ""; name = fields.cstring()) mechanisms.push(name);
  return mechanisms;
}

/** The newest minor version of protocol 3 that the shard speaks, and the `_pq_.` options it does not know. */
export function readNegotiateProtocolVersion(
  buffer: Buffer,
  start: number,
  end: number,
): { readonly minor: number; readonly options: readonly string[] } {
  const fields = fieldsOf(buffer, start, end);
  if (fields.uint16() !== 3) throw fields.fault("protocol version 3 was not offered");
  const minor = fields.uint16();
  const options: string[] = [];
  for (let count = fields.int32(); count > 0; count -= 1) options.push(fields.cstring());
  fields.finish();
  return { minor, options };
}
