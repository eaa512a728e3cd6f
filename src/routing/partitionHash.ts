// Pure.
/**
 * PostgreSQL's hash partitioning, so that `satisfies_hash_partition()` on a shard agrees with where pgxa put a row.
 *
 * Bob Jenkins' lookup3 as in hashfn.c, its extended form with a seed of 64 bits; HASH_PARTITION_SEED and the way
 * the hashes of key columns are combined are those of partbounds.c. 64-bit values are two unsigned halves, so that
 * all arithmetic stays in 32-bit integers.
 */

export interface Hash64 {
  readonly high: number;
  readonly low: number;
}

const SEED_HIGH = 0x7a5b_2236;
const SEED_LOW = 0x7996_dcfd;
const INITIAL = 0x9e37_79b9 + 3_923_095;
const WORD_BYTES = 4;
/** The state with which the hash of four bytes begins. */
const FOUR_BYTES_A = 0xe933_553e;
const FOUR_BYTES_B = 0xc5da_07a8;
const FOUR_BYTES_C = 0xfdfd_95ed;

/** The shard, of `shards`, of a row whose key has that hash. */
export const shardOfHash = ({ high, low }: Hash64, shards: number): number =>
  shardOfHalves(high, low, shards);

function shardOfHalves(high: number, low: number, shards: number): number {
  // hash_combine64(0, hash): plus 0x49a0f4dd15e5a8e3.
  const lowSum = low + 0x15e5_a8e3;
  const combinedLow = lowSum >>> 0;
  const combinedHigh = (high + 0x49a0_f4dd + (lowSum > 0xffff_ffff ? 1 : 0)) >>> 0;
  return ((combinedHigh % shards) * (0x1_0000_0000 % shards) + (combinedLow % shards)) % shards;
}

/** The shard, of `shards`, of an integer key of 32 bits, whatever its type; makes no garbage. */
export function shardOfInt32(value: number, shards: number): number {
  let a = (FOUR_BYTES_A + value) | 0;
  let b = FOUR_BYTES_B;
  let c = FOUR_BYTES_C;
  c = ((c ^ b) - rotate(b, 14)) | 0;
  a = ((a ^ c) - rotate(c, 11)) | 0;
  b = ((b ^ a) - rotate(a, 25)) | 0;
  c = ((c ^ b) - rotate(b, 16)) | 0;
  a = ((a ^ c) - rotate(c, 4)) | 0;
  b = ((b ^ a) - rotate(a, 14)) | 0;
  c = ((c ^ b) - rotate(b, 24)) | 0;
  return shardOfHalves(b >>> 0, c >>> 0, shards);
}

/** hash_bytes_uint32_extended */
export function hashUint32(value: number): Hash64 {
  const state = new Jenkins(WORD_BYTES);
  state.a = (state.a + value) | 0;
  return state.final();
}

/** hashint8extended, which agrees with that of int4 and int2 on their values. */
export function hashInt64(value: bigint): Hash64 {
  const low = Number(BigInt.asUintN(32, value)) | 0;
  const high = Number(BigInt.asUintN(32, value >> 32n)) | 0;
  return hashUint32(low ^ (value >= 0n ? high : ~high));
}

/** hash_bytes_extended */
export function hashBytes(bytes: Uint8Array): Hash64 {
  const state = new Jenkins(bytes.length);
  let at = 0;
  for (; bytes.length - at >= 12; at += 12) {
    state.a = (state.a + wordAt(bytes, at)) | 0;
    state.b = (state.b + wordAt(bytes, at + 4)) | 0;
    state.c = (state.c + wordAt(bytes, at + 8)) | 0;
    state.mix();
  }
  // The rest; the lowest byte of c is left to the length.
  state.a = (state.a + wordAt(bytes, at)) | 0;
  state.b = (state.b + wordAt(bytes, at + 4)) | 0;
  state.c = (state.c + (wordAt(bytes, at + 8) << 8)) | 0;
  return state.final();
}

/**
 * hash_numeric_extended: `digits` in base 10000, the first with weight `weight`, none of them zero at either end. Zero
 * has no digits; NaN and the infinities have `digits` null.
 */
export function hashNumeric(digits: readonly number[] | null, weight: number): Hash64 {
  if (digits === null) return { high: SEED_HIGH, low: SEED_LOW };
  if (digits.length === 0) return { high: SEED_HIGH, low: SEED_LOW - 1 };
  const bytes = Buffer.allocUnsafe(2 * digits.length);
  for (const [i, digit] of digits.entries()) bytes.writeInt16LE(digit, 2 * i);
  const { high, low } = hashBytes(bytes);
  return { high: (high ^ (weight < 0 ? -1 : 0)) >>> 0, low: (low ^ weight) >>> 0 };
}

/** Little-endian; bytes beyond the end count as zero. */
function wordAt(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] ?? 0) |
    ((bytes[at + 1] ?? 0) << 8) |
    ((bytes[at + 2] ?? 0) << 16) |
    ((bytes[at + 3] ?? 0) << 24)
  );
}

const rotate = (value: number, bits: number): number => (value << bits) | (value >>> (32 - bits));

/** The three words of lookup3, seeded. */
class Jenkins {
  a: number;
  b: number;
  c: number;

  constructor(length: number) {
    this.a = (INITIAL + length + SEED_HIGH) | 0;
    this.b = (INITIAL + length + SEED_LOW) | 0;
    this.c = (INITIAL + length) | 0;
    this.mix();
  }

  mix(): void {
    let { a, b, c } = this;
    a = ((a - c) | 0) ^ rotate(c, 4);
    c = (c + b) | 0;
    b = ((b - a) | 0) ^ rotate(a, 6);
    a = (a + c) | 0;
    c = ((c - b) | 0) ^ rotate(b, 8);
    b = (b + a) | 0;
    a = ((a - c) | 0) ^ rotate(c, 16);
    c = (c + b) | 0;
    b = ((b - a) | 0) ^ rotate(a, 19);
    a = (a + c) | 0;
    c = ((c - b) | 0) ^ rotate(b, 4);
    b = (b + a) | 0;
    this.a = a;
    this.b = b;
    this.c = c;
  }

  final(): Hash64 {
    let { a, b, c } = this;
    c = ((c ^ b) - rotate(b, 14)) | 0;
    a = ((a ^ c) - rotate(c, 11)) | 0;
    b = ((b ^ a) - rotate(a, 25)) | 0;
    c = ((c ^ b) - rotate(b, 16)) | 0;
    a = ((a ^ c) - rotate(c, 4)) | 0;
    b = ((b ^ a) - rotate(a, 14)) | 0;
    c = ((c ^ b) - rotate(b, 24)) | 0;
    return { high: b >>> 0, low: c >>> 0 };
  }
}
