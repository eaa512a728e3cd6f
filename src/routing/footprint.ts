// Pure.
/**
 * The footprint of a query: which tables it touches, and what its text says about their shard keys.
 *
 * Every sharded table that a query level reads must have its key pinned there: by an equality with a literal or a
 * parameter, or with the key of another table that is. Only equalities that restrict the rows of that table count: the
 * WHERE clause, the ON of inner joins, and of an outer join its own ON for the side that may be missing. An equality
 * under OR or NOT counts for nothing.
 *
 * Whatever is not understood throws a Fault. A table is never left out.
 */
import { Fault } from "../base/fault.ts";
import type { ShardedTableConfig } from "../config/config.ts";
import { functionKind } from "./functions.ts";
import { keyEqualities, type Relation } from "./keyEquality.ts";
import { testString } from "./literalUse.ts";
import type { KeySource } from "./plan.ts";
import { insertedKeys, noKey, refuseKeyChange } from "./rowKeys.ts";
import { checkSetting } from "./settingPlan.ts";
import { type Fields, type Node, node, nodes, strings, struct, text, walk } from "./syntax.ts";
import type { Table, Tables } from "./tables.ts";

export interface Footprint {
  readonly keys: readonly KeySource[];
  /** Single-shard tables: where they are. */
  readonly shards: readonly number[];
  readonly hasReference: boolean;
  readonly hasCatalog: boolean;
  /** Sequences, advisory locks: the first shard's. */
  readonly hasCentral: boolean;
  readonly writesReference: boolean;
  readonly isWrite: boolean;
  /** Rows are locked. */
  readonly isLocking: boolean;
  /** A function that is not known; null if there is none. */
  readonly unknownFunction: string | null;
  /** What makes the result differ from one shard to another; null if nothing does. */
  readonly unstable: string | null;
}

/** Names of common table expressions in sight. */
type Scope = ReadonlySet<string>;

const NO_NAMES: Scope = new Set();

