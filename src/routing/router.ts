// Pure.
/**
 * Statement text to plan, parameters to shard.
 *
 * A plan is made once for a text and kept; everything that depends on the session or on parameters comes later, and
 * costs no parse.
 */

import type { ShardId } from "../base/brands.ts";
import { Fault } from "../base/fault.ts";
import type { TableConfig } from "../config/config.ts";
import { type CommentHint, commentHint } from "./hint.ts";
import { checkForm, checkParameterType, hashOfBinary, hashOfText, smallInteger } from "./keyValue.ts";
import { LiteralUses } from "./literalUse.ts";
import { NormalisedPlans } from "./normalisedPlans.ts";
import { isParserReady, type ParsedStatement, parse } from "./parse.ts";
import { shardOfHash, shardOfInt32 } from "./partitionHash.ts";
import type { KeySource, Plan, ShardIndex, StatementPlan, Target } from "./plan.ts";
import { PlanCache } from "./planCache.ts";
import { hintedPlan, planStatement } from "./planner.ts";
import { aboutPreparing } from "./prepareObstacle.ts";
import { aboutStandbys } from "./standbyLook.ts";
import { StatementScan } from "./statementScan.ts";
import { Tables } from "./tables.ts";

/** The parameters of a Bind. */
export interface ParameterReader {
  readonly parameterCount: number;
  isNull(index: number): boolean;
  format(index: number): 0 | 1;
  parameter(index: number): Buffer;
}

/** How many plans are kept, and how often one was asked for that was, or was not. */
export interface PlanCacheCounts {
  readonly plans: number;
  readonly hits: number;
  /** Of the hits, those of a text that differs from those seen before in its literals. */
  readonly normalisedHits: number;
  readonly misses: number;
}

/** The shard that the target `default` means. */
const DEFAULT_SHARD: ShardIndex = 0;
const CACHE_ENTRIES_MAX = 10_000;
const CACHE_CHARACTERS_MAX = 16 * 1024 * 1024;
/** Statements whose plan may be that of others with other literals. */
const NORMALISED: ReadonlySet<string> = new Set(["SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt"]);

type Parameter = Extract<KeySource, { kind: "parameter" }>;

export class Router {
  readonly #tables: Tables;
  readonly #cache: PlanCache;
  readonly #normalised: NormalisedPlans;
  readonly #scan = new StatementScan();
  #misses = 0;

  /** `loadParser()` must have been awaited before the first plan. */
  constructor(
    shards: readonly ShardId[],
    tables: readonly TableConfig[],
    cacheEntriesMax = CACHE_ENTRIES_MAX,
  ) {
    this.#tables = new Tables(shards, tables);
    this.#cache = new PlanCache(cacheEntriesMax, CACHE_CHARACTERS_MAX);
    this.#normalised = new NormalisedPlans(this.#tables, cacheEntriesMax, CACHE_CHARACTERS_MAX);
  }

  /** How many plans are kept. */
  get cached(): number {
    return this.#cache.size + this.#normalised.size;
  }

  get planCache(): PlanCacheCounts {
    const normalisedHits = this.#normalised.hits;
    const hits = this.#cache.hits + normalisedHits;
    return { plans: this.cached, hits, normalisedHits, misses: this.#misses };
  }

  /** The plan of `text`; a refusal is a plan too. */
  plan(text: string): Plan {
    return this.#cache.get(text) ?? this.#planNormalised(text) ?? this.#planNew(text);
  }

  /** The same, a little sooner for a text with literals and a little later for one without. */
  planWithLiterals(text: string): Plan {
    return this.#planNormalised(text) ?? this.#cache.get(text) ?? this.#planNew(text);
  }

  /** The shard that all `keys` name; a Fault if one cannot be read or they differ. */
  resolveKeys(
    keys: readonly KeySource[],
    bind: ParameterReader,
    parameterTypes: readonly number[],
  ): ShardIndex | Fault {
    const first = keys[0];
    if (keys.length === 1 && first?.kind === "literal") return first.shard;
    try {
      let shard = -1;
      for (const key of keys) {
        const next =
          key.kind === "literal" ? key.shard : this.#shardOf(key, bind, parameterTypes[key.index] ?? 0);
        if (shard >= 0 && next !== shard) return differing();
        shard = next;
      }
      return shard;
    } catch (error) {
      if (error instanceof Fault) return error;
      throw error;
    }
  }

  shardByName(name: string): ShardIndex | Fault {
    return this.#tables.shardByName(name);
  }

  shardByKey(text: string): ShardIndex | Fault {
    return this.#tables.shardByKey(text);
  }

  // --- parameters ---

  #shardOf({ index, keyType, column, isShared }: Parameter, bind: ParameterReader, oid: number): ShardIndex {
    if (index >= bind.parameterCount) {
      throw new Fault("route.no_key", {
        message: `there is no parameter $${index + 1}`,
        detail: `It gives the shard key "${column}".`,
        hint: "Send the statement with its parameters, by the extended protocol.",
      });
    }
    if (bind.isNull(index))
      throw new Fault("route.null_key", { message: `the shard key "${column}" must not be null` });
    checkParameterType(keyType, oid);
    if (isShared && oid === 0) checkForm(keyType, bind.format(index));
    const value = bind.parameter(index);
    const small = smallInteger(keyType, bind.format(index), value);
    if (!Number.isNaN(small)) return shardOfInt32(small, this.#tables.shardCount);
    const hash =
      bind.format(index) === 1 || keyType === "text" || keyType === "varchar"
        ? hashOfBinary(keyType, value)
        : hashOfText(keyType, value.toString("utf8"));
    return shardOfHash(hash, this.#tables.shardCount);
  }

  // --- plans ---

  #planNormalised(text: string): Plan | null {
    const scan = this.#scan;
    return scan.scan(text) && scan.count > 0 ? this.#normalised.find(text, scan) : null;
  }

  #planNew(text: string): Plan {
    this.#misses += 1;
    const scan = this.#scan;
    const uses = scan.scan(text) && scan.count > 0 ? new LiteralUses(text, scan) : null;
    const plan = this.#make(text, uses);
    if (!isParserReady()) return plan;
    const isKept = uses !== null && this.#normalised.keep(text, scan, uses, plan);
    if (!isKept) this.#cache.set(text, plan);
    return plan;
  }

