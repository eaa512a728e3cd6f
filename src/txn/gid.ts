// Pure.
/**
 * The names of distributed transactions and their branches.
 *
 *     gtrid = <fleet>:<coordinator>:<epoch>:<seq>
 *     gid   = pgxa:<fleet>:<coordinator>:<epoch>:<seq>:<anchor>:<shard>
 *
 * A gid says by itself whose it is and where its decision is to be looked up, so recovery needs nothing but the log
 * and the shard. The epoch is new at every start of a coordinator; with it no name is ever used twice. The anchor is
 * empty with a log that is not on a shard.
 *
 * Postgres takes at most 199 bytes (https://www.postgresql.org/docs/current/sql-prepare-transaction.html).
 */
import { type Gid, type Gtrid, gidOf, gtridOf, type ShardId, shardId } from "../base/brands.ts";
import { invariant } from "../base/invariant.ts";

const PREFIX = "pgxa";
export const GID_BYTES_MAX = 199;
const RADIX = 36;

export interface GidParts {
  readonly fleet: string;
  readonly coordinator: string;
  /** 1 or more; greater than that of every start before. */
  readonly epoch: number;
  readonly seq: number;
  /** The shard that has its decision; null if the decision is in a log that is not on a shard. */
  readonly anchor: ShardId | null;
  readonly shard: ShardId;
}

export type GtridParts = Omit<GidParts, "anchor" | "shard">;

/** The gids of a fleet begin with this. */
export const gidPrefix = (fleet: string): string => `${PREFIX}:${fleet}:`;

/** And those that one start of a coordinator gives with this. */
export const epochPrefix = ({ fleet, coordinator, epoch }: Omit<GtridParts, "seq">): string =>
  `${gidPrefix(fleet)}${coordinator}:${epoch.toString(36)}:`;

export function gtrid({ fleet, coordinator, epoch, seq }: GtridParts): Gtrid {
  return gtridOf(gtridStart(fleet, coordinator, epoch) + seq.toString(RADIX));
}

function gtridStart(fleet: string, coordinator: string, epoch: number): string {
  invariant(isName(fleet) && isName(coordinator), "names in a gid are letters, digits, _ and -");
  return `${fleet}:${coordinator}:${epoch.toString(RADIX)}:`;
}

/**
 * Gives the gtrids of one coordinator, one after the other, as `gtrid` writes them: what it took to name the one before is
 * not done again.
 */
export class GtridSequence {
  readonly #fleet: string;
  readonly #coordinator: string;
  #seq = 0;
  #epoch = 0;
  /** All of the last one but the last digit of its number. */
  #start = "";

  constructor(fleet: string, coordinator: string) {
    this.#fleet = fleet;
    this.#coordinator = coordinator;
  }

  next(epoch: number): Gtrid {
    this.#seq += 1;
    const digit = this.#seq % RADIX;
    if (epoch !== this.#epoch || digit === 0) {
      this.#epoch = epoch;
      const rest = (this.#seq - digit) / RADIX;
      this.#start =
        gtridStart(this.#fleet, this.#coordinator, epoch) + (rest === 0 ? "" : rest.toString(RADIX));
    }
    return gtridOf(this.#start + DIGITS[digit]!);
  }
}

const DIGITS = Array.from({ length: RADIX }, (_, digit) => digit.toString(RADIX));

/** The branch of `transaction` on `shard`, decided on `anchor` if that is given. */
export function gid(transaction: Gtrid, shard: ShardId, anchor: ShardId | null = null): Gid {
  const isNamed = isName(shard) && (anchor === null || isName(anchor));
  invariant(isNamed, "names in a gid are letters, digits, _ and -");
  const name = `${PREFIX}:${transaction}:${anchor ?? ""}:${shard}`;
  invariant(name.length <= GID_BYTES_MAX, "a gid has at most 199 bytes");
  return gidOf(name);
}

/** What a gid says; null if pgxa cannot have given it: anybody may prepare under any name. */
export function parseGid(text: string): GidParts | null {
  const parts = text.split(":");
  const [prefix, fleet = "", coordinator = "", epoch = "", seq = "", anchor = "", shard = ""] = parts;
  if (parts.length !== 7 || prefix !== PREFIX || !isName(shard)) return null;
  if (anchor !== "" && !isName(anchor)) return null;
  const transaction = parseGtrid([fleet, coordinator, epoch, seq].join(":"));
  if (transaction === null) return null;
  return { ...transaction, anchor: anchor === "" ? null : shardId(anchor), shard: shardId(shard) };
}

/** What a gtrid says; null if pgxa cannot have given it. */
export function parseGtrid(text: string): GtridParts | null {
  const parts = text.split(":");
  const [fleet = "", coordinator = "", epochText = "", seqText = ""] = parts;
  if (parts.length !== 4 || !isName(fleet) || !isName(coordinator)) return null;
  const epoch = parseCount(epochText);
  const seq = parseCount(seqText);
  return epoch === null || seq === null ? null : { fleet, coordinator, epoch, seq };
}

/** One or more letters, digits, _ and -; each gid is asked for its names, so by code and not by an expression. */
function isName(text: string): boolean {
  for (let i = 0; i < text.length; i += 1) if (IN_NAMES[text.charCodeAt(i)] !== 1) return false;
  return text.length > 0;
}

const IN_NAMES = Uint8Array.from({ length: 128 }, (_, code) =>
  /[A-Za-z0-9_-]/.test(String.fromCharCode(code)) ? 1 : 0,
);

/** 1 or more, written as `toString(36)` writes it. */
function parseCount(text: string): number | null {
  const count = Number.parseInt(text, 36);
  return count >= 1 && count.toString(36) === text ? count : null;
}
