// Pure.
/**
 * From a parsed statement to its plan.
 *
 * What cannot be done right is refused, with what it would become if the user said where to (`hinted`): then the user
 * answers for the placement, and pgxa still for session and transaction.
 */
import { Fault } from "../base/fault.ts";
import { effectsOf, settingEffect } from "./effects.ts";
import { type Footprint, FootprintReader } from "./footprint.ts";
import type { ParsedStatement } from "./parse.ts";
import type { Plan, SessionEffect, StatementPlan, Target } from "./plan.ts";
import { type Fields, flag, type Node, node, nodes, struct, text } from "./syntax.ts";
import type { Tables } from "./tables.ts";
import { planTransaction, renderCharacteristics } from "./transactionPlan.ts";

/** Refused inside a transaction block by the server, so never given one by pgxa. */
const OUTSIDE_BLOCK: ReadonlySet<string> = new Set([
  "VacuumStmt",
  "CreatedbStmt",
  "DropdbStmt",
  "AlterSystemStmt",
  "CreateTableSpaceStmt",
  "DropTableSpaceStmt",
  "ReindexStmt",
]);
const HINT_SETTINGS: ReadonlySet<string> = new Set(["pgxa.shard", "pgxa.key"]);

/** The plan of one statement; throws no Fault but gives it in the plan. */
export function planStatement(statement: ParsedStatement, tables: Tables): Plan {
  const { node: parsed, sql } = statement;
  const hinted = hintedPlan(parsed, sql);
  try {
    return plan(parsed, sql, tables, hinted);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const isFinal = error.id === "route.key_update" || error.id === "session.unsupported";
    return { kind: "refused", fault: error, hinted: isFinal ? null : hinted };
  }
}

function plan(parsed: Node, sql: string, tables: Tables, hinted: StatementPlan): Plan {
  const { type, fields } = parsed;
  switch (type) {
    case "TransactionStmt":
      return planTransaction(fields);
    case "VariableSetStmt":
      return planSetting(fields, sql, hinted);
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
    case "PrepareStmt":
    case "ExecuteStmt":
    case "DeallocateStmt":
      throw new Fault("session.unsupported", {
        message: "PREPARE, EXECUTE and DEALLOCATE in SQL are not supported with several shards",
        hint: "Use your driver's prepared statements, which use the extended protocol.",
      });
    default:
      throw refusalOf(parsed);
  }
}

// --- queries ---

function planQuery(parsed: Node, tables: Tables, hinted: StatementPlan): Plan {
  const reader = new FootprintReader(tables);
  reader.read(parsed);
  const { footprint } = reader;
  return { ...hinted, target: targetOf(footprint), access: footprint.isWrite ? "write" : "read" };
}

/** EXPLAIN and DECLARE CURSOR go where their query goes. */
function planWrapped({ fields, type }: Node, tables: Tables, hinted: StatementPlan): Plan {
  const query = node(fields, "query");
  const inner = query === null ? null : planQuery(query, tables, hinted);
  if (inner?.kind !== "statement")
    throw unsupported("Its query is not understood", "Say where it goes: /* pgxa: shard=NAME */.");
  const isAll = inner.target.kind === "all";
  if (isAll && type === "ExplainStmt") return { ...inner, target: { kind: "default" }, access: "write" };
  return type === "ExplainStmt" ? { ...inner, access: "write" } : inner;
}

function targetOf(footprint: Footprint): Target {
  const { keys, shards, hasReference, hasCatalog, hasCentral, isLocking, unknownFunction } = footprint;
  if (footprint.writesReference) return everywhere(footprint);
  if (shards.length > 0 && keys.length === 0) {
    if (new Set(shards).size > 1) throw manyShards("Its tables are on different shards.");
    return { kind: "shard", shard: shards[0]! };
  }
  if (keys.length > 0) {
    const sources = [...keys, ...shards.map((shard) => ({ kind: "literal", shard }) as const)];
    const literals = new Set(sources.flatMap((source) => (source.kind === "literal" ? [source.shard] : [])));
    if (literals.size > 1) throw manyShards("Its shard keys belong to different shards.");
    return { kind: "keys", keys: dedupe(sources) };
  }
  if (unknownFunction !== null && !hasReference && !hasCatalog) {
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

// --- settings ---

function planSetting(fields: Fields, sql: string, hinted: StatementPlan): Plan {
  const name = text(fields, "name").toLowerCase();
  if (HINT_SETTINGS.has(name)) return planHintSetting(name as "pgxa.shard" | "pgxa.key", fields);
  if (text(fields, "kind") === "VAR_SET_MULTI" && name === "transaction") {
    return { kind: "setTransaction", characteristics: renderCharacteristics(nodes(fields, "args")), sql };
  }
  if (name === "standard_conforming_strings") {
    throw new Fault("session.unsupported", {
      message: "standard_conforming_strings cannot be changed with several shards",
      detail: "pgxa reads the literals of statements to route them, as the SQL standard has them.",
    });
  }
  const effect = settingEffect(fields, sql);
  if (effect.kind === "pin") {
    const fault = unsupported(
      "The role of a session is of one shard",
      "Say on which: /* pgxa: shard=NAME */.",
    );
    return { kind: "refused", fault, hinted };
  }
  return { kind: "set", effect, tag: text(fields, "kind").startsWith("VAR_RESET") ? "RESET" : "SET", sql };
}

function planHintSetting(name: "pgxa.shard" | "pgxa.key", fields: Fields): Plan {
  const isReset = text(fields, "kind") !== "VAR_SET_VALUE";
  const local = flag(fields, "is_local");
  return { kind: "hintSetting", name, value: isReset ? null : settingText(nodes(fields, "args")[0]), local };
}

/** The value of SET as text: 'east', east, 42, -7. */
function settingText(argument: Node | undefined): string {
  const fields = argument?.fields ?? {};
  const string = struct(fields, "sval");
  if (string !== null) return text(string, "sval");
  const fraction = struct(fields, "fval");
  if (fraction !== null) return text(fraction, "fval");
  const whole = struct(fields, "ival");
  return whole === null ? "" : String(whole.ival ?? 0);
}

function planShow(fields: Fields, hinted: StatementPlan): Plan {
  const name = text(fields, "name").toLowerCase();
  if (HINT_SETTINGS.has(name)) return { kind: "showHintSetting", name: name as "pgxa.shard" | "pgxa.key" };
  return { ...hinted, target: { kind: "any" }, access: "read" };
}

function planDiscard(fields: Fields, sql: string): Plan {
  if (text(fields, "target") !== "DISCARD_ALL")
    throw unsupported("It concerns one server connection", "Use DISCARD ALL.");
  const effect: SessionEffect = { kind: "resetAll" };
  return { kind: "set", effect, tag: "DISCARD ALL", sql };
}

// --- what is refused ---

/** What the statement is once the user has said where it goes. */
export function hintedPlan(parsed: Node, sql: string): StatementPlan {
  return {
    kind: "statement",
    target: { kind: "any" },
    access: "write",
    effects: effectsOf(parsed, sql),
    outsideBlock: OUTSIDE_BLOCK.has(parsed.type),
  };
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
  const isTemporary = text(struct(fields, "relation") ?? {}, "relpersistence") === "t";
  return isTemporary
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