  #make(text: string, uses: LiteralUses | null): Plan {
    try {
      const statements = parse(text);
      const hint = commentHint(text);
      const [first] = statements;
      if (first === undefined) return { kind: "empty" };
      if (hint !== null) return about(text, statements, this.#hinted(statements, hint));
      if (statements.length > 1) return about(text, statements, this.#together(statements));
      const isFollowed = uses !== null && NORMALISED.has(first.node.type);
      if (isFollowed) uses.follow(first.node.fields);
      return about(isFollowed ? uses.normalised : text, statements, planStatement(first, this.#tables));
    } catch (error) {
      return { kind: "refused", fault: asFault(error), hinted: null };
    }
  }

  #hinted(statements: readonly ParsedStatement[], hint: CommentHint): Plan {
    const shard = hint.kind === "shard" ? this.shardByName(hint.name) : this.shardByKey(hint.value);
    if (shard instanceof Fault) throw shard;
    const target: Target = { kind: "shard", shard };
    const plans = statements.map((statement): StatementPlan => {
      const plan = planStatement(statement, this.#tables);
      if (plan.kind === "statement") return plan;
      if (plan.kind === "set") return hintedPlan(statement.node, statement.sql);
      if (plan.kind === "refused" && plan.hinted !== null) return plan.hinted;
      throw plan.kind === "refused"
        ? plan.fault
        : notTogether("Transaction control goes to no single shard.");
    });
    return { ...merged(plans), target };
  }

  /** Several statements in one text run as one transaction on one shard, or not at all. */
  #together(statements: readonly ParsedStatement[]): Plan {
    const plans = statements.map((statement): StatementPlan => {
      const plan = planStatement(statement, this.#tables);
      if (plan.kind === "statement") return plan;
      throw plan.kind === "refused"
        ? plan.fault
        : notTogether("One of them belongs to the session or ends a transaction.");
    });
    return { ...merged(plans), target: mergedTarget(plans.map((plan) => plan.target)) };
  }
}

/** `plan` with what `text`, which is `statements`, says of standbys and of PREPARE. */
function about(text: string, statements: readonly ParsedStatement[], plan: Plan): Plan {
  if (plan.kind === "statement")
    return { ...plan, ...aboutStandbys(text, plan.effects), ...aboutPreparing(statements) };
  if (plan.kind === "begin") return { ...plan, ...aboutStandbys(text, []) };
  if (plan.kind !== "refused" || plan.hinted === null) return plan;
  const { hinted } = plan;
  const said = { ...aboutStandbys(text, hinted.effects), ...aboutPreparing(statements) };
  return { ...plan, hinted: { ...hinted, ...said } };
}

function merged(plans: readonly StatementPlan[]): StatementPlan {
  return {
    kind: "statement",
    target: { kind: "any" },
    access: plans.some((plan) => plan.access === "write") ? "write" : "read",
    effects: plans.flatMap((plan) => plan.effects),
    outsideBlock: plans.some((plan) => plan.outsideBlock),
  };
}

function mergedTarget(targets: readonly Target[]): Target {
  if (targets.some((target) => target.kind === "all")) {
    if (targets.every((target) => target.kind === "all")) return { kind: "all" };
    throw notTogether("One of them goes to every shard.");
  }
  const keys = targets.flatMap((target): readonly KeySource[] => {
    if (target.kind === "keys") return target.keys;
    return target.kind === "shard" ? [{ kind: "literal", shard: target.shard }] : [];
  });
  const isDefault = targets.some((target) => target.kind === "default");
  // What is of the first shard alone, such as an advisory lock, must stay there.
  if (isDefault && keys.length > 0) keys.push({ kind: "literal", shard: DEFAULT_SHARD });
  const literals = new Set(keys.flatMap((key) => (key.kind === "literal" ? [key.shard] : [])));
  if (literals.size > 1) throw notTogether("They belong to different shards.");
  if (keys.length > 0) return { kind: "keys", keys };
  return { kind: isDefault ? "default" : "any" };
}

/** The parser's stack and that of the planner end before a statement can be too deep for the server. */
function asFault(error: unknown): Fault {
  if (error instanceof Fault) return error;
  if (!(error instanceof RangeError)) throw error;
  return new Fault("route.unsupported", {
    message: "the statement is too complex to be routed",
    detail: "It is nested too deeply.",
    hint: "Split it, or send its values as parameters.",
    cause: error,
  });
}

const notTogether = (detail: string): Fault =>
  new Fault("route.unsupported", {
    message: "these statements cannot be sent together",
    detail,
    hint: "Send them one by one.",
  });

const differing = (): Fault =>
  new Fault("route.many_shards", {
    detail: "The parameters for its shard keys belong to different shards.",
    hint: "Send one statement for each shard, in one transaction.",
  });