export class FootprintReader {
  readonly #tables: Tables;
  readonly #keys: KeySource[] = [];
  readonly #shards: number[] = [];
  #hasReference = false;
  #hasCatalog = false;
  #hasCentral = false;
  #writesReference = false;
  #isWrite = false;
  #isLocking = false;
  #unknownFunction: string | null = null;
  #unstable: string | null = null;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  get footprint(): Footprint {
    return {
      keys: this.#keys,
      shards: this.#shards,
      hasReference: this.#hasReference,
      hasCatalog: this.#hasCatalog,
      hasCentral: this.#hasCentral,
      writesReference: this.#writesReference,
      isWrite: this.#isWrite,
      isLocking: this.#isLocking,
      unknownFunction: this.#unknownFunction,
      unstable: this.#unstable,
    };
  }

  /** Reads a SELECT, INSERT, UPDATE, DELETE; false for another kind of statement. */
  read({ type, fields }: Node, scope: Scope = NO_NAMES): boolean {
    switch (type) {
      case "SelectStmt":
        this.#select(fields, scope);
        return true;
      case "InsertStmt":
        this.#insert(fields, scope);
        return true;
      case "UpdateStmt":
        this.#update(fields, scope);
        return true;
      case "DeleteStmt":
        this.#delete(fields, scope);
        return true;
      default:
        return false;
    }
  }

  // --- statements ---

  #select(fields: Fields, outer: Scope): void {
    const scope = this.#with(fields, outer);
    if (text(fields, "op") !== "SETOP_NONE" && text(fields, "op") !== "") {
      for (const arm of ["larg", "rarg"]) this.#select(struct(fields, arm) ?? {}, scope);
      this.#noteChoice(fields);
      this.#expressions(fields, ["sortClause", "limitCount", "limitOffset"], scope);
      return;
    }
    if (fields.intoClause !== undefined)
      throw unsupported("SELECT INTO makes a table", "Make the table on every shard first.");
    if (nodes(fields, "lockingClause").length > 0) {
      this.#isLocking = true;
      this.#isWrite = true;
    }
    this.#level(nodes(fields, "fromClause"), [], node(fields, "whereClause"), scope);
    this.#noteChoice(fields);
    const rest = [
      "targetList",
      "groupClause",
      "havingClause",
      "windowClause",
      "valuesLists",
      "sortClause",
      "distinctClause",
      "limitCount",
      "limitOffset",
    ];
    this.#expressions(fields, rest, scope);
  }

  /** Which rows LIMIT and DISTINCT ON leave is the choice of each shard. */
  #noteChoice(fields: Fields): void {
    if (fields.limitCount !== undefined || fields.limitOffset !== undefined) this.#unstable ??= "LIMIT";
    if (nodes(fields, "distinctClause").length > 0) this.#unstable ??= "DISTINCT ON";
  }

  #insert(fields: Fields, outer: Scope): void {
    this.#isWrite = true;
    const scope = this.#with(fields, outer);
    const table = this.#resolve(struct(fields, "relation") ?? {});
    const select = node(fields, "selectStmt");
    if (table.kind === "sharded") this.#keys.push(...insertedKeys(table, fields, select, this.#tables));
    else this.#note(table, true);
    if (select !== null) this.#select(select.fields, scope);
    this.#expressions(fields, ["onConflictClause", "returningClause", "returningList"], scope);
  }

  #update(fields: Fields, outer: Scope): void {
    this.#isWrite = true;
    const scope = this.#with(fields, outer);
    const relation = struct(fields, "relation") ?? {};
    const table = this.#resolve(relation);
    if (table.kind === "sharded") refuseKeyChange(table, fields);
    else this.#note(table, true);
    const target = table.kind === "sharded" ? [relationOf(table, relation)] : [];
    this.#level(nodes(fields, "fromClause"), target, node(fields, "whereClause"), scope);
    this.#expressions(fields, ["targetList", "returningClause", "returningList"], scope);
  }

  #delete(fields: Fields, outer: Scope): void {
    this.#isWrite = true;
    const scope = this.#with(fields, outer);
    const relation = struct(fields, "relation") ?? {};
    const table = this.#resolve(relation);
    if (table.kind !== "sharded") this.#note(table, true);
    const target = table.kind === "sharded" ? [relationOf(table, relation)] : [];
    this.#level(nodes(fields, "usingClause"), target, node(fields, "whereClause"), scope);
    this.#expressions(fields, ["returningClause", "returningList"], scope);
  }

  // --- one level of a query ---

  #with(fields: Fields, outer: Scope): Scope {
    const clause = struct(fields, "withClause");
    if (clause === null) return outer;
    const scope = new Set(outer);
    const isRecursive = clause.recursive === true;
    const expressions = nodes(clause, "ctes");
    if (isRecursive) for (const { fields: cte } of expressions) scope.add(text(cte, "ctename"));
    for (const { fields: cte } of expressions) {
      const query = node(cte, "ctequery");
      if (query === null || !this.read(query, new Set(scope)))
        throw unsupported(
          "A WITH query of this kind is not understood",
          "Use SELECT, INSERT, UPDATE or DELETE.",
        );
      scope.add(text(cte, "ctename"));
    }
    return scope;
  }

  #level(from: readonly Node[], targets: readonly Relation[], where: Node | null, scope: Scope): void {
    const relations: Relation[] = targets.map((relation) => ({ ...relation, conditions: conjuncts(where) }));
    for (const item of from) this.#gather(item, conjuncts(where), relations, scope);
    if (where !== null) this.#expression(where, scope);
    const keys = keyEqualities(relations, this.#tables);
    relations.forEach(({ table }, i) => {
      const key = keys[i];
      if (key === null || key === undefined) {
        throw noKey(
          table,
          `The statement does not compare ${table.key} with a literal or a parameter.`,
          `Add "${table.key} = value" to the WHERE clause, or say where the statement goes: /* pgxa: shard=NAME */.`,
        );
      }
      this.#keys.push(key);
    });
  }

  /** Collects the sharded tables of a FROM item, each with the conditions that restrict its rows. */
  #gather({ type, fields }: Node, conditions: readonly Node[], relations: Relation[], scope: Scope): void {
    if (type === "RangeVar") {
      if (text(fields, "schemaname") === "" && scope.has(text(fields, "relname"))) return;
      const table = this.#resolve(fields);
      if (table.kind === "sharded") relations.push({ ...relationOf(table, fields), conditions });
      else this.#note(table, false);
    } else if (type === "JoinExpr") this.#join(fields, conditions, relations, scope);
    else if (type === "RangeSubselect") this.read(node(fields, "subquery") ?? { type: "", fields }, scope);
    else if (type === "RangeTableSample") {
      this.#unstable ??= "TABLESAMPLE";
      this.#gather(node(fields, "relation")!, conditions, relations, scope);
    } else this.#expression(fields, scope);
  }

  #join(fields: Fields, conditions: readonly Node[], relations: Relation[], scope: Scope): void {
    const on = node(fields, "quals");
    if (on !== null) this.#expression(on, scope);
    const own = conjuncts(on);
    const kind = text(fields, "jointype");
    const restrictsLeft = kind === "JOIN_INNER" || kind === "JOIN_RIGHT";
    const restrictsRight = kind === "JOIN_INNER" || kind === "JOIN_LEFT";
    const using = strings(fields, "usingClause");
    // An alias of the whole join hides the tables' names and may give their columns' names to others.
    const hides = struct(fields, "alias") !== null;
    const left: Relation[] = [];
    const right: Relation[] = [];
    this.#gather(node(fields, "larg")!, restrictsLeft ? [...conditions, ...own] : conditions, left, scope);
    this.#gather(node(fields, "rarg")!, restrictsRight ? [...conditions, ...own] : conditions, right, scope);
    for (const [side, other, restricts] of [
      [left, right, restrictsLeft],
      [right, left, restrictsRight],
    ] as const) {
      for (const relation of side) {
        const joined = restricts ? joinedBy(using, relation, other) : relation;
        relations.push(hides ? { ...joined, isRenamed: true, sameAs: [] } : joined);
      }
    }
  }

  // --- tables and expressions ---

  #resolve(relation: Fields): Table {
    return this.#tables.find(text(relation, "schemaname"), text(relation, "relname"));
  }

  #note(table: Exclude<Table, { kind: "sharded" }>, isWritten: boolean): void {
    if (table.kind === "catalog") this.#hasCatalog = true;
    else if (table.kind === "single") {
      const shard = this.#tables.shardByName(table.shard);
      if (shard instanceof Fault) throw shard;
      this.#shards.push(shard);
    } else {
      this.#hasReference = true;
      if (isWritten) this.#writesReference = true;
    }
    if (table.kind === "catalog" && isWritten)
      throw unsupported("The system catalog is written", "Run it on each shard.");
  }

  #expressions(fields: Fields, names: readonly string[], scope: Scope): void {
    for (const name of names) if (fields[name] !== undefined) this.#expression(fields[name], scope);
  }

  /** Functions, and queries within expressions. */
  #expression(value: unknown, scope: Scope): void {
    const top = isNode(value) ? { [value.type]: value.fields } : value;
    walk(top, ({ type, fields }) => {
      if (type === "SelectStmt") {
        this.#select(fields, scope);
        return false;
      }
      if (type === "RangeVar")
        throw unsupported(
          "A table stands where none is expected",
          "Say where the statement goes: /* pgxa: shard=NAME */.",
        );
      if (type === "FuncCall") this.#call(fields);
      if (type === "SQLValueFunction") this.#unstable ??= text(fields, "op").replace("SVFOP_", "");
      if (type === "TypeCast" && isMoment(fields)) this.#unstable ??= "the moment";
      return true;
    });
  }

  #call(fields: Fields): void {
    const qualified = strings(fields, "funcname");
    const name = qualified.at(-1) ?? "";
    const kind = functionKind(qualified);
    if (name === "set_config") checkSetConfig(nodes(fields, "args"));
    if (kind !== "immutable") this.#unstable ??= `${name}()`;
    if (kind === "catalog") this.#hasCatalog = true;
    if (kind === "central") this.#hasCentral = true;
    if (kind === "central" || kind === "unknown") this.#isWrite = true;
    if (kind === "unknown") this.#unknownFunction ??= name;
  }
}

