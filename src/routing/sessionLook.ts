// Pure.
/**
 * The cheap look: whether a statement's text may do to the session what a pooler has to know of.
 *
 * It errs on one side only: a text for which it says no has no such effect that can be seen in the text. It looks
 * at the first word of each statement, and anywhere for the functions and the words that matter. What it finds is
 * then asked of the parser, and remembered by text.
 *
 * The parser takes a microsecond for every few characters, in which no other client is served. So of a long text only
 * those statements go there that have such a word outside their strings and comments.
 */
import { mayHaveComments, withoutComments } from "./comments.ts";
import { effectsOf } from "./effects.ts";
import { parse } from "./parse.ts";
import type { SessionEffect } from "./plan.ts";
import { splitStatements } from "./statementSplit.ts";

const FIRST_WORDS =
  "\\s*(?:set|reset|discard|listen|unlisten|notify|load|declare|close|prepare|deallocate|do|call|create|alter|drop|import)\\b";
const FIRST = new RegExp(`^${FIRST_WORDS}`, "i");
/** Takes time in proportion to the text: the space behind one semicolon is never that behind another. */
const BEHIND_SEMICOLON = new RegExp(`;${FIRST_WORDS}`, "i");
/**
 * The functions, the schema of what is temporary, EXECUTE within EXPLAIN, names written in code points, and SELECT INTO
 * TEMP; but INSERT INTO temp has a table of that name.
 */
const ANYWHERE =
  /set_config|advisory_(?:un)?lock|pg_temp|pg_notify|\bexecute\b|u&"|into(?<!(?:^|;)\s*(?:insert|merge)\s+into)\s+(?:(?:local|global)\s+)?temp(?:orary)?\b/i;

/** Of longer texts the parser gets only the statements that matter. */
const WHOLE_CHARACTERS_MAX = 4_096;
/** Longer texts are read each time. */
const REMEMBERED_CHARACTERS_MAX = 16_384;

/** Whether `text` may change settings or the schema, or make state that cannot be carried; false for ordinary statements. */
export function sessionEffectsMayApply(text: string): boolean {
  const code = withoutComments(text);
  const semicolon = code.indexOf(";");
  const hasSecond = semicolon >= 0 && semicolon < code.length - 1;
  return FIRST.test(code) || (hasSecond && BEHIND_SEMICOLON.test(code)) || ANYWHERE.test(code);
}

/** The effects of `text`, all of its statements together; none if the parser does not understand it. */
export class SessionLook {
  readonly #known = new Map<string, readonly SessionEffect[]>();
  readonly #textsMax: number;

  /** Remembers the effects of `textsMax` texts, the ones seen first go first. */
  constructor(textsMax = 1_000) {
    this.#textsMax = textsMax;
  }

  effects(text: string): readonly SessionEffect[] {
    if (text.length > REMEMBERED_CHARACTERS_MAX) return readLong(text);
    if (!sessionEffectsMayApply(text)) return NONE;
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    const effects = text.length > WHOLE_CHARACTERS_MAX ? readLong(text) : read(text);
    this.#known.set(text, effects);
    if (this.#known.size > this.#textsMax) {
      const [oldest] = this.#known.keys();
      this.#known.delete(oldest!);
    }
    return effects;
  }
}

const NONE: readonly SessionEffect[] = [];

function read(text: string): readonly SessionEffect[] {
  try {
    const statements = parse(text);
    const effects = statements.flatMap(({ node, sql }) => effectsOf(node, sql));
    return statements.length === 1 ? effects : effects.map(ofOneAmongSeveral);
  } catch {
    return UNKNOWN; // what the shard makes of it, it knows; its settings are asked for
  }
}

/** As `read()`, with the parser asked of those statements only that may have effects. */
function readLong(text: string): readonly SessionEffect[] {
  if (!mayHaveComments(text) && !sessionEffectsMayApply(text)) return NONE;
  const statements = splitStatements(text);
  if (statements === null) return read(text);
  const effects: SessionEffect[] = [];
  for (const { start, end, code } of statements) {
    if (!sessionEffectsMayApply(code)) continue;
    const own = read(text.slice(start, end));
    if (own === UNKNOWN) return UNKNOWN; // the shard refuses all of the text
    effects.push(...(statements.length === 1 ? own : own.map(ofOneAmongSeveral)));
  }
  return effects;
}

/** Whether a PREPARE among other statements was done cannot be told from their common answer. */
const ofOneAmongSeveral = (effect: SessionEffect): SessionEffect =>
  effect.kind === "prepare" ? { kind: "pin", reason: "prepare" } : effect;

const UNKNOWN: readonly SessionEffect[] = [{ kind: "set", name: "*", sql: null }];
