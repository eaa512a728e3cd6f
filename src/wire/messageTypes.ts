// Pure.
/**
 * Every message type of protocol v3, by the side that sends it, and how long a message of that type may be.
 *
 * The shortest message of a server is the one with all its strings empty and all its lists without elements; a
 * shorter one cannot be read at all. A client's is a header: what its body lacks is told where it is read, as in
 * Postgres, and costs only the statement. The longest is Postgres's own limit (`SocketBackend` in postgres.c for what
 * clients send), so that what pgxa lets through, a shard lets through too, and a server connection is never lost
 * to a client's nonsense.
 *
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */

/** Who sent the bytes. */
export type Side = "client" | "server";

/** The type bytes of messages from clients. */
export const CLIENT_MESSAGE = {
  bind: 0x42,
  close: 0x43,
  describe: 0x44,
  execute: 0x45,
  functionCall: 0x46,
  flush: 0x48,
  parse: 0x50,
  query: 0x51,
  sync: 0x53,
  terminate: 0x58,
  copyDone: 0x63,
  copyData: 0x64,
  copyFail: 0x66,
  /** PasswordMessage, SASLInitialResponse and SASLResponse share this type; the login knows which is due. */
  password: 0x70,
} as const;

/** Whether a client's message of `type` is answered with a ReadyForQuery. */
export const endsGroup = (type: number): boolean =>
  type === CLIENT_MESSAGE.query || type === CLIENT_MESSAGE.sync || type === CLIENT_MESSAGE.functionCall;

/** Whether a client's message of `type` is the last of a COPY's. */
export const endsCopy = (type: number): boolean =>
  type === CLIENT_MESSAGE.copyDone || type === CLIENT_MESSAGE.copyFail;

const OUTSIDE_BATCHES: ReadonlySet<number> = new Set([
  CLIENT_MESSAGE.query,
  CLIENT_MESSAGE.functionCall,
  CLIENT_MESSAGE.copyData,
  CLIENT_MESSAGE.copyDone,
  CLIENT_MESSAGE.copyFail,
  CLIENT_MESSAGE.terminate,
]);

/** Whether a client's message of `type` neither opens a batch of the extended protocol nor ends one. */
export const isOutsideBatches = (type: number): boolean => OUTSIDE_BATCHES.has(type);

/** The type bytes of messages from servers. */
export const SERVER_MESSAGE = {
  parseComplete: 0x31,
  bindComplete: 0x32,
  closeComplete: 0x33,
  notificationResponse: 0x41,
  commandComplete: 0x43,
  dataRow: 0x44,
  errorResponse: 0x45,
  copyInResponse: 0x47,
  copyOutResponse: 0x48,
  emptyQueryResponse: 0x49,
  backendKeyData: 0x4b,
  noticeResponse: 0x4e,
  authentication: 0x52,
  portalSuspended: 0x73,
  parameterStatus: 0x53,
  rowDescription: 0x54,
  functionCallResponse: 0x56,
  copyBothResponse: 0x57,
  readyForQuery: 0x5a,
  copyDone: 0x63,
  copyData: 0x64,
  noData: 0x6e,
  parameterDescription: 0x74,
  negotiateProtocolVersion: 0x76,
} as const;

/** The longest message of all, type byte included: 1 GiB - 1, what a Postgres can allocate. */
export const MESSAGE_BYTES_MAX = 0x3fff_ffff;
/** `PQ_SMALL_MESSAGE_LIMIT`, type byte included. */
const SMALL = 10_001;
/** `PG_MAX_AUTH_TOKEN_LENGTH`, type byte included. */
const TOKEN = 65_536;

/** The shortest and the longest message of a type in bytes, type byte and length included. */
type Bounds = readonly [min: number, max: number];

const CLIENT_BOUNDS: Readonly<Record<keyof typeof CLIENT_MESSAGE, Bounds>> = {
  bind: [5, MESSAGE_BYTES_MAX],
  close: [5, SMALL],
  describe: [5, SMALL],
  execute: [5, SMALL],
  functionCall: [5, MESSAGE_BYTES_MAX],
  flush: [5, SMALL],
  parse: [5, MESSAGE_BYTES_MAX],
  query: [5, MESSAGE_BYTES_MAX],
  sync: [5, SMALL],
  terminate: [5, SMALL],
  copyDone: [5, SMALL],
  copyData: [5, MESSAGE_BYTES_MAX],
  copyFail: [5, SMALL],
  password: [5, TOKEN],
};

const SERVER_BOUNDS: Readonly<Record<keyof typeof SERVER_MESSAGE, Bounds>> = {
  parseComplete: [5, 5],
  bindComplete: [5, 5],
  closeComplete: [5, 5],
  notificationResponse: [11, MESSAGE_BYTES_MAX],
  commandComplete: [6, MESSAGE_BYTES_MAX],
  dataRow: [7, MESSAGE_BYTES_MAX],
  errorResponse: [6, MESSAGE_BYTES_MAX],
  copyInResponse: [8, MESSAGE_BYTES_MAX],
  copyOutResponse: [8, MESSAGE_BYTES_MAX],
  emptyQueryResponse: [5, 5],
  // The secret has 4 bytes in protocol 3.0 and up to 256 in 3.2.
  backendKeyData: [13, 265],
  noticeResponse: [6, MESSAGE_BYTES_MAX],
  authentication: [9, TOKEN],
  portalSuspended: [5, 5],
  parameterStatus: [7, MESSAGE_BYTES_MAX],
  rowDescription: [7, MESSAGE_BYTES_MAX],
  functionCallResponse: [9, MESSAGE_BYTES_MAX],
  copyBothResponse: [8, MESSAGE_BYTES_MAX],
  readyForQuery: [6, 6],
  copyDone: [5, 5],
  copyData: [5, MESSAGE_BYTES_MAX],
  noData: [5, 5],
  parameterDescription: [7, MESSAGE_BYTES_MAX],
  negotiateProtocolVersion: [13, MESSAGE_BYTES_MAX],
};

/** Bounds of whole messages, indexed by type byte; `min` is 0 where the side has no such type. */
export interface LengthTable {
  readonly min: Uint8Array;
  readonly max: Uint32Array;
}

const CLIENT_LENGTHS = tabulate(CLIENT_MESSAGE, CLIENT_BOUNDS);
const SERVER_LENGTHS = tabulate(SERVER_MESSAGE, SERVER_BOUNDS);

/** The bounds of every type that `side` may send, as the protocol has them; one table for all. */
export const lengthTable = (side: Side): LengthTable => (side === "client" ? CLIENT_LENGTHS : SERVER_LENGTHS);

/** Whether the protocol allows `length` for messages of `type` from `side`, whatever pgxa allows. */
export function isValidLength(side: Side, type: number, length: number): boolean {
  const { min, max } = lengthTable(side);
  return length >= min[type]! && length <= max[type]!;
}

function tabulate<Name extends string>(
  types: Readonly<Record<Name, number>>,
  bounds: Readonly<Record<Name, Bounds>>,
): LengthTable {
  const table = { min: new Uint8Array(256), max: new Uint32Array(256) };
  for (const name of Object.keys(types) as Name[]) {
    const [min, max] = bounds[name];
    table.min[types[name]] = min;
    table.max[types[name]] = max;
  }
  return table;
}
