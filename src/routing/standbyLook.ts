// Pure.
/**
 * Whether a statement or transaction may be read from a standby.
 *
 * Asked for it has to be: by BEGIN … READ ONLY, or by a hint. A plain SELECT never goes there by itself, for a function
 * in it may write. What a standby has not, or has apart from the primary (advisory locks, sequences, row locks, what a
 * session keeps), stays with the primary if it can be seen in the text; the rest a standby refuses itself.
 */
import type { StandbyReads } from "../config/config.ts";
import { withoutComments } from "./comments.ts";
import { effectsOf } from "./effects.ts";
import { standbyHint } from "./hint.ts";
import { type ParsedStatement, parse } from "./parse.ts";
import type { AboutStandbys, SessionEffect } from "./plan.ts";
import { flag, nodes, text as textOf } from "./syntax.ts";
import { renderCharacteristics } from "./transactionPlan.ts";

/** What a session has set. */
export interface SessionWish {
  /** `pgxa.standby`; null: not set. */
  readonly standby: boolean | null;
  readonly isReadOnly: boolean;
  readonly isSerializable: boolean;
}

interface TextWish {
  readonly hint: boolean | null;
  /** Of the transaction block that it begins; null: it begins none. */
  readonly characteristics: string | null;
  readonly isForPrimary: boolean;
}

const NO_WISH: SessionWish = { standby: null, isReadOnly: false, isSerializable: false };
const FOR_PRIMARY: TextWish = { hint: null, characteristics: null, isForPrimary: true };
/** Anything else is asked for only by what the session has set. */
const MAY_ASK = /pgxa:|\bbegin\b|\bstart\b/i;
/** Row locks, sequences, and locks that others would not see. */
const PRIMARY_ONLY =
  /\bfor\s+(?:no\s+key\s+update|update|key\s+share|share)\b|\b(?:next|set|curr|last)val\b|advisory_/i;
const ADVISORY = /\bpg_(?:try_)?advisory_/i;
const REMEMBERED_CHARACTERS_MAX = 16_384;
const TEXTS_MAX = 1_000;

export class StandbyLook {
  readonly #reads: Exclude<StandbyReads, "off">;
  readonly #known = new Map<string, TextWish>();

  constructor(reads: Exclude<StandbyReads, "off">) {
    this.#reads = reads;
  }

  /** Whether what begins with `text` may be read from a standby; `settings`: the session's, in canonical form. */
  wants(text: string, settings: string): boolean {
    const session = sessionWish(settings);
    if (session.standby !== true && !MAY_ASK.test(text)) return false;
    const { hint, characteristics, isForPrimary } = this.#wishOf(text);
    if (isForPrimary) return false;
    if (characteristics !== null) return this.wantsTransaction(characteristics, hint, session);
    return this.wantsStatement(hint, session);
  }

  wantsStatement(hint: boolean | null, { standby, isSerializable }: SessionWish): boolean {
    return (hint ?? standby) === true && !isSerializable;
  }

  /** `characteristics`: as BEGIN has them; a standby has no SERIALIZABLE. */
  wantsTransaction(characteristics: string, hint: boolean | null, session: SessionWish): boolean {
    const isolation = lastOf(characteristics, /SERIALIZABLE|REPEATABLE READ|READ (?:UN)?COMMITTED/g);
    const isSerializable = isolation === null ? session.isSerializable : isolation === "SERIALIZABLE";
    if (isSerializable || characteristics.includes("READ WRITE")) return false;
    const hinted = hint ?? session.standby;
    if (hinted !== null) return hinted;
    return this.#reads === "read_only" && (characteristics.includes("READ ONLY") || session.isReadOnly);
  }

  #wishOf(text: string): TextWish {
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    const wish = read(text);
    if (text.length > REMEMBERED_CHARACTERS_MAX) return wish;
    this.#known.set(text, wish);
    if (this.#known.size > TEXTS_MAX) {
      const [oldest] = this.#known.keys();
      this.#known.delete(oldest!);
    }
    return wish;
  }
}

