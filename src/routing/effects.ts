// Pure.
/**
 * What a statement does to the session beyond its own transaction: settings that travel with the client, and state
 * that cannot travel and pins it.
 */
import type { PinReason, SessionEffect } from "./plan.ts";
import { type Fields, flag, integer, type Node, node, nodes, strings, struct, text, walk } from "./syntax.ts";

const CURSOR_HOLD = 0x0020;
/** Set by function, procedure or block: which settings is known to the shard alone. */
const ANY_SETTING: SessionEffect = { kind: "set", name: "*", sql: null };
const NOTIFY: SessionEffect = { kind: "notify" };
const UNPIN: SessionEffect = { kind: "unpin" };
const SCHEMA: SessionEffect = { kind: "schema" };
const SCHEMA_STATEMENT = /^(?:Create|Alter|Drop|Rename|Define|View|Rule|Index|Import|CompositeType)/;
const pin = (reason: PinReason): SessionEffect => ({ kind: "pin", reason });

/** The effects of one statement; `sql` is its text. */
export function effectsOf(statement: Node, sql: string): readonly SessionEffect[] {
  const { type, fields } = statement;
  switch (type) {
    case "VariableSetStmt":
      return [settingEffect(fields, sql)];
    case "ConstraintsSetStmt":
      return [{ kind: "setLocal", sql }];
    case "DiscardStmt":
      return text(fields, "target") === "DISCARD_ALL" ? [{ kind: "discardAll" }] : [UNPIN];
    case "DeallocateStmt":
      return flag(fields, "isall")
        ? [{ kind: "deallocateAll" }]
        : [{ kind: "deallocate", name: text(fields, "name") }];
    case "ClosePortalStmt":
      return [UNPIN];
    case "ListenStmt":
      return [{ kind: "listen", channel: text(fields, "conditionname") }];
    case "UnlistenStmt":
      return [{ kind: "unlisten", channel: text(fields, "conditionname") || null }];
    case "NotifyStmt":
      return [NOTIFY];
    case "LoadStmt":
      return [pin("load")];
    case "PrepareStmt":
      return [prepareEffect(fields, sql)];
    case "DoStmt":
    case "CallStmt":
      return [ANY_SETTING, ...functionEffects(fields)];
    case "DeclareCursorStmt":
      return [
        ...((integer(fields, "options") & CURSOR_HOLD) === 0 ? [] : [pin("hold cursor")]),
        ...functionEffects(fields),
      ];
    case "ExecuteStmt":
      return [{ kind: "execute", name: text(fields, "name") }, ...functionEffects(fields)];
    default:
      return [...schemaEffects(type, fields), ...functionEffects(fields)];
  }
}

function prepareEffect(fields: Fields, sql: string): SessionEffect {
  const query = node(fields, "query");
  const inner = query === null ? [] : effectsOf(query, sql);
  return { kind: "prepare", name: text(fields, "name"), sql, inner };
}

/** What is temporary changes names for the session alone, and that is pinned. */
function schemaEffects(type: string, fields: Fields): readonly SessionEffect[] {
  if (makesTemporary(fields)) {
    const into = struct(fields, "into") ?? fields;
    const isDropped =
      text(into, "oncommit") === "ONCOMMIT_DROP" || text(into, "onCommit") === "ONCOMMIT_DROP";
    return [isDropped ? { kind: "temporary" } : pin("temporary table")];
  }
  if (type === "DropStmt") return [SCHEMA, UNPIN];
  return SCHEMA_STATEMENT.test(type) || struct(fields, "intoClause") !== null ? [SCHEMA] : [];
}

/** SET and RESET in all their forms. */
export function settingEffect(fields: Fields, sql: string): SessionEffect {
  const name = text(fields, "name").toLowerCase();
  const kind = text(fields, "kind");
  if (kind === "VAR_RESET_ALL") return { kind: "resetAll" };
  if (flag(fields, "is_local")) return { kind: "setLocal", sql };
  const isReset = kind === "VAR_RESET" || kind === "VAR_SET_DEFAULT";
  return { kind: "set", name, sql: isReset ? null : sql };
}

/** Temporary tables, views, sequences, and SELECT INTO or CREATE TABLE AS one. */
export function makesTemporary(fields: Fields): boolean {
  const named = ["relation", "view", "sequence", "typevar"].map((name) => struct(fields, name));
  const into = struct(fields, "into") ?? struct(fields, "intoClause");
  if (into !== null) named.push(struct(into, "rel"));
  // Functions and types of the temporary schema.
  if ([strings(fields, "funcname"), strings(fields, "typeName")].some(([schema]) => schema === "pg_temp"))
    return true;
  return named.some(
    (relation) =>
      relation !== null &&
      (text(relation, "relpersistence") === "t" || text(relation, "schemaname") === "pg_temp"),
  );
}

function functionEffects(fields: Fields): readonly SessionEffect[] {
  const effects: SessionEffect[] = [];
  walk(fields, ({ type, fields: call }) => {
    if (type === "ExecuteStmt") effects.push({ kind: "execute", name: text(call, "name") });
    if (type !== "FuncCall") return;
    const name = strings(call, "funcname").at(-1) ?? "";
    if (name === "pg_notify") effects.push(NOTIFY);
    else if (name === "set_config") effects.push(setConfigEffect(call));
    else if (/^pg_(try_)?advisory_lock(_shared)?$/.test(name)) effects.push(pin("advisory lock"));
    else if (/^pg_advisory_unlock/.test(name)) effects.push(UNPIN);
  });
  return effects;
}

/** set_config(name, value, is_local): local only if that is plain. */
function setConfigEffect(call: Fields): SessionEffect {
  const [name, value, isLocal] = nodes(call, "args");
  if (isLocal?.type !== "A_Const" || !flag(struct(isLocal.fields, "boolval") ?? {}, "boolval"))
    return ANY_SETTING;
  const setting = constantText(name);
  const given = constantText(value);
  if (setting === null || given === null) return ANY_SETTING;
  return { kind: "setLocal", sql: `SELECT pg_catalog.set_config(${quote(setting)}, ${quote(given)}, true)` };
}

function constantText(value: Node | undefined): string | null {
  if (value?.type !== "A_Const") return null;
  const string = struct(value.fields, "sval");
  return string === null ? null : text(string, "sval");
}

const quote = (value: string): string =>
  `${value.includes("\\") ? " E" : ""}'${value.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;
