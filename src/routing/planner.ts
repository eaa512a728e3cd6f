// Pure.
/**
 * From a parsed statement to its plan.
 *
 * What cannot be done right is refused, with what it would become if the user said where to (`hinted`): then the user
 * answers for the placement, and pgxa still for session and transaction.
 */
import type { FaultId } from "../base/catalogue.ts";
import { Fault } from "../base/fault.ts";
import { effectsOf, makesTemporary } from "./effects.ts";
import { type Footprint, FootprintReader } from "./footprint.ts";
import type { ParsedStatement } from "./parse.ts";
import type { KeySource, Plan, StatementPlan, Target } from "./plan.ts";
import { planExecute, planPrepare } from "./preparedSql.ts";
import { planDiscard, planSetting, planShow } from "./settingPlan.ts";
import { flag, integer, type Node, node, nodes, struct, text, walk } from "./syntax.ts";
import type { Tables } from "./tables.ts";
import { planTransaction } from "./transactionPlan.ts";

/** Refused inside a transaction block by the server, whatever they are applied to. */
const OUTSIDE_BLOCK: ReadonlySet<string> = new Set([
  "CreatedbStmt",
  "DropdbStmt",
  "AlterSystemStmt",
  "CreateTableSpaceStmt",
  "DropTableSpaceStmt",
  "CreateSubscriptionStmt",
  "DropSubscriptionStmt",
]);

/** Refusals that a hint does not lift. */
const FINAL: ReadonlySet<FaultId> = new Set([
  "route.key_update",
  "route.unknown_setting",
  "session.unsupported",
] as const);

/** The plan of one statement; throws no Fault but gives it in the plan. */
export function planStatement(statement: ParsedStatement, tables: Tables): Plan {
  const { node: parsed, sql } = statement;
  const hinted = hintedPlan(parsed, sql);
  try {
    return plan(parsed, sql, tables, hinted);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return { kind: "refused", fault: error, hinted: FINAL.has(error.id) ? null : hinted };
  }
}

function plan(parsed: Node, sql: string, tables: Tables, hinted: StatementPlan): Plan {
  const { type, fields } = parsed;
  switch (type) {
    case "TransactionStmt":
      return planTransaction(fields);
    case "VariableSetStmt":
      return planSetting(fields, sql);
    case "VariableShowStmt":
      return planShow(fields, hinted);
    case "ConstraintsSetStmt":
      return { kind: "set", effect: { kind: "setLocal", sql }, tag: "SET", sql };
    case "DiscardStmt":
      return planDiscard(fields, sql);
    case "SelectStmt":
    case "InsertStmt":
    case "UpdateStmt":
    case "DeleteStmt":
      return planQuery(parsed, tables, hinted);
    case "ExplainStmt":
    case "DeclareCursorStmt":
      return planWrapped(parsed, tables, hinted);
    case "ListenStmt":
    case "UnlistenStmt":
    case "NotifyStmt":
      return { ...hinted, target: { kind: "default" } };
    case "DeallocateStmt":
      return { kind: "deallocate", name: flag(fields, "isall") ? null : text(fields, "name") };
    case "PrepareStmt":
      return planPrepare(fields, sql);
    case "ExecuteStmt":
      return planExecute(fields, sql);
    default:
      throw refusalOf(parsed);
  }
}

// --- queries ---

function planQuery(parsed: Node, tables: Tables, hinted: StatementPlan): Plan {
  const reader = new FootprintReader(tables);
  if (!reader.read(parsed)) throw refusalOf(parsed);
  const { footprint } = reader;
  const target = targetOf({ ...footprint, keys: markShared(footprint.keys, parsed) });
  return { ...hinted, target, access: footprint.isWrite ? "write" : "read" };
}

/** Marks parameters that give a key and stand elsewhere too. Keys that follow from one place are one object. */
function markShared(keys: readonly KeySource[], parsed: Node): readonly KeySource[] {
  if (!keys.some((key) => key.kind === "parameter")) return keys;
  const uses = new Map<number, number>();
  walk(parsed.fields, ({ type, fields }) => {
    const index = integer(fields, "number") - 1;
    if (type === "ParamRef") uses.set(index, (uses.get(index) ?? 0) + 1);
    return true;
  });
  for (const key of new Set(keys)) {
    if (key.kind === "parameter") uses.set(key.index, uses.get(key.index)! - 1);
  }
  return keys.map((key) =>
    key.kind === "parameter" && uses.get(key.index)! > 0 ? { ...key, isShared: true } : key,
  );
}

/** EXPLAIN and DECLARE CURSOR go where their query goes. */
function planWrapped({ fields, type }: Node, tables: Tables, hinted: StatementPlan): Plan {
  const query = node(fields, "query");
  if (query?.type === "ExecuteStmt") {
    throw unsupported("EXPLAIN of EXECUTE is not supported", "Explain the query itself, with its values.");
  }
  const inner = query === null ? null : planQuery(query, tables, hinted);
  if (inner?.kind !== "statement")
    throw unsupported("Its query is not understood", "Say where it goes: /* pgxa: shard=NAME */.");
  if (type !== "ExplainStmt") return inner;
  if (inner.target.kind !== "all") return { ...inner, access: "write" };
  if (nodes(fields, "options").some((option) => text(option.fields, "defname") === "analyze")) {
    throw unsupported(
      "EXPLAIN ANALYZE would write a reference table on one shard only",
      "Use EXPLAIN without ANALYZE, or run the statement itself.",
    );
  }
  return { ...inner, target: { kind: "default" }, access: "write" };
}

