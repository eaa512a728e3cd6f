/**
 * The console's values in binary format, for drivers that ask for nothing else.
 *
 * Formats: `*_send` in PostgreSQL's utils/adt; numeric's digits are of base 10000.
 */
import { TYPE } from "./consoleTable.ts";

/** 2000-01-01, where PostgreSQL's time begins. */
const EPOCH_MS = 946_684_800_000;
const DIGITS = 4;

/** `text` is a value of that type as PostgreSQL writes it; of numeric whole numbers only. */
export function binaryCell(typeOid: number, text: string): Buffer {
  switch (typeOid) {
    case TYPE.bool:
      return Buffer.from([text === "t" ? 1 : 0]);
    case TYPE.int4: {
      const bytes = Buffer.alloc(4);
      bytes.writeInt32BE(Number(text));
      return bytes;
    }
    case TYPE.int8:
      return int8(BigInt(text));
    case TYPE.timestamptz:
      return int8(BigInt(Date.parse(text.replace(" ", "T").replace("+00", "Z")) - EPOCH_MS) * 1_000n);
    case TYPE.numeric:
      return numeric(text);
    default:
      return Buffer.from(text);
  }
}

function int8(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(value);
  return bytes;
}

function numeric(text: string): Buffer {
  const isNegative = text.startsWith("-");
  const plain = text.replace("-", "").replace(/^0+/, "");
  const padded = plain.padStart(Math.ceil(plain.length / DIGITS) * DIGITS, "0");
  const groups = padded.match(/\d{4}/g) ?? [];
  const bytes = Buffer.alloc(8 + 2 * groups.length);
  bytes.writeInt16BE(groups.length, 0);
  bytes.writeInt16BE(groups.length - 1, 2); // the weight of the first
  bytes.writeUInt16BE(isNegative ? 0x4000 : 0, 4);
  for (const [i, group] of groups.entries()) bytes.writeInt16BE(Number(group), 8 + 2 * i);
  return bytes;
}
