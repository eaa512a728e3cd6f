// Pure.
/**
 * The cheap look: whether a statement's text may do to the session what a pooler has to know of.
 *
 * It errs on one side only: a text for which it says no has no such effect that can be seen in the text. It looks
 * at the first word of each statement, and anywhere for the functions and the word that matter. What it finds is
 * then asked of the parser, and remembered by text.
 */
import { withoutComments } from "./comments.ts";
import { effectsOf } from "./effects.ts";
import { parse } from "./parse.ts";
import type { SessionEffect } from "./plan.ts";

/** Takes time in proportion to the text: the space behind one semicolon is never that behind another. */
const FIRST_WORDS =
  /(?:^|;)\s*(?:set|reset|discard|listen|unlisten|load|declare|close|prepare|deallocate|do|call|create|alter|drop|import)\b/i;
const ANYWHERE = /set_config|advisory|\btemp|pg_temp|notify|\bexecute\b/i;

/** Longer texts are read each time. */
const TEXT_CHARACTERS_MAX = 16_384;

/** Whether `text` may change settings or the schema, or make state that cannot be carried; false for ordinary statements. */
export const sessionEffectsMayApply = (text: string): boolean =>
  ANYWHERE.test(text) || FIRST_WORDS.test(withoutComments(text));

/** The effects of `text`, all of its statements together; none if the parser does not understand it. */
export class SessionLook {
  readonly #known = new Map<string, readonly SessionEffect[]>();
  readonly #textsMax: number;

  /** Remembers the effects of `textsMax` texts, the ones seen first go first. */
  constructor(textsMax = 1_000) {
    this.#textsMax = textsMax;
  }

  effects(text: string): readonly SessionEffect[] {
    if (!sessionEffectsMayApply(text)) return NONE;
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    const effects = read(text);
    if (text.length > TEXT_CHARACTERS_MAX) return effects;
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

/** Whether a PREPARE among other statements was done cannot be told from their common answer. */
const ofOneAmongSeveral = (effect: SessionEffect): SessionEffect =>
  effect.kind === "prepare" ? { kind: "pin", reason: "prepare" } : effect;

const UNKNOWN: readonly SessionEffect[] = [{ kind: "set", name: "*", sql: null }];
