// Pure.
/**
 * The hash of a shard key's value, from the text of a literal or parameter, or a parameter's binary form.
 *
 * Only forms that mean one value whatever the session's settings are understood: ISO dates, timestamps with their
 * offset, plain numbers. Everything else (`yesterday`, `01/02/2024`, `0x2a`) is refused, never guessed.
 */
import { Fault } from "../base/fault.ts";
import type { KeyType } from "../config/config.ts";
import { type Hash64, hashBytes, hashInt64, hashNumeric, hashUint32 } from "./partitionHash.ts";

/** Of each key type: the parameter types that compare with it by value. 0 is left to the server: the column's own. */
const INTEGERS: readonly number[] = [0, 20, 21, 23];
const TEXTS: readonly number[] = [0, 25, 705, 1043];
const PARAMETER_TYPES: Readonly<Record<KeyType, readonly number[]>> = {
  int2: INTEGERS,
  int4: INTEGERS,
  int8: INTEGERS,
  text: TEXTS,
  varchar: TEXTS,
  uuid: [0, 2950],
  numeric: [0, 1700],
  date: [0, 1082],
  timestamptz: [0, 1184],
};

const INTEGER_BITS: Readonly<Partial<Record<KeyType, number>>> = { int2: 16, int4: 32, int8: 64 };
const DAYS_PER_MONTH: readonly number[] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const MINUS = 0x2d;
const ZERO = 0x30;
/** numeric has at most this many digits before the point. */
const NUMERIC_EXPONENT_MAX = 131_072;

/** The hash of a key given as text; throws a Fault (`route.bad_key`). */
export function hashOfText(type: KeyType, text: string): Hash64 {
  switch (type) {
    case "int2":
    case "int4":
    case "int8":
      return hashInt64(integerOf(type, text));
    case "text":
    case "varchar":
      return hashBytes(Buffer.from(text));
    case "uuid":
      return hashBytes(uuidOf(text));
    case "numeric":
      return numericHash(text);
    case "date":
      return hashUint32(dateOf(text) | 0);
    case "timestamptz":
      return hashInt64(timestampOf(text));
  }
}

/** The hash of a key given in binary; throws a Fault. */
export function hashOfBinary(type: KeyType, bytes: Buffer): Hash64 {
  switch (type) {
    case "int2":
    case "int4":
    case "int8":
      return hashInt64(inRange(type, binaryInteger(type, bytes)));
    case "text":
    case "varchar":
      return hashBytes(bytes);
    case "uuid":
      return hashBytes(sized(type, bytes, 16));
    case "numeric":
      return binaryNumericHash(bytes);
    case "date":
      return hashUint32(sized(type, bytes, 4).readInt32BE(0));
    case "timestamptz":
      return hashInt64(sized(type, bytes, 8).readBigInt64BE(0));
  }
}

/** Throws a Fault if a parameter declared as `oid` cannot be compared with a key of `type` by value. */
export function checkParameterType(type: KeyType, oid: number): void {
  if (PARAMETER_TYPES[type].includes(oid)) return;
  throw new Fault("route.bad_key", {
    message: "the type of the parameter is not that of the shard key",
    detail: `The shard key has type ${type}; the parameter was declared with type OID ${oid}.`,
    hint: `Declare the parameter as ${type}, or leave its type to the server.`,
  });
}

/**
 * Throws a Fault if a value in `format` may mean another key than that of `type`, its parameter's type being left to
 * the server, which may find another one: the 8 bytes of a float8 are no int8, a timestamp's offset is dropped.
 */
export function checkForm(type: KeyType, format: 0 | 1): void {
  if (type === "text" || type === "varchar" || type === "uuid") return;
  if (format === 0 && type !== "date" && type !== "timestamptz") return;
  throw new Fault("route.bad_key", {
    message: "the type of the parameter is not known",
    detail:
      "The parameter gives the shard key and stands elsewhere in the statement, which may decide its type.",
    hint: `Declare the parameter as ${type}, or use a parameter of its own for the key.`,
  });
}

// --- integers ---

