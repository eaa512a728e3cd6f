// Pure.
/**
 * What a statement may do to the session of whose text only pieces are seen, one after the other.
 *
 * It cannot be parsed. So it is taken to do whatever a pooler undoes or asks of the shard anyway (settings, LISTEN,
 * NOTIFY), and for what cannot be carried (temporary tables, advisory locks, …) its text is searched for the words
 * without which there is none of it. A word in a giant string is found as well: then the shard is asked whether there is
 * such state, where it can be asked, and the client stays on its connection for nothing where it cannot. Of those last,
 * LOAD and PREPARE, more than the one word has to match.
 *
 * Words may be cut by the end of a piece, so the end of each is searched again with the next one.
 */
import type { PinReason, SessionEffect } from "../routing/plan.ts";

/** What no pattern below exceeds, in characters. */
const OVERLAP = 512;

/** A LOAD is followed by a string; by comments or much space before it too. */
const LOAD = /\bload(?=\s*(?:['$]|e'|u&'|\/\*|--)|\s{128})/i;
/** A PREPARE is followed by a name, and that by types or AS. */
const PREPARE =
  /\bprepare(?=\s*(?:"|\/\*|--|[\w$\x80-\xff]{1,80}(?:\s*(?:\(|as\b|\/\*|--)|\s{128})|[\w$\x80-\xff]{81})|\s{128})/i;

const PINS: readonly (readonly [PinReason, RegExp])[] = [
  ["temporary table", /\btemp|pg_temp/i],
  ["hold cursor", /\bdeclare\b/i],
  ["advisory lock", /advisory/i],
  ["load", LOAD],
  ["prepare", PREPARE],
];
const SCHEMA = /\b(?:create|alter|drop|import|do|call)\b/i;
const FORGET = /\b(?:deallocate|discard)\b/i;

/** What is cheap to take care of, and so taken for granted. */
const ALWAYS: readonly SessionEffect[] = [
  { kind: "set", name: "*", sql: null },
  { kind: "setLocal", sql: "" },
  { kind: "listen", channel: "" },
  { kind: "notify" },
];

/** What a statement may have done. */
export interface GiantFindings {
  readonly effects: readonly SessionEffect[];
  /** Whether prepared statements may be gone from the connection. */
  readonly mayHaveForgotten: boolean;
}

export class GiantMessageSearch {
  readonly #onFound: (found: GiantFindings) => void;
  #pins = PINS;
  readonly #effects: SessionEffect[] = [...ALWAYS];
  #changesSchema = false;
  #mayHaveForgotten = false;
  #tail = "";

  /** `onFound` is called once, when the text has ended. */
  constructor(onFound: (found: GiantFindings) => void) {
    this.#onFound = onFound;
  }

  take(chunk: Buffer, start: number, end: number): void {
    const text = this.#tail + chunk.toString("latin1", start, end);
    this.#pins = this.#pins.filter(([reason, pattern]) => {
      if (!pattern.test(text)) return true;
      this.#effects.push({ kind: "pin", reason });
      return false;
    });
    this.#changesSchema ||= SCHEMA.test(text);
    this.#mayHaveForgotten ||= FORGET.test(text);
    this.#tail = text.slice(-OVERLAP);
  }

  finish(): void {
    if (this.#changesSchema) this.#effects.push({ kind: "schema" });
    this.#onFound({ effects: this.#effects, mayHaveForgotten: this.#mayHaveForgotten });
  }
}