function targetOf(footprint: Footprint): Target {
  const { keys, shards, hasCatalog, hasCentral, isLocking, unknownFunction } = footprint;
  if (footprint.writesReference) return everywhere(footprint);
  if (shards.length > 0 && keys.length === 0) {
    if (new Set(shards).size > 1) throw manyShards("Its tables are on different shards.");
    return { kind: "shard", shard: shards[0]! };
  }
  if (keys.length > 0) {
    if (hasCentral) {
      throw unsupported(
        "Sequences, advisory locks and notifications are the first shard's, and its rows are not",
        "Ask for the value, or take the lock, in a statement of its own.",
      );
    }
    const sources = [...keys, ...shards.map((shard) => ({ kind: "literal", shard }) as const)];
    const literals = new Set(sources.flatMap((source) => (source.kind === "literal" ? [source.shard] : [])));
    if (literals.size > 1) throw manyShards("Its shard keys belong to different shards.");
    return { kind: "keys", keys: dedupe(sources) };
  }
  if (unknownFunction !== null && !hasCatalog) {
    throw unsupported(
      `Function ${unknownFunction}() may read or write anything, and nothing says on which shard`,
      "Say where it runs: /* pgxa: shard=NAME */.",
    );
  }
  // A copy of a reference table is locked on the shard where every write of it begins.
  return { kind: hasCatalog || hasCentral || isLocking ? "default" : "any" };
}

function everywhere({ keys, shards, hasCatalog, hasCentral, unstable, unknownFunction }: Footprint): Target {
  if (keys.length > 0 || shards.length > 0 || hasCatalog) {
    throw unsupported(
      "It writes a reference table, which every shard has, with data that one shard has",
      "Read the data first and send it as values.",
    );
  }
  const differs = hasCentral ? "a sequence" : (unstable ?? unknownFunction);
  if (differs !== null) {
    throw unsupported(
      `It writes a reference table on every shard, and ${differs} may give each another value`,
      "Compute the value first and send it as a literal or parameter.",
    );
  }
  return { kind: "all" };
}

/** Each source once: rows of one key are common. */
function dedupe<Source extends { readonly kind: string }>(sources: readonly Source[]): readonly Source[] {
  const seen = new Map(sources.map((source) => [JSON.stringify(source), source]));
  return [...seen.values()];
}

// --- what is refused ---

/** What the statement is once the user has said where it goes. */
export function hintedPlan(parsed: Node, sql: string): StatementPlan {
  return {
    kind: "statement",
    target: { kind: "any" },
    access: "write",
    effects: effectsOf(parsed, sql),
    outsideBlock: isOutsideBlock(parsed),
  };
}

/** https://www.postgresql.org/docs/current/sql-vacuum.html and its kin: "cannot be executed inside a transaction block" */
function isOutsideBlock({ type, fields }: Node): boolean {
  switch (type) {
    case "VacuumStmt":
      return flag(fields, "is_vacuumcmd");
    case "IndexStmt":
    case "DropStmt":
      return flag(fields, "concurrent");
    case "ClusterStmt":
      return struct(fields, "relation") === null;
    case "ReindexStmt": {
      const isConcurrent = nodes(fields, "params").some((p) => text(p.fields, "defname") === "concurrently");
      return isConcurrent || !/_(INDEX|TABLE)$/.test(text(fields, "kind"));
    }
    default:
      return OUTSIDE_BLOCK.has(type);
  }
}

function refusalOf({ type, fields }: Node): Fault {
  if (type === "CopyStmt") {
    return unsupported(
      "COPY of a table over several shards is not split",
      "Copy shard by shard: COPY … /* pgxa: shard=NAME */, or use INSERT.",
    );
  }
  if (type === "FetchStmt" || type === "ClosePortalStmt") {
    return unsupported(
      "A cursor is open on the shard where it was declared",
      "Say where: FETCH … /* pgxa: shard=NAME */.",
    );
  }
  if (type === "TruncateStmt" || type === "LockStmt" || type === "MergeStmt") {
    return unsupported("It concerns rows of every shard", "Run it shard by shard: /* pgxa: shard=NAME */.");
  }
  if (type === "CallStmt" || type === "DoStmt") {
    return unsupported(
      "What a procedure does cannot be seen in the statement",
      "Say where it runs: /* pgxa: shard=NAME */.",
    );
  }
  return makesTemporary(fields)
    ? unsupported("A temporary table is on one shard", "Say on which: /* pgxa: shard=NAME */.")
    : unsupported(
        "Statements of this kind are not sent to all shards",
        "Run it shard by shard: /* pgxa: shard=NAME */.",
      );
}

const unsupported = (what: string, hint: string): Fault =>
  new Fault("route.unsupported", { detail: `${what}.`, hint });

const manyShards = (detail: string): Fault =>
  new Fault("route.many_shards", { detail, hint: "Send one statement for each shard, in one transaction." });
