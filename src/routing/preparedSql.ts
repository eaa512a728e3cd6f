// Pure.
/**
 * SQL's PREPARE and EXECUTE: their plans, and the text that an EXECUTE runs.
 *
 * That text is the prepared query with each parameter replaced by its argument, cast to the parameter's type: so it is
 * routed like any statement with constants. Postgres computes an argument once, in front of the query; what stands in
 * the query instead may be computed for each row, so arguments that would not always give the same are refused.
 */
import { Fault } from "../base/fault.ts";
import { pastToken } from "./comments.ts";
import { functionKind } from "./functions.ts";
import { parse } from "./parse.ts";
import type { Plan } from "./plan.ts";
import { type Fields, integer, type Node, node, nodes, strings, struct, text, walk } from "./syntax.ts";

export type PreparePlan = Extract<Plan, { kind: "prepare" }>;
export type ExecutePlan = Extract<Plan, { kind: "execute" }>;

/** The places of a query's parameters: `texts` has one more than `uses`, and they alternate. */
export interface Template {
  readonly texts: readonly string[];
  readonly uses: readonly Use[];
}

interface Use {
  /** 0-based. */
  readonly index: number;
  /** The parameter is a column of the result by itself, which then has no name. */
  readonly isColumn: boolean;
}

/** PREPARE; `sql` is its text without comments. */
export const planPrepare = (fields: Fields, sql: string): PreparePlan => ({
  kind: "prepare",
  name: text(fields, "name"),
  sql,
  query: sql.slice(queryStart(sql)).trimStart(),
});

/** EXECUTE; `sql` is its text without comments. Throws a Fault for an argument that cannot stand in the query. */
export function planExecute(fields: Fields, sql: string): ExecutePlan {
  const given = nodes(fields, "params");
  for (const argument of given) checkArgument(argument);
  const args = given.length === 0 ? [] : argumentTexts(sql);
  if (args.length !== given.length) throw unsupported("Its arguments cannot be told apart");
  return { kind: "execute", name: text(fields, "name"), args };
}

/** Finds the parameters of `query`, which is one statement. Throws a Fault if it cannot be parsed. */
export function templateOf(query: string): Template {
  const [statement] = parse(query);
  const found = new Map<number, Use>();
  const columns = statement === undefined ? new Set<number>() : resultColumns(statement.node);
  walk(statement?.node.fields, ({ type, fields }) => {
    if (type !== "ParamRef") return true;
    const at = integer(fields, "location");
    found.set(at, { index: integer(fields, "number") - 1, isColumn: columns.has(at) });
    return false;
  });
  const bytes = Buffer.from(query); // locations count bytes
  const texts: string[] = [];
  const places = [...found.keys()].sort((a, b) => a - b);
  let from = 0;
  for (const at of places) {
    texts.push(bytes.toString("utf8", from, at));
    from = at + /^\$\d*/.exec(bytes.toString("latin1", at, at + 12))![0].length;
  }
  texts.push(bytes.toString("utf8", from));
  return { texts, uses: places.map((at) => found.get(at)!) };
}

/** The query with `args` for its parameters, which have the types `types`; there are as many of them. */
export function fill({ texts, uses }: Template, args: readonly string[], types: readonly string[]): string {
  let filled = texts[0]!;
  uses.forEach(({ index, isColumn }, i) => {
    const value = `CAST((${args[index]}) AS ${types[index]})`;
    // A cast would give the column its type's name.
    filled += (isColumn ? `(SELECT ${value} AS "?column?")` : `(${value})`) + texts[i + 1]!;
  });
  return filled;
}

// --- texts ---

/** The characters outside strings and quoted names, with how many brackets are open around them. */
function* bareCharacters(sql: string): Generator<{ readonly at: number; readonly depth: number }> {
  for (let at = 0, depth = 0; at < sql.length; ) {
    const c = sql[at]!;
    const next = pastToken(sql, at);
    if (c === ")" || c === "]") depth -= 1;
    if (next === at + 1) yield { at, depth };
    if (c === "(" || c === "[") depth += 1;
    at = next;
  }
}