function integerOf(type: KeyType, text: string): bigint {
  const trimmed = text.trim();
  if (!/^[+-]?\d{1,30}$/.test(trimmed)) throw badKey(type, "a plain integer, such as 42");
  return inRange(type, BigInt(trimmed.startsWith("+") ? trimmed.slice(1) : trimmed));
}

const SMALL_DIGITS_MAX = 9;

/**
 * The key of type int4 or int8 in `bytes`, a parameter in `format`, if it is as short as keys usually are; NaN for any other,
 * which may still be a good one. It makes no garbage, nor a bigint, which costs ten times as much.
 */
export function smallInteger(type: KeyType, format: 0 | 1, bytes: Buffer): number {
  if (type !== "int8" && type !== "int4") return Number.NaN;
  if (format === 1) return bytes.length === 4 ? bytes.readInt32BE(0) : Number.NaN;
  const digitsFrom = bytes[0] === MINUS ? 1 : 0;
  const digits = bytes.length - digitsFrom;
  if (digits < 1 || digits > SMALL_DIGITS_MAX) return Number.NaN;
  let value = 0;
  for (let i = digitsFrom; i < bytes.length; i += 1) {
    const digit = bytes[i]! - ZERO;
    if (digit < 0 || digit > 9) return Number.NaN;
    value = 10 * value + digit;
  }
  return digitsFrom === 1 ? -value : value;
}

function inRange(type: KeyType, value: bigint): bigint {
  const bits = INTEGER_BITS[type] ?? 64;
  if (BigInt.asIntN(bits, value) !== value) throw badKey(type, `a value within the range of ${type}`);
  return value;
}

function binaryInteger(type: KeyType, bytes: Buffer): bigint {
  if (bytes.length === 2) return BigInt(bytes.readInt16BE(0));
  if (bytes.length === 4) return BigInt(bytes.readInt32BE(0));
  if (bytes.length === 8) return bytes.readBigInt64BE(0);
  throw badKey(type, "an integer of 2, 4 or 8 bytes");
}

// --- uuid ---

