// Pure.
/** The shard keys of rows that a statement writes: given plainly in an INSERT, never changed afterwards. */
import { Fault } from "../base/fault.ts";
import type { ShardedTableConfig } from "../config/config.ts";
import { constantKey } from "./keyEquality.ts";
import type { KeySource } from "./plan.ts";
import { type Fields, flag, type Node, nodes, struct, text } from "./syntax.ts";
import type { Tables } from "./tables.ts";

/** The key of each row of an INSERT; throws a Fault if one is not plain. */
export function insertedKeys(
  table: ShardedTableConfig,
  fields: Fields,
  select: Node | null,
  tables: Tables,
): readonly KeySource[] {
  if (text(fields, "override") === "OVERRIDING_USER_VALUE") {
    throw noKey(
      table,
      "OVERRIDING USER VALUE lets the shard make up the values of identity columns.",
      "Leave it out, or write OVERRIDING SYSTEM VALUE.",
    );
  }
  const column = keyColumn(table, fields);
  const rows = select === null ? [] : nodes(select.fields, "valuesLists");
  if (rows.length === 0) {
    throw noKey(
      table,
      "The rows come from a query.",
      "Send the rows as VALUES, or run the INSERT on one shard: /* pgxa: shard=NAME */.",
    );
  }
  refuseKeyChange(table, struct(fields, "onConflictClause"));
  return rows.map((row) => rowKey(table, nodes(row.fields, "items")[column], tables));
}

/** Which of the named columns is the key. */
function keyColumn(table: ShardedTableConfig, fields: Fields): number {
  const columns = nodes(fields, "cols").map((column) => text(column.fields, "name"));
  if (columns.length === 0) {
    throw noKey(
      table,
      "The INSERT does not name its columns.",
      `Name them: INSERT INTO ${table.name} (${table.key}, …) VALUES (…).`,
    );
  }
  const key = columns.indexOf(table.key);
  if (key >= 0) return key;
  throw noKey(
    table,
    "The INSERT gives no value for it.",
    `Give ${table.key} in the column list; pgxa cannot use a default of the shard.`,
  );
}

function rowKey(table: ShardedTableConfig, value: Node | undefined, tables: Tables): KeySource {
  const source = value === undefined ? null : constantKey(value, table, tables);
  if (source !== null) return source;
  if (value?.type === "A_Const" && flag(value.fields, "isnull")) {
    throw new Fault("route.null_key", {
      message: `the shard key "${table.key}" of table "${table.name}" must not be null`,
      hint: "Give a value for it.",
    });
  }
  const what = value?.type === "SetToDefault" ? "a default, which the shard computes" : "an expression";
  throw noKey(table, `Its value in the INSERT is ${what}.`, "Give a literal or a parameter.");
}

/** Throws a Fault if the SET list of an UPDATE or ON CONFLICT (null: none) has the key. */
export function refuseKeyChange(table: ShardedTableConfig, fields: Fields | null): void {
  const columns =
    fields === null ? [] : nodes(fields, "targetList").map((target) => text(target.fields, "name"));
  if (!columns.includes(table.key)) return;
  throw new Fault("route.key_update", {
    detail: `Column "${table.key}" of table "${table.name}" decides which shard the row is on.`,
    hint: "Delete the row and insert it with its new key, in one transaction.",
  });
}

export function noKey(table: ShardedTableConfig, detail: string, hint: string): Fault {
  return new Fault("route.no_key", {
    message: `the shard key "${table.key}" of table "${table.name}" is not known`,
    detail,
    hint,
  });
}
