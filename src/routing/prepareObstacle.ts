// Pure.
/**
 * What of a statement makes PREPARE TRANSACTION impossible on its shard, as far as its text shows it.
 *
 * Postgres refuses to prepare a transaction that has operated on temporary objects, has a cursor WITH HOLD of its own,
 * has executed LISTEN, UNLISTEN or NOTIFY, or has exported a snapshot. What a function, a trigger, a view, a foreign
 * table or a DO block does is not in the text; nor are objects that the session made temporary by its search path, or
 * whether two advisory locks have one key. The shard finds those when it is to prepare.
 *
 * https://www.postgresql.org/docs/current/sql-prepare-transaction.html#SQL-PREPARE-TRANSACTION-NOTES
 */
import type { ParsedStatement } from "./parse.ts";
import { type Fields, integer, type Node, node, nodes, strings, struct, text, walk } from "./syntax.ts";

export type ObstacleKind = "temporary object" | "hold cursor" | "notification" | "exported snapshot";

export interface Obstacle {
  readonly kind: ObstacleKind;
  /** What the statement has done, to be read behind "it has". */
  readonly done: string;
  /** Of a cursor: its name. */
  readonly cursor?: string;
  /** To understand the statement is enough already: a query that names a temporary relation. */
  readonly isByParse?: true;
}

/** What a statement text says of PREPARE; what is absent, it does not say. */
export interface AboutPreparing {
  readonly obstacles?: readonly Obstacle[];
  /** Relations that it names, without a schema or in that of temporary objects: the client may have such ones. */
  readonly relations?: readonly string[];
  /** Temporary relations that it makes, and that outlive the transaction. */
  readonly makes?: readonly string[];
  /** Null is all temporary ones. */
  readonly drops?: readonly (string | null)[];
  /** Cursors that it closes, before anything in `obstacles`; null is all. */
  readonly closes?: readonly (string | null)[];
}

const CURSOR_HOLD = 0x0020;
const TEMPORARY = "pg_temp";
/** Kinds of objects that are relations, which share one space of names. */
const RELATION = /^OBJECT_(?:TABLE|VIEW|SEQUENCE|INDEX|FOREIGN_TABLE)$/;
/** Lists of names, in which the schema of temporary objects may stand. */
const NAMES = ["funcname", "typeName", "domainname", "defnames", "objects", "object"] as const;
/** Take a relation by its name as a text. */
const SEQUENCE_FUNCTION = /^(?:nextval|currval|setval)$/;

/** What the text with these statements says. */
export function aboutPreparing(statements: readonly ParsedStatement[]): AboutPreparing {
  const reader = new ObstacleReader();
  for (const statement of statements) reader.read(statement.node);
  return reader.result;
}

/** That the client's temporary relation `name` is used. */
export const temporaryUse = (name: string): Obstacle => ({
  kind: "temporary object",
  done: `used the temporary object "${name}"`,
  isByParse: true,
});

class ObstacleReader {
  #obstacles: Obstacle[] = [];
  readonly #relations = new Set<string>();
  readonly #makes: string[] = [];
  readonly #drops: (string | null)[] = [];
  readonly #closes: (string | null)[] = [];

  get result(): AboutPreparing {
    return {
      ...(this.#obstacles.length > 0 && { obstacles: this.#obstacles }),
      ...(this.#relations.size > 0 && { relations: [...this.#relations] }),
      ...(this.#makes.length > 0 && { makes: this.#makes }),
      ...(this.#drops.length > 0 && { drops: this.#drops }),
      ...(this.#closes.length > 0 && { closes: this.#closes }),
    };
  }

  read({ type, fields }: Node): void {
    const isExplain = type === "ExplainStmt";
    const query = isExplain ? node(fields, "query") : { type, fields };
    const made = query === null ? null : madeRelation(query);
    this.#names(fields, made);
    this.#objects(type, fields);
    if (!isExplain || isAnalyze(fields)) {
      if (made !== null && query !== null) this.#make(made, query.fields);
      this.#calls(fields);
    }
    switch (type) {
      case "DeclareCursorStmt":
        return this.#declare(fields);
      case "ClosePortalStmt":
        return this.#close(text(fields, "portalname") || null);
      case "ListenStmt":
        return this.#add({ kind: "notification", done: `executed LISTEN ${text(fields, "conditionname")}` });
      case "UnlistenStmt":
        return this.#add({ kind: "notification", done: "executed UNLISTEN" });
      case "NotifyStmt":
        return this.#add({ kind: "notification", done: `executed NOTIFY ${text(fields, "conditionname")}` });
      case "DiscardStmt":
        if (text(fields, "target") !== "DISCARD_TEMP") return;
        this.#drops.push(null);
        return this.#add({ kind: "temporary object", done: "executed DISCARD TEMP" });
    }
  }

  #add(obstacle: Obstacle): void {
    this.#obstacles.push(obstacle);
  }

  #declare(fields: Fields): void {
    if ((integer(fields, "options") & CURSOR_HOLD) === 0) return;
    const cursor = text(fields, "portalname");
    this.#add({ kind: "hold cursor", done: `declared the cursor "${cursor}" WITH HOLD`, cursor });
  }

  #close(cursor: string | null): void {
    this.#closes.push(cursor);
    this.#obstacles = this.#obstacles.filter((one) => !isClosed(one, cursor));
  }

  #make(relation: Fields, fields: Fields): void {
    if (text(relation, "relpersistence") !== "t" && text(relation, "schemaname") !== TEMPORARY) return;
    const name = text(relation, "relname");
    this.#add({ kind: "temporary object", done: `made the temporary object "${name}"` });
    if (!isDroppedAtCommit(fields)) this.#makes.push(name);
  }

  /** Functions that are obstacles wherever they are called. */
  #calls(fields: Fields): void {
    walk(fields, ({ type, fields: call }) => {
      if (type !== "FuncCall") return true;
      const name = strings(call, "funcname").at(-1) ?? "";
      if (name === "pg_notify") this.#add({ kind: "notification", done: "called pg_notify()" });
      if (name === "pg_export_snapshot")
        this.#add({ kind: "exported snapshot", done: "called pg_export_snapshot()" });
      if (SEQUENCE_FUNCTION.test(name)) this.#sequence(nodes(call, "args")[0]);
      return true;
    });
  }