/** As Postgres reads it: hexadecimal digits, a hyphen after any group of four, perhaps in braces. */
function uuidOf(text: string): Uint8Array {
  const match = /^(\{?)((?:[0-9a-f]{4}-?){7}[0-9a-f]{4})(\}?)$/i.exec(text);
  if (match === null || (match[1] === "{") !== (match[3] === "}")) {
    throw badKey("uuid", "a UUID, such as a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
  }
  return Buffer.from(match[2]!.replaceAll("-", ""), "hex");
}

// --- numeric ---

const NUMERIC = /^\s*([+-]?)(?:(\d*)(?:\.(\d*))?)(?:e([+-]?\d{1,7}))?\s*$/i;

function numericHash(text: string): Hash64 {
  if (/^\s*(nan|[+-]?inf(inity)?)\s*$/i.test(text)) return hashNumeric(null, 0);
  const match = NUMERIC.exec(text);
  const whole = match?.[2] ?? "";
  const fraction = match?.[3] ?? "";
  const exponent = Number(match?.[4] ?? 0);
  if (match === null || whole.length + fraction.length === 0 || Math.abs(exponent) > NUMERIC_EXPONENT_MAX) {
    throw badKey("numeric", "a number, such as 42.50");
  }
  return decimalHash(whole + fraction, whole.length + exponent);
}

/** The hash of the decimal digits with the point behind the first `point` of them. */
function decimalHash(decimals: string, point: number): Hash64 {
  const first = decimals.search(/[1-9]/);
  if (first < 0) return hashNumeric([], 0);
  const significant = decimals.slice(first).replace(/0+$/, "");
  const leading = point - first;
  // Groups of four count from the point: the first may hold fewer digits.
  const weight = Math.ceil(leading / 4) - 1;
  const padded = "0".repeat(4 * (weight + 1) - leading) + significant;
  const digits = padded.match(/.{1,4}/g)!.map((group) => Number(group.padEnd(4, "0")));
  return hashNumeric(digits, weight);
}

/** https://github.com/postgres/postgres/blob/master/src/backend/utils/adt/numeric.c: numeric_send */
function binaryNumericHash(bytes: Buffer): Hash64 {
  if (bytes.length < 8) throw badKey("numeric", "a numeric in binary form");
  const count = bytes.readUInt16BE(0);
  const weight = bytes.readInt16BE(2);
  const sign = bytes.readUInt16BE(4);
  if (bytes.length !== 8 + 2 * count) throw badKey("numeric", "a numeric in binary form");
  if (sign !== 0 && sign !== 0x4000) return hashNumeric(null, 0);
  const digits = Array.from({ length: count }, (_, i) => bytes.readUInt16BE(8 + 2 * i));
  const first = digits.findIndex((digit) => digit !== 0);
  if (first < 0) return hashNumeric([], 0);
  const last = digits.findLastIndex((digit) => digit !== 0);
  return hashNumeric(digits.slice(first, last + 1), weight - first);
}

// --- date and time ---

const DATE = /^\s*(\d{4,6})-(\d{2})-(\d{2})\s*$/;
const TIMESTAMP =
  /^\s*(\d{4,6}-\d{2}-\d{2})[ T](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?\s*(?:(z)|([+-])(\d{2})(?::?(\d{2}))?)\s*$/i;

/** Days since 2000-01-01. */
function dateOf(text: string): number {
  const match = DATE.exec(text);
  if (match === null) throw badKey("date", "an ISO date, such as 2026-02-28");
  const [year, month, day] = [Number(match[1]), Number(match[2]), Number(match[3])];
  if (year === 0 || month < 1 || month > 12 || day < 1 || day > daysOf(year, month)) {
    throw badKey("date", "a date of the calendar");
  }
  const before = DAYS_PER_MONTH.slice(0, month - 1).reduce((days, length) => days + length, 0);
  const leapDay = month > 2 && isLeap(year) ? 1 : 0;
  return daysBefore(year) - daysBefore(2000) + before + leapDay + day - 1;
}

const isLeap = (year: number): boolean => (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
const daysOf = (year: number, month: number): number =>
  DAYS_PER_MONTH[month - 1]! + (month === 2 && isLeap(year) ? 1 : 0);

/** Days from the year 1 to the first of January of `year`, in the Gregorian calendar. */
function daysBefore(year: number): number {
  const years = year - 1;
  return 365 * years + Math.floor(years / 4) - Math.floor(years / 100) + Math.floor(years / 400);
}

/** Microseconds since 2000-01-01 UTC. */
function timestampOf(text: string): bigint {
  const match = TIMESTAMP.exec(text);
  if (match === null) {
    throw badKey("timestamptz", "an ISO timestamp with its offset, such as 2026-02-28 12:30:00+00");
  }
  const [, date, hour, minute, second = "0", fraction = "", , sign, offsetHour = "0", offsetMinute = "0"] =
    match;
  const clock = [hour, minute, second, offsetHour, offsetMinute].map(Number);
  const limits = [23, 59, 59, 15, 59];
  if (clock.some((value, i) => value > limits[i]!)) throw badKey("timestamptz", "a time of the clock");
  const offset = (clock[3]! * 60 + clock[4]!) * (sign === "-" ? -1 : 1);
  const seconds = dateOf(date!) * 86_400 + clock[0]! * 3_600 + (clock[1]! - offset) * 60 + clock[2]!;
  return BigInt(seconds) * 1_000_000n + BigInt(fraction.padEnd(6, "0"));
}

function sized(type: KeyType, bytes: Buffer, length: number): Buffer {
  if (bytes.length !== length) throw badKey(type, `${length} bytes in binary form`);
  return bytes;
}

const badKey = (type: KeyType, wanted: string): Fault =>
  new Fault("route.bad_key", {
    message: `invalid value for the shard key of type ${type}`,
    detail: "The value decides which shard the statement goes to, and could not be read with certainty.",
    hint: `Give ${wanted}, or say where the statement goes with a hint: /* pgxa: shard=NAME */.`,
  });
