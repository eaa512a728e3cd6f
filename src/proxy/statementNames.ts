// Pure.
/**
 * Names for statement texts, shared by all clients of a process: one for each text and list of parameter types.
 *
 * A text that clients keep sending unnamed gets a shared name once it has been seen `SIGHTINGS` times, if it means the
 * same to everyone and always (`isShareable`); then a server connection that has it prepared need not parse it again.
 * Shared names are apart from those of statements that clients named, which may be parsed anew under any settings;
 * and each is for one search_path, which decides what tables a text means and what types its parameters have.
 */

import type { Clock } from "../base/environment.ts";

/** How often an unnamed text is parsed anew before it is kept prepared. */
const SIGHTINGS = 5;
/** Longer texts are not kept: they are seldom repeated, and each connection would hold a copy. */
const SHARED_CHARACTERS_MAX = 8_192;
/**
 * How long a shared name is used, in ms. A parameter whose type the client leaves open has the type that was right when
 * the text was parsed; a column changed past pgxa is noticed by then.
 */
const LIFETIME_MS = 10_000;
/** How many unnamed texts are remembered: at the worst 80 MB of them. */
const SEEN_MAX = 10_000;
/** How many clients' settings are remembered with what matters of them. */
const SETTINGS_MAX = 1_000;

const ORDINARY = /^\s*(?:select|insert|update|delete|with|values|merge)\b/i;
/**
 * Quoted text may be a constant that Postgres reads when it parses, under the settings and at the time of then: 'now',
 * or a date in the order of DateStyle. Beyond ASCII the bytes mean what client_encoding says. $ begins a quoted text
 * too, unless a digit follows.
 */
const CONTEXTUAL = /['\u0080-\uffff]|\$(?!\d)/;

/** Whether `text` means the same whoever sends it, under whatever settings, at any time. */
export const isShareable = (text: string): boolean =>
  text.length <= SHARED_CHARACTERS_MAX && ORDINARY.test(text) && !CONTEXTUAL.test(text);

/** The settings by which Postgres reads a text without quotes, in the canonical form (pool/settings.ts). */
const READ_BY = /set_config\('(?:search_path|transform_null_equals)', *E?'(?:[^'\\]|''|\\.)*'/gi;

/** An unnamed text: how often it came, or what came of it. */
type Seen = number | { readonly sharedName: string; readonly untilMs: number };
/** The last answer about a text, kept by whoever asks again and again: to find it costs a string as long as the text. */
export interface NameMemo {
  sharedName: string;
  settings: string | null;
  untilMs: number;
  /** The count of `forget`s and the like up to which it holds. */
  epoch: number;
}

export const newMemo = (): NameMemo => ({ sharedName: "", settings: null, untilMs: 0, epoch: 0 });

const UNFIT: Seen = { sharedName: "", untilMs: Number.POSITIVE_INFINITY };

export class StatementNames {
  readonly #names = new Map<string, string>();
  readonly #seen = new Map<string, Seen>();
  readonly #contexts = new Map<string, string>();
  readonly #namesMax: number;
  readonly #sharesUnnamed: boolean;
  readonly #clock: Pick<Clock, "monotonicMs">;
  #next = 1;
  /** Grows when names are forgotten. */
  #epoch = 0;

  /** Keeps `namesMax` names, the oldest are forgotten: a new name is as good. */
  constructor(namesMax: number, sharesUnnamed: boolean, clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
    this.#namesMax = namesMax;
    this.#sharesUnnamed = sharesUnnamed;
  }

  /** The name for a statement that the client named. */
  nameOf(text: string, parameterTypes: readonly number[]): string {
    const id = idOf(text, parameterTypes, "");
    const known = this.#names.get(id);
    if (known !== undefined) return known;
    const name = this.#newName();
    this.#names.set(id, name);
    dropOldest(this.#names, this.#namesMax);
    return name;
  }

  /**
   * The name for a text that the client sent without one; empty if it is to stay without. `settings`: the client's,
   * in canonical form. `memo` is of the same text and types.
   */
  sharedNameOf(
    text: string,
    parameterTypes: readonly number[],
    settings: string,
    memo: NameMemo | null = null,
  ): string {
    if (!this.#sharesUnnamed || text.length > SHARED_CHARACTERS_MAX) return "";
    if (memo !== null && memo.settings === settings && memo.epoch === this.#epoch) {
      if (this.#clock.monotonicMs() < memo.untilMs) return memo.sharedName;
    }
    const seen = this.#look(text, parameterTypes, settings);
    if (typeof seen === "number") return "";
    if (memo !== null) {
      memo.sharedName = seen.sharedName;
      memo.settings = settings;
      memo.untilMs = seen.untilMs;
      memo.epoch = this.#epoch;
    }
    return seen.sharedName;
  }

  #look(text: string, parameterTypes: readonly number[], settings: string): Seen {
    const id = idOf(text, parameterTypes, this.#context(settings));
    const seen = this.#seen.get(id) ?? 0;
    if (typeof seen !== "number" && this.#clock.monotonicMs() < seen.untilMs) return seen;
    const next = this.#after(typeof seen === "number" ? seen : SIGHTINGS, text);
    this.#seen.set(id, next);
    dropOldest(this.#seen, Math.min(SEEN_MAX, this.#namesMax));
    return next;
  }

  /** The unnamed text is seen for the first time again. */
  forget(text: string, parameterTypes: readonly number[], settings: string): void {
    this.#epoch += 1;
    this.#seen.delete(idOf(text, parameterTypes, this.#context(settings)));
  }

  /** Every text is: tables may have changed, and with them what texts mean. */
  forgetAll(): void {
    this.#epoch += 1;
    this.#names.clear();
    this.#seen.clear();
  }

  #after(seen: number, text: string): Seen {
    if (seen < SIGHTINGS) return seen + 1;
    if (!isShareable(text)) return UNFIT;
    return { sharedName: this.#newName(), untilMs: this.#clock.monotonicMs() + LIFETIME_MS };
  }

  #newName(): string {
    const name = `pgxa_${this.#next}`;
    this.#next += 1;
    return name;
  }

  /** What of `settings` gives a text its meaning. */
  #context(settings: string): string {
    if (settings === "") return "";
    const known = this.#contexts.get(settings);
    if (known !== undefined) return known;
    const context = settings.match(READ_BY)?.join() ?? "";
    this.#contexts.set(settings, context);
    dropOldest(this.#contexts, SETTINGS_MAX);
    return context;
  }
}

/** No part can hold the byte between them. */
const idOf = (text: string, parameterTypes: readonly number[], context: string): string =>
  `${parameterTypes.join(",")}\0${context}\0${text}`;

function dropOldest(map: Map<string, unknown>, max: number): void {
  if (map.size <= max) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    return;
  }
}
