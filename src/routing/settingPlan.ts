// Pure.
/**
 * SET, RESET, SHOW and DISCARD: settings of the session, which travel with the client, and pgxa's own.
 *
 * Two settings would make pgxa read a statement otherwise than the shard does, and so find another shard for its key:
 * they are refused unless they say what pgxa assumes.
 */
import { Fault } from "../base/fault.ts";
import { settingEffect } from "./effects.ts";
import type { OwnSetting, Plan, SessionEffect, StatementPlan } from "./plan.ts";
import { type Fields, flag, type Node, nodes, struct, text } from "./syntax.ts";
import { renderCharacteristics } from "./transactionPlan.ts";

const OWN_SETTINGS: ReadonlySet<string> = new Set<OwnSetting>([
  "pgxa.shard",
  "pgxa.key",
  "pgxa.lock_timeout",
  "pgxa.deadlock_priority",
  "pgxa.standby",
]);
/** As the server reads names of encodings: letters and digits count. */
const UTF8_NAMES: ReadonlySet<string> = new Set(["utf8", "unicode"]);

export function planSetting(fields: Fields, sql: string): Plan {
  const name = text(fields, "name").toLowerCase();
  const isReset = text(fields, "kind") !== "VAR_SET_VALUE";
  if (OWN_SETTINGS.has(name)) return planHintSetting(name as OwnSetting, fields, isReset);
  if (text(fields, "kind") === "VAR_SET_MULTI" && name === "transaction") {
    return { kind: "setTransaction", characteristics: renderCharacteristics(nodes(fields, "args")), sql };
  }
  checkSetting(name, isReset ? null : settingText(nodes(fields, "args")[0]));
  const effect = settingEffect(fields, sql);
  return { kind: "set", effect, tag: text(fields, "kind").startsWith("VAR_RESET") ? "RESET" : "SET", sql };
}

/** Throws a Fault for a setting that must not be set to `value` (null: its default), by SET or by set_config(). */
export function checkSetting(name: string, value: string | null): void {
  if (name === "transaction snapshot") {
    throw new Fault("session.unsupported", {
      message: "SET TRANSACTION SNAPSHOT is not supported with several shards",
      detail: "A snapshot belongs to one shard.",
    });
  }
  if (name.startsWith("pgxa.")) {
    throw new Fault("route.unknown_setting", {
      message: `unrecognized configuration parameter "${name}"`,
      hint: `Settings of pgxa are ${[...OWN_SETTINGS].join(", ")}, and SET, RESET and SHOW are how to use them.`,
    });
  }
  if (value === null) return;
  if (name === "standard_conforming_strings" && !/^(on|true|yes|1)$/i.test(value)) {
    throw new Fault("session.unsupported", {
      message: "standard_conforming_strings cannot be changed with several shards",
      detail: "pgxa reads the literals of statements to route them, as the SQL standard has them.",
      hint: "Write E'…' for a literal with backslash escapes.",
    });
  }
  if (name === "client_encoding" && !UTF8_NAMES.has(value.toLowerCase().replaceAll(/[^a-z0-9]/g, ""))) {
    throw new Fault("session.unsupported", {
      message: "client_encoding must be UTF8 with several shards",
      detail: "pgxa hashes keys of text as the shards store them.",
      hint: "Use client_encoding UTF8, and convert on the client.",
    });
  }
}

function planHintSetting(name: OwnSetting, fields: Fields, isReset: boolean): Plan {
  const values = nodes(fields, "args");
  if (values.length > 1) {
    throw new Fault("session.unsupported", {
      message: `${name} takes one value`,
      hint: `Write SET ${name} = 'VALUE'.`,
    });
  }
  const value = isReset ? "" : settingText(values[0]);
  return { kind: "hintSetting", name, value: value === "" ? null : value, local: flag(fields, "is_local") };
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

export function planShow(fields: Fields, hinted: StatementPlan): Plan {
  const name = text(fields, "name").toLowerCase();
  if (OWN_SETTINGS.has(name)) return { kind: "showHintSetting", name: name as OwnSetting };
  if (name.startsWith("pgxa.")) checkSetting(name, null);
  return { ...hinted, target: { kind: "any" }, access: "read" };
}

export function planDiscard(fields: Fields, sql: string): Plan {
  if (text(fields, "target") !== "DISCARD_ALL") {
    throw new Fault("route.unsupported", {
      detail: "It concerns one server connection.",
      hint: "Use DISCARD ALL.",
    });
  }
  const effect: SessionEffect = { kind: "discardAll" };
  return { kind: "set", effect, tag: "DISCARD ALL", sql };
}