const isNode = (value: unknown): value is Node =>
  typeof value === "object" &&
  value !== null &&
  typeof (value as Node).type === "string" &&
  "fields" in value;

function relationOf(table: ShardedTableConfig, relation: Fields): Relation {
  const alias = struct(relation, "alias");
  return {
    table,
    name: alias === null ? table.name : text(alias, "aliasname"),
    hasAlias: alias !== null,
    isRenamed: alias !== null && nodes(alias, "colnames").length > 0,
    conditions: [],
    sameAs: [],
  };
}

/** `'now'::timestamptz` and the like: each shard has its own moment. */
function isMoment(cast: Fields): boolean {
  const argument = node(cast, "arg");
  return argument?.type === "A_Const" && testString(argument.fields, isNameOfMoment);
}

const isNameOfMoment = (value: string): boolean => /^\s*(now|today|tomorrow|yesterday)\b/i.test(value);

/** set_config() of literals is held to what SET is held to. */
function checkSetConfig([name, value]: readonly Node[]): void {
  const [setting, given] = [name, value].map((argument) =>
    argument?.type === "A_Const" ? struct(argument.fields, "sval") : null,
  );
  if (setting) checkSetting(text(setting, "sval").toLowerCase(), given ? text(given, "sval") : "");
}

/** USING says of a column that it is equal on both sides. */
function joinedBy(columns: readonly string[], relation: Relation, others: readonly Relation[]): Relation {
  const { key } = relation.table;
  if (relation.isRenamed || !columns.includes(key)) return relation;
  const same = others.filter((other) => other.table.key === key && !other.isRenamed).map(({ name }) => name);
  return { ...relation, sameAs: [...relation.sameAs, ...same] };
}

/** The parts of a condition that must all hold. */
function conjuncts(condition: Node | null): readonly Node[] {
  if (condition === null) return [];
  const isAnd = condition.type === "BoolExpr" && text(condition.fields, "boolop") === "AND_EXPR";
  return isAnd ? nodes(condition.fields, "args").flatMap(conjuncts) : [condition];
}

const unsupported = (what: string, hint: string): Fault =>
  new Fault("route.unsupported", { detail: `${what}.`, hint });
