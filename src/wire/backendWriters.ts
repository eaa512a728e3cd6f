// Pure.
/**
 * The messages that pgxa itself sends to clients. What a shard says is forwarded as it came, never rebuilt here.
 *
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
import type { Fault } from "../base/fault.ts";
import type { ErrorFields } from "./errorFields.ts";
import { MessageBuilder } from "./messageBuilder.ts";
import { SERVER_MESSAGE } from "./messageTypes.ts";

/** What ReadyForQuery says: idle, in a transaction block, in a failed one. */
export type TransactionStatus = "I" | "T" | "E";

export interface Column {
  readonly name: string;
  readonly typeOid: number;
}

/** What a client is told of `fault`. */
export function faultFields(fault: Fault): ErrorFields {
  return {
    severity: fault.spec.severity,
    sqlstate: fault.sqlstate,
    message: fault.message,
    ...(fault.detail === undefined ? {} : { detail: fault.detail }),
    ...(fault.hint === undefined ? {} : { hint: fault.hint }),
    ...(fault.position === undefined ? {} : { position: fault.position }),
  };
}

export const errorResponse = (fields: ErrorFields): Buffer => report(SERVER_MESSAGE.errorResponse, fields);

export const noticeResponse = (fields: ErrorFields): Buffer => report(SERVER_MESSAGE.noticeResponse, fields);

/** The ErrorResponse for a fault of pgxa's own. */
export const faultResponse = (fault: Fault): Buffer => errorResponse(faultFields(fault));

function report(type: number, fields: ErrorFields): Buffer {
  const builder = new MessageBuilder(type);
  const field = (code: string, value: string | undefined) => {
    if (value !== undefined) builder.uint8(code.charCodeAt(0)).cstring(value);
  };
  field("S", fields.rest?.get("S") ?? fields.severity);
  field("V", fields.severity);
  field("C", fields.sqlstate);
  field("M", fields.message);
  field("D", fields.detail);
  field("H", fields.hint);
  field("P", fields.position?.toString());
  for (const [code, value] of fields.rest ?? []) if (code !== "S") field(code, value);
  return builder.uint8(0).finish();
}

const READY: Readonly<Record<TransactionStatus, Buffer>> = {
  I: new MessageBuilder(SERVER_MESSAGE.readyForQuery).uint8(0x49).finish(),
  T: new MessageBuilder(SERVER_MESSAGE.readyForQuery).uint8(0x54).finish(),
  E: new MessageBuilder(SERVER_MESSAGE.readyForQuery).uint8(0x45).finish(),
};
const EMPTY_QUERY_RESPONSE = new MessageBuilder(SERVER_MESSAGE.emptyQueryResponse).finish();
const PARSE_COMPLETE = new MessageBuilder(SERVER_MESSAGE.parseComplete).finish();
const BIND_COMPLETE = new MessageBuilder(SERVER_MESSAGE.bindComplete).finish();
const CLOSE_COMPLETE = new MessageBuilder(SERVER_MESSAGE.closeComplete).finish();
const NO_DATA = new MessageBuilder(SERVER_MESSAGE.noData).finish();
const AUTHENTICATION_OK = new MessageBuilder(SERVER_MESSAGE.authentication).int32(0).finish();
const PORTAL_SUSPENDED = new MessageBuilder(SERVER_MESSAGE.portalSuspended).finish();

/** Made once and shared, like all messages without content: nobody may write into it. */
export const readyForQuery = (status: TransactionStatus): Buffer => READY[status];
export const emptyQueryResponse = (): Buffer => EMPTY_QUERY_RESPONSE;
export const parseComplete = (): Buffer => PARSE_COMPLETE;
export const bindComplete = (): Buffer => BIND_COMPLETE;
export const closeComplete = (): Buffer => CLOSE_COMPLETE;
export const noData = (): Buffer => NO_DATA;
export const portalSuspended = (): Buffer => PORTAL_SUSPENDED;

