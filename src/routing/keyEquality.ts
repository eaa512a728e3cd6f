// Pure.
/** Which equalities pin the shard keys of the tables that stand beside each other in one FROM clause. */
import type { KeyType, ShardedTableConfig } from "../config/config.ts";
import { noteKey, readKind } from "./literalUse.ts";
import type { KeySource } from "./plan.ts";
import { flag, integer, type Node, node, nodes, strings, struct, text } from "./syntax.ts";
import type { Tables } from "./tables.ts";

export interface Relation {
  readonly table: ShardedTableConfig;
  /** The name that columns are qualified with. */
  readonly name: string;
  readonly hasAlias: boolean;
  /** What holds for every row of it that counts. */
  readonly conditions: readonly Node[];
  /** Whether columns have names of their own here (`accounts AS a (x, y)`): none of them is then known. */
  readonly isRenamed: boolean;
  /** The names of relations whose key is the same by USING. */
  readonly sameAs: readonly string[];
}

/** The types a constant may be cast to and still be the key's own value. */
const CASTS: Readonly<Record<KeyType, readonly string[]>> = {
  int2: ["int2", "int4", "int8"],
  int4: ["int2", "int4", "int8"],
  int8: ["int2", "int4", "int8"],
  text: ["text", "varchar"],
  varchar: ["text", "varchar"],
  uuid: ["uuid"],
  numeric: ["numeric"],
  date: ["date"],
  timestamptz: ["timestamptz"],
};

const isInteger = (type: KeyType): boolean => type === "int2" || type === "int4" || type === "int8";

/** Where the key of each relation comes from; null where nothing pins it. */
export function keyEqualities(relations: readonly Relation[], tables: Tables): readonly (KeySource | null)[] {
  const found: (KeySource | null)[] = relations.map((relation) => direct(relation, relations, tables));
  // Keys that are equal to keys already found, until there is nothing new.
  for (let isNew = true; isNew; ) {
    isNew = false;
    relations.forEach((relation, i) => {
      if (found[i] !== null) return;
      const other = relations.findIndex(
        (candidate, j) => found[j] !== null && isEqualTo(relation, candidate, relations),
      );
      if (other < 0) return;
      found[i] = found[other]!;
      isNew = true;
    });
  }
  return found;
}

/** A literal or parameter as the source of `table`'s key; null for anything else. */
export function constantKey(value: Node, table: ShardedTableConfig, tables: Tables): KeySource | null {
  const { keyType, key } = table;
  if (value.type === "TypeCast") {
    const type = struct(value.fields, "typeName");
    const name = type === null ? "" : (strings(type, "names").at(-1) ?? "");
    const isPlain =
      type !== null && nodes(type, "typmods").length === 0 && nodes(type, "arrayBounds").length === 0;
    const argument = node(value.fields, "arg");
    return isPlain && argument !== null && CASTS[keyType].includes(name)
      ? constantKey(argument, table, tables)
      : null;
  }
  if (value.type === "ParamRef") {
    return { kind: "parameter", index: integer(value.fields, "number") - 1, keyType, column: key };
  }
  if (value.type !== "A_Const") return null;
  const literal = literalText(value, keyType);
  if (literal === null) return null;
  noteKey(value.fields, keyType);
  return tables.literalKey(keyType, literal);
}

/** The text of a literal that is of the key's type, or takes it. */
function literalText(constant: Node, keyType: KeyType): string | null {
  const fields = readKind(constant.fields);
  if (flag(fields, "isnull")) return null;
  const string = struct(fields, "sval");
  if (string !== null) return text(string, "sval");
  const whole = struct(fields, "ival");
  if (whole !== null && (isInteger(keyType) || keyType === "numeric")) return String(integer(whole, "ival"));
  const fraction = struct(fields, "fval");
  // Integers beyond 32 bits come as digits too.
  const digits = fraction === null ? "" : text(fraction, "fval");
  const isUsable = keyType === "numeric" || (isInteger(keyType) && /^[+-]?\d+$/.test(digits));
  return digits !== "" && isUsable ? digits : null;
}

function direct(relation: Relation, all: readonly Relation[], tables: Tables): KeySource | null {
  for (const condition of relation.conditions) {
    const sides = equalitySides(condition);
    if (sides === null) continue;
    for (const [column, value] of [sides, [sides[1], sides[0]] as const]) {
      if (!isKeyOf(column, relation, all)) continue;
      const source = constantKey(value, relation.table, tables);
      if (source !== null) return source;
    }
  }
  return null;
}

function isEqualTo(relation: Relation, other: Relation, all: readonly Relation[]): boolean {
  const [a, b] = [relation.table.keyType, other.table.keyType];
  if (a !== b && !(isInteger(a) && isInteger(b)) && CASTS[a] !== CASTS[b]) return false;
  if (relation.sameAs.includes(other.name)) return true;
  return relation.conditions.some((condition) => {
    const sides = equalitySides(condition);
    if (sides === null) return false;
    const [left, right] = sides;
    return (
      (isKeyOf(left, relation, all) && isKeyOf(right, other, all)) ||
      (isKeyOf(right, relation, all) && isKeyOf(left, other, all))
    );
  });
}

/** Both sides of `a = b` or `a IN (b)`. */
function equalitySides(condition: Node): readonly [Node, Node] | null {
  if (condition.type !== "A_Expr") return null;
  const { fields } = condition;
  if (strings(fields, "name").join(".") !== "=") return null;
  const left = node(fields, "lexpr");
  const right = node(fields, "rexpr");
  if (left === null || right === null) return null;
  const kind = text(fields, "kind");
  if (kind === "AEXPR_OP") return [left, right];
  const items = kind === "AEXPR_IN" && right.type === "List" ? nodes(right.fields, "items") : [];
  return items.length === 1 ? [left, items[0]!] : null;
}

/** Whether a column reference means the shard key of `relation`. */
function isKeyOf(column: Node, relation: Relation, all: readonly Relation[]): boolean {
  if (column.type !== "ColumnRef" || relation.isRenamed) return false;
  const { table, name, hasAlias } = relation;
  const parts = strings(column.fields, "fields");
  if (parts.length !== nodes(column.fields, "fields").length || parts.at(-1) !== table.key) return false;
  if (parts.length === 2) return parts[0] === name;
  if (parts.length === 3) return !hasAlias && parts[0] === table.schema && parts[1] === table.name;
  // Unqualified: the table has that column, so it means that one, or the server finds it ambiguous.
  const withSameKey = all.filter((other) => other.table.key === table.key);
  return (
    parts.length === 1 &&
    (withSameKey.length === 1 ||
      withSameKey[0] === relation ||
      relation.sameAs.includes(withSameKey[0]!.name))
  );
}