/** Whether `text`, or what is done to the session with it, has to be done on the primary. */
export const isForPrimary = (text: string, effects: readonly SessionEffect[]): boolean =>
  effects.some(({ kind }) => kind !== "setLocal" && kind !== "execute") ||
  PRIMARY_ONLY.test(withoutComments(text));

/** What a standby would do all the same, and should not: what keeps the client there, and locks that nobody else sees. */
export const isBeyondStandby = (text: string, effects: readonly SessionEffect[]): boolean =>
  effects.some(({ kind }) => kind === "pin") || ADVISORY.test(text);

/** What `text` says of standbys to a router; throws a Fault for hints that differ. */
export function aboutStandbys(text: string, effects: readonly SessionEffect[]): AboutStandbys {
  const standby = standbyHint(text);
  return {
    ...(standby !== null && { standby }),
    ...(isForPrimary(text, effects) && { isForPrimary: true }),
    ...(isBeyondStandby(text, effects) && { isBeyondStandby: true }),
  };
}

/** What `settings` in their canonical form say (pool/settings.ts). */
export function sessionWish(settings: string): SessionWish {
  if (settings === "") return NO_WISH;
  const standby = settingIn(settings, "pgxa.standby");
  return {
    standby: standby === null ? null : readBoolean(standby.trim()),
    isReadOnly: isOn(settingIn(settings, "default_transaction_read_only") ?? ""),
    isSerializable: settingIn(settings, "default_transaction_isolation")?.toLowerCase() === "serializable",
  };
}

/** As Postgres reads a boolean; null for what is none. */
export function readBoolean(value: string): boolean | null {
  if (/^(?:on|t|tr|tru|true|y|ye|yes|1)$/i.test(value)) return true;
  return /^(?:of|off|f|fa|fal|fals|false|n|no|0)$/i.test(value) ? false : null;
}

const isOn = (value: string): boolean => readBoolean(value.trim()) === true;

/** A quote within a value is doubled there, so that nothing in it looks like this. */
const settingIn = (settings: string, name: string): string | null =>
  new RegExp(`set_config\\('${name.replace(".", "\\.")}', '([^']*)'`).exec(settings)?.[1] ?? null;

const lastOf = (text: string, pattern: RegExp): string | null => text.match(pattern)?.at(-1) ?? null;

function read(text: string): TextWish {
  try {
    const statements = parse(text);
    const effects = statements.flatMap(({ node, sql }) => effectsOf(node, sql));
    if (isForPrimary(text, effects) || !isWhole(statements)) return FOR_PRIMARY;
    const [first] = statements;
    const isBlock = first?.node.type === "TransactionStmt";
    const characteristics = isBlock ? renderCharacteristics(nodes(first.node.fields, "options")) : null;
    return { hint: standbyHint(text), characteristics, isForPrimary: false };
  } catch {
    return FOR_PRIMARY; // which says what is wrong
  }
}

const BEGINS = /^TRANS_STMT_(?:BEGIN|START)$/;
const ENDS = /^TRANS_STMT_(?:COMMIT|ROLLBACK)$/;
const WITHIN = /^TRANS_STMT_(?:SAVEPOINT|RELEASE|ROLLBACK_TO)$/;

/** Whether what `statements` say of transactions is of one: a beginning before all others, an end behind them. */
function isWhole(statements: readonly ParsedStatement[]): boolean {
  let hasBegun = false;
  return statements.every(({ node: { type, fields } }, i) => {
    if (type !== "TransactionStmt") return true;
    const kind = textOf(fields, "kind");
    if (i === 0) return (hasBegun = BEGINS.test(kind));
    if (!hasBegun) return false;
    return WITHIN.test(kind) || (ENDS.test(kind) && i === statements.length - 1 && !flag(fields, "chain"));
  });
}