export const commandComplete = (tag: string): Buffer =>
  new MessageBuilder(SERVER_MESSAGE.commandComplete).cstring(tag).finish();

export const parameterStatus = (name: string, value: string): Buffer =>
  new MessageBuilder(SERVER_MESSAGE.parameterStatus).cstring(name).cstring(value).finish();

export const notificationResponse = (pid: number, channel: string, payload: string): Buffer =>
  new MessageBuilder(SERVER_MESSAGE.notificationResponse)
    .uint32(pid)
    .cstring(channel)
    .cstring(payload)
    .finish();

export const authenticationOk = (): Buffer => AUTHENTICATION_OK;

/** Asks for the password itself. */
export const authenticationCleartext = (): Buffer => authentication(3).finish();

/** Asks for the password hashed with `salt`, four bytes. */
export const authenticationMd5 = (salt: Uint8Array): Buffer => authentication(5).bytes(salt).finish();

/** Asks for SASL by one of `mechanisms`, the preferred one first. */
export function authenticationSasl(mechanisms: readonly string[]): Buffer {
  const builder = authentication(10);
  for (const mechanism of mechanisms) builder.cstring(mechanism);
  return builder.uint8(0).finish();
}

export const authenticationSaslContinue = (data: Uint8Array): Buffer =>
  authentication(11).bytes(data).finish();

export const authenticationSaslFinal = (data: Uint8Array): Buffer => authentication(12).bytes(data).finish();

const authentication = (code: number): MessageBuilder =>
  new MessageBuilder(SERVER_MESSAGE.authentication).int32(code);

/** `secret` has 4 bytes for a client of protocol 3.0 and up to 256 for one of 3.2. */
export const backendKeyData = (pid: number, secret: Uint8Array): Buffer =>
  new MessageBuilder(SERVER_MESSAGE.backendKeyData).uint32(pid).bytes(secret).finish();

/** Says that no minor version above `minor` and none of the `_pq_` `options` is spoken here. */
export function negotiateProtocolVersion(minor: number, options: readonly string[]): Buffer {
  const builder = new MessageBuilder(SERVER_MESSAGE.negotiateProtocolVersion);
  builder.uint16(3).uint16(minor).int32(options.length);
  for (const option of options) builder.cstring(option);
  return builder.finish();
}

/** `pg_type.typlen` of the fixed-size types pgxa answers with; all others count as of variable size. */
const TYPE_SIZES: ReadonlyMap<number, number> = new Map([
  [16, 1],
  [20, 8],
  [21, 2],
  [23, 4],
  [26, 4],
  [701, 8],
  [1184, 8],
]);

/** Columns that belong to no table; `formats` are text, 0, if not given, or binary, 1. */
export function rowDescription(columns: readonly Column[], formats: readonly number[] = []): Buffer {
  const builder = new MessageBuilder(SERVER_MESSAGE.rowDescription).uint16(columns.length);
  for (const [i, { name, typeOid }] of columns.entries()) {
    const size = TYPE_SIZES.get(typeOid) ?? -1;
    builder
      .cstring(name)
      .uint32(0)
      .int16(0)
      .uint32(typeOid)
      .int16(size)
      .int32(-1)
      .int16(formats[i] ?? 0);
  }
  return builder.finish();
}

/** Values in text format, or as bytes in whatever format; null is SQL NULL. */
export function dataRow(values: readonly (string | Buffer | null)[]): Buffer {
  const builder = new MessageBuilder(SERVER_MESSAGE.dataRow).uint16(values.length);
  for (const value of values) {
    if (value === null) builder.int32(-1);
    else {
      const bytes = typeof value === "string" ? Buffer.from(value) : value;
      builder.int32(bytes.length).bytes(bytes);
    }
  }
  return builder.finish();
}

export function parameterDescription(typeOids: readonly number[]): Buffer {
  const builder = new MessageBuilder(SERVER_MESSAGE.parameterDescription).uint16(typeOids.length);
  for (const oid of typeOids) builder.uint32(oid);
  return builder.finish();
}