const AS = /(?<![\w$\u0080-\uffff])as(?![\w$\u0080-\uffff])/iy;

/** Where the query of a PREPARE begins. */
function queryStart(sql: string): number {
  for (const { at, depth } of bareCharacters(sql)) {
    AS.lastIndex = at;
    if (depth === 0 && AS.test(sql)) return at + 2;
  }
  throw unsupported("Its query cannot be found");
}

/** What is between the parentheses of an EXECUTE, at its commas. */
function argumentTexts(sql: string): readonly string[] {
  const texts: string[] = [];
  let from = -1;
  for (const { at, depth } of bareCharacters(sql)) {
    const c = sql[at];
    if (c === "(" && depth === 0) from = at + 1;
    else if ((c === "," && depth === 1) || (c === ")" && depth === 0)) {
      texts.push(sql.slice(from, at).trim());
      from = at + 1;
    }
  }
  return texts;
}

// --- what stands where ---

/** Where the parameters stand that are columns of a result by themselves. */
function resultColumns(statement: Node): ReadonlySet<number> {
  const found = new Set<number>();
  const unnamed = new Set<unknown>();
  const see = ({ type, fields }: Node): true => {
    // What INSERT takes from a query has the names of its own columns.
    if (type === "InsertStmt") unnamed.add(node(fields, "selectStmt")?.fields);
    if (type === "SelectStmt" && !unnamed.has(fields)) addColumns(found, firstOf(fields), "targetList");
    addColumns(found, fields, "returningList");
    addColumns(found, struct(fields, "returningClause") ?? {}, "exprs");
    return true;
  };
  see(statement);
  walk(statement.fields, see);
  return found;
}

/** The query of a UNION and its kin that names the columns. */
function firstOf(select: Fields): Fields {
  const left = struct(select, "larg");
  return left === null ? select : firstOf(left);
}

function addColumns(found: Set<number>, fields: Fields, list: string): void {
  for (const target of nodes(fields, list)) {
    const value = node(target.fields, "val");
    if (text(target.fields, "name") === "" && value?.type === "ParamRef")
      found.add(integer(value.fields, "location"));
  }
}

// --- arguments ---

/** Give the same wherever in a query they stand; function calls are looked at. */
const SETTLED: ReadonlySet<string> = new Set([
  "A_Const",
  "TypeCast",
  "A_Expr",
  "BoolExpr",
  "A_ArrayExpr",
  "RowExpr",
  "List",
  "CaseExpr",
  "CaseWhen",
  "CoalesceExpr",
  "MinMaxExpr",
  "NullTest",
  "BooleanTest",
  "A_Indirection",
  "A_Indices",
  "CollateClause",
  "SQLValueFunction",
  "String",
  "TypeName",
  "Integer",
]);
/** Functions of the transaction or the session. */
const SETTLED_FUNCTION =
  /^(now|transaction_timestamp|statement_timestamp|current_setting|to_date|to_timestamp|date_trunc)$/;

function checkArgument(argument: Node): void {
  const see = ({ type, fields }: Node): boolean => {
    if (type === "FuncCall") checkCall(fields);
    else if (type === "ParamRef") throw unsupported("An argument is a parameter");
    else if (!SETTLED.has(type))
      throw unsupported("An argument may have another value for each row, or no value of its own");
    return true;
  };
  see(argument);
  walk(argument.fields, see);
}

function checkCall(call: Fields): void {
  const name = strings(call, "funcname");
  const isOwn = name.length === 1 || name[0] === "pg_catalog";
  if (functionKind(name) === "immutable" || (isOwn && SETTLED_FUNCTION.test(name.at(-1) ?? ""))) return;
  throw unsupported(`Function ${name.join(".")}() in an argument may give another value each time`);
}

const unsupported = (detail: string): Fault =>
  new Fault("session.unsupported", {
    message: "this EXECUTE cannot be done over several shards",
    detail: `${detail}.`,
    hint: "Give constants as arguments, or use your driver's prepared statements.",
  });
