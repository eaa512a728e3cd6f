// Pure.
/**
 * Plans by normalised text: one for all statements that differ in nothing but their literals, or one for each shard
 * where literals are the shard key.
 *
 * Which literals a plan depends on was noted while it was made (literalUse.ts). It is kept here only if that is told
 * again from other literals without a parse: as shard keys all of which belong to one shard, or by a question about
 * a string. Any plan given was made from scratch for a text like the one asked for, so nothing is put together here.
 *
 * A hit makes no garbage but for keys that are strings: the text is compared with the kept one piece by piece.
 */
import { Fault } from "../base/fault.ts";
import type { KeyType } from "../config/config.ts";
import type { LiteralUse, LiteralUses, StringTest } from "./literalUse.ts";
import { shardOfInt32 } from "./partitionHash.ts";
import type { Plan } from "./plan.ts";
import { PlanCache } from "./planCache.ts";
import { PART, type StatementScan } from "./statementScan.ts";
import type { Tables } from "./tables.ts";

interface KeyLiteral {
  readonly index: number;
  readonly keyType: KeyType;
  readonly isNegated: boolean;
}

interface TestedLiteral {
  readonly index: number;
  readonly test: StringTest;
}

interface NormalisedPlan {
  /** What is between the literals: one more than there are of them. */
  readonly pieces: readonly string[];
  readonly kinds: Uint8Array;
  readonly keys: readonly KeyLiteral[];
  /** The answer is no for each. */
  readonly tests: readonly TestedLiteral[];
  /** By the shard of the keys; by 0 if there are none. */
  readonly plans: (Plan | undefined)[];
  readonly characters: number;
}

/** What a kept plan counts besides its text, and for each literal, in characters. */
const OVERHEAD_CHARACTERS = 256;
const LITERAL_CHARACTERS = 16;
const NOWHERE = -1;

export class NormalisedPlans {
  hits = 0;
  readonly #tables: Tables;
  readonly #kept: PlanCache<number, NormalisedPlan>;

  constructor(tables: Tables, entriesMax: number, charactersMax: number) {
    this.#tables = tables;
    this.#kept = new PlanCache(entriesMax, charactersMax, (_hash, { characters }) => characters);
  }

  get size(): number {
    return this.#kept.size;
  }

  /** The plan of `text`, which `scan` has scanned; null if none is known. */
  find(text: string, scan: StatementScan): Plan | null {
    const kept = this.#kept.get(scan.hash);
    if (kept === null || !isLike(kept, text, scan)) return null;
    const shard = this.#shardOf(kept, text, scan);
    const plan = shard === NOWHERE ? undefined : kept.plans[shard];
    if (plan === undefined) return null;
    this.hits += 1;
    return plan;
  }

  /** Keeps `plan`, which was made for `text`; false if it depends on literals in another way than can be told again. */
  keep(text: string, scan: StatementScan, { uses, isComplete }: LiteralUses, plan: Plan): boolean {
    if (!isComplete || !uses.every((use, i) => isTellable(use, scan.kinds[i]!))) return false;
    const made = normalisedPlan(text, scan, uses);
    const shard = this.#shardOf(made, text, scan);
    if (shard === NOWHERE) return false;
    const known = this.#kept.get(scan.hash);
    const isKnown = known !== null && isLike(known, text, scan);
    if (isKnown && !isSameUse(known, made)) return false;
    const kept = isKnown ? known : made;
    kept.plans[shard] = plan;
    if (!isKnown) this.#kept.set(scan.hash, kept);
    return true;
  }

  /** The one shard of the literals that are keys, 0 if there are none; -1 if they differ or it cannot be told. */
  #shardOf({ keys, tests }: NormalisedPlan, text: string, scan: StatementScan): number {
    for (let i = 0; i < tests.length; i += 1) {
      const { index, test } = tests[i]!;
      if (test(literalValue(text, scan, index, false))) return NOWHERE;
    }
    let shard = NOWHERE;
    for (let i = 0; i < keys.length; i += 1) {
      const next = this.#keyShard(keys[i]!, text, scan);
      if (next === NOWHERE || (shard !== NOWHERE && next !== shard)) return NOWHERE;
      shard = next;
    }
    return keys.length === 0 ? 0 : shard;
  }

  #keyShard({ index, keyType, isNegated }: KeyLiteral, text: string, scan: StatementScan): number {
    if (scan.kinds[index] === PART.integer && (keyType === "int8" || keyType === "int4")) {
      const value = scan.values[index]!;
      return shardOfInt32(isNegated ? -value : value, this.#tables.shardCount);
    }
    try {
      return this.#tables.shardOfText(keyType, literalValue(text, scan, index, isNegated));
    } catch (error) {
      if (error instanceof Fault) return NOWHERE; // which is what its plan says
      throw error;
    }
  }
}

/** The value of a literal as the parser has it. */
function literalValue(
  text: string,
  { starts, ends, kinds, values }: StatementScan,
  i: number,
  isNegated: boolean,
) {
  if (kinds[i] === PART.integer) return String(isNegated ? -values[i]! : values[i]!);
  if (kinds[i] !== PART.string) return (isNegated ? "-" : "") + text.slice(starts[i], ends[i]);
  const value = text.slice(starts[i]! + 1, ends[i]! - 1);
  return value.includes("'") ? value.replaceAll("''", "'") : value;
}

function isTellable({ isConstant, isRead, keyTypes, tests }: LiteralUse, kind: number): boolean {
  if (!isConstant || isRead) return false;
  if (kind === PART.escapeString && (keyTypes.size > 0 || tests.size > 0)) return false;
  return ![...tests.values()].includes(true);
}

function normalisedPlan(text: string, scan: StatementScan, uses: readonly LiteralUse[]): NormalisedPlan {
  const pieces = Array.from({ length: scan.count + 1 }, (_, i) =>
    text.slice(i === 0 ? 0 : scan.ends[i - 1]!, i === scan.count ? text.length : scan.starts[i]!),
  );
  const characters = pieces.reduce((sum, piece) => sum + piece.length, OVERHEAD_CHARACTERS);
  return {
    pieces: pieces.map(ownCopy),
    kinds: scan.kinds.slice(0, scan.count),
    keys: uses.flatMap(({ keyTypes, isNegated }, index) =>
      [...keyTypes].map((keyType) => ({ index, keyType, isNegated })),
    ),
    tests: uses.flatMap(({ tests }, index) => [...tests.keys()].map((test) => ({ index, test }))),
    plans: [],
    characters: characters + LITERAL_CHARACTERS * scan.count,
  };
}

/** A slice would keep the whole text, with literals of any length. */
const ownCopy = (piece: string): string => Buffer.from(piece).toString();

function isLike(kept: NormalisedPlan, text: string, scan: StatementScan): boolean {
  const { pieces, kinds } = kept;
  const { count, starts, ends } = scan;
  if (kinds.length !== count) return false;
  let from = 0;
  for (let i = 0; i < count; i += 1) {
    const piece = pieces[i]!;
    if (kinds[i] !== scan.kinds[i] || from + piece.length !== starts[i]) return false;
    if (!text.startsWith(piece, from)) return false;
    from = ends[i]!;
  }
  const last = pieces[count]!;
  return from + last.length === text.length && text.startsWith(last, from);
}

const isSameUse = (a: NormalisedPlan, b: NormalisedPlan): boolean =>
  JSON.stringify(a.keys) === JSON.stringify(b.keys) &&
  a.tests.length === b.tests.length &&
  a.tests.every(({ index, test }, i) => index === b.tests[i]!.index && test === b.tests[i]!.test);
