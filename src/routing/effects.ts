// Pure.
/**
 * What a statement does to the session beyond its own transaction: settings that travel with the client, and state
 * that cannot travel and pins it.
 */
import type { PinReason, SessionEffect } from "./plan.ts";
import { type Fields, flag, integer, type Node, node, nodes, strings, struct, text, walk } from "./syntax.ts";

const CURSOR_HOLD = 0x0020;
/** Set by function, procedure or block: which settings is known to the shard alone. */
const ANY_SETTING: Extract<SessionEffect, { kind: "set" }> = { kind: "set", name: "*", sql: null };
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
      return [ANY_SETTING, ...namedIn(sql), ...madeIn(sql)];
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
    else if (name === "set_config") effects.push(...setConfigEffects(call));
    else if (/^pg_(try_)?advisory_lock(_shared)?$/.test(name)) effects.push(pin("advisory lock"));
    else if (/^pg_advisory_unlock/.test(name)) effects.push(UNPIN);
  });
  return effects;
}

/** set_config(name, value, is_local): local only if that is plain. */
function setConfigEffects(call: Fields): readonly SessionEffect[] {
  const [name, value, isLocal] = nodes(call, "args");
  const setting = constantText(name);
  if (isLocal?.type !== "A_Const" || !flag(struct(isLocal.fields, "boolval") ?? {}, "boolval")) {
    if (setting !== null) return [{ kind: "set", name: setting.toLowerCase(), sql: null }];
    const parameter = integer(parameterOf(name)?.fields ?? {}, "number");
    return parameter > 0 ? [{ ...ANY_SETTING, parameter: parameter - 1 }] : [ANY_SETTING, pin("setting")];
  }
  const given = constantText(value);
  if (setting === null || given === null) return [ANY_SETTING];
  const sql = `SELECT pg_catalog.set_config(${quote(setting)}, ${quote(given)}, true)`;
  return [{ kind: "setLocal", sql }];
}

/** A parameter, with or without a cast. */
function parameterOf(value: Node | undefined): Node | null {
  if (value?.type === "TypeCast") return parameterOf(node(value.fields, "arg") ?? undefined);
  return value?.type === "ParamRef" ? value : null;
}

const SET_CONFIG = /set_config\s*\(\s*'([^']+)'/gi;
const SET_CUSTOM = /\bset\s+(?:session\s+)?([a-z_][\w$]*\.[a-z_][\w$]*)\s*(?:=|to\b)/gi;

/** State that the text of a block may make. */
function madeIn(sql: string): readonly SessionEffect[] {
  const isLocking = /pg_(?:try_)?advisory_lock/i.test(sql);
  const isTemporary = /\btemp(?:orary)?\b|\bpg_temp\b/i.test(sql);
  return [...(isLocking ? [pin("advisory lock")] : []), ...(isTemporary ? [pin("temporary table")] : [])];
}

/** Settings that the text of a block names. */
function namedIn(sql: string): readonly SessionEffect[] {
  const names = [...sql.matchAll(SET_CONFIG), ...sql.matchAll(SET_CUSTOM)].map((match) => match[1]!);
  return names.map((name) => ({ kind: "set", name: name.toLowerCase(), sql: null }));
}

function constantText(value: Node | undefined): string | null {
  if (value?.type !== "A_Const") return null;
  const string = struct(value.fields, "sval");
  return string === null ? null : text(string, "sval");
}

const quote = (value: string): string =>
  `${value.includes("\\") ? " E" : ""}'${value.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;