  #sequence(argument: Node | undefined): void {
    const name = argument?.type === "A_Const" ? struct(argument.fields, "sval") : null;
    if (name !== null) this.#relations.add(text(name, "sval").toLowerCase());
  }

  #names(fields: Fields, made: Fields | null): void {
    const expressions = new Set<string>();
    visit(fields, (found) => {
      if (typeof found.relname === "string" && found !== made) this.#relation(found);
      if (typeof found.ctename === "string") expressions.add(found.ctename);
    });
    for (const name of expressions) this.#relations.delete(name);
  }

  /** What DROP and COMMENT name, and what else is made in the schema of temporary objects. */
  #objects(type: string, fields: Fields): void {
    if (NAMES.some((name) => isNamedTemporary(fields[name])))
      this.#add({ kind: "temporary object", done: "operated on temporary objects" });
    const kind = text(fields, type === "DropStmt" ? "removeType" : "objtype");
    if (!RELATION.test(kind)) return;
    const named = type === "DropStmt" ? nodes(fields, "objects") : [node(fields, "object")];
    for (const name of named) {
      const parts = strings(name?.fields ?? {}, "items");
      const relation = parts.at(-1);
      if (relation === undefined || (parts.length > 1 && parts.at(-2) !== TEMPORARY)) continue;
      this.#relations.add(relation);
      if (type === "DropStmt") this.#drops.push(relation);
    }
  }

  #relation(relation: Fields): void {
    const schema = text(relation, "schemaname");
    if (schema !== "" && schema !== TEMPORARY) return;
    const name = text(relation, "relname");
    this.#relations.add(name);
    if (schema === TEMPORARY) this.#add(temporaryUse(name));
  }
}

/** Whether a CLOSE of `cursor`, or of all, ends it. */
export const isClosed = (obstacle: Obstacle, cursor: string | null): boolean =>
  obstacle.kind === "hold cursor" && (cursor === null || obstacle.cursor === cursor);

const isAnalyze = (fields: Fields): boolean =>
  nodes(fields, "options").some((option) => text(option.fields, "defname") === "analyze");

/** The table, view or sequence that a statement makes; null if it makes none. */
function madeRelation({ type, fields }: Node): Fields | null {
  switch (type) {
    case "CreateStmt":
      return struct(fields, "relation");
    case "ViewStmt":
      return struct(fields, "view");
    case "CreateSeqStmt":
      return struct(fields, "sequence");
    case "CompositeTypeStmt":
      return struct(fields, "typevar");
    case "CreateTableAsStmt":
      return struct(struct(fields, "into") ?? {}, "rel");
    case "SelectStmt":
      return struct(struct(fields, "intoClause") ?? {}, "rel");
    default:
      return null;
  }
}

function isDroppedAtCommit(fields: Fields): boolean {
  const into = struct(fields, "into") ?? struct(fields, "intoClause");
  return text(into ?? {}, "onCommit") === "ONCOMMIT_DROP" || text(fields, "oncommit") === "ONCOMMIT_DROP";
}

/** Whether a list of names, or of lists of them, has the schema of temporary objects. */
function isNamedTemporary(names: unknown): boolean {
  let isFound = false;
  visit(names, (found) => {
    if (struct(found, "String")?.sval === TEMPORARY) isFound = true;
  });
  return isFound;
}

/** Visits every object in a part of the tree. */
function visit(value: unknown, each: (found: Fields) => void): void {
  if (typeof value !== "object" || value === null) return;
  if (!Array.isArray(value)) each(value as Fields);
  for (const inner of Object.values(value)) visit(inner, each);
}
