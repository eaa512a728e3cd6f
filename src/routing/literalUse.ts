// Pure.
/**
 * What of a statement's literals its plan depends on, noted while it is planned.
 *
 * Each constant of the syntax tree that comes from a literal is replaced by one that knows when it is read. So nobody
 * has to remember that a plan which is used for other literals too must not depend on them: a value that is
 * read is noted, by whomever. What is said of it when it is read (it is a shard key; it is asked one question) can
 * be found out again for other literals. Of a value that is simply read nothing is known, and the plan is that text's alone.
 */
import type { KeyType } from "../config/config.ts";
import type { StatementScan } from "./statementScan.ts";
import { PART } from "./statementScan.ts";
import { type Fields, integer, struct, text as textOf } from "./syntax.ts";

/** A question about the text of a string. */
export type StringTest = (value: string) => boolean;

export interface LiteralUse {
  /** Whether it is a constant of the syntax tree: what is none may decide what kind of tree it is. */
  isConstant: boolean;
  /** Whether a minus before it is part of the constant. */
  isNegated: boolean;
  isRead: boolean;
  readonly keyTypes: Set<KeyType>;
  readonly tests: Map<StringTest, boolean>;
}

const MINUS_BEFORE = /-[ \t\n\r\f\v]*$/;

const newUse = (isConstant: boolean): LiteralUse => ({
  isConstant,
  isNegated: false,
  isRead: false,
  keyTypes: new Set(),
  tests: new Map(),
});

/** The fields of an A_Const; what walks a tree finds nothing in them. */
class LiteralFields {
  readonly [name: string]: unknown;
  readonly #fields: Fields;
  readonly #use: LiteralUse;

  constructor(fields: Fields, use: LiteralUse) {
    this.#fields = fields;
    this.#use = use;
  }

  get sval(): unknown {
    return this.#read("sval");
  }

  get ival(): unknown {
    return this.#read("ival");
  }

  get fval(): unknown {
    return this.#read("fval");
  }

  get bsval(): unknown {
    return this.#read("bsval");
  }

  get boolval(): unknown {
    return this.#read("boolval");
  }

  get isnull(): unknown {
    return this.#fields.isnull;
  }

  /** Its own fields, for one who says what they are read for. */
  as(note: (use: LiteralUse) => void): Fields {
    note(this.#use);
    return this.#fields;
  }

  #read(name: string): unknown {
    this.#use.isRead = true;
    return this.#fields[name];
  }
}

/** The fields of a constant, which are looked at to find out whether it may be a key: that depends on its kind alone. */
export const readKind = (fields: Fields): Fields =>
  fields instanceof LiteralFields ? fields.as(() => {}) : fields;

/** Notes that the constant with these fields is a shard key. */
export function noteKey(fields: Fields, keyType: KeyType): void {
  if (fields instanceof LiteralFields) fields.as((use) => use.keyTypes.add(keyType));
}

/** The answer to `test` for a constant; false for one that is no string. */
export function testString(fields: Fields, test: StringTest): boolean {
  const string = struct(readKind(fields), "sval");
  if (string === null) return false;
  const result = test(textOf(string, "sval"));
  if (fields instanceof LiteralFields) fields.as((use) => use.tests.set(test, result));
  return result;
}

/** Follows the use of the literals that a scan has found in a text. */
export class LiteralUses {
  /** What was noted of each literal; comments are among them, of which nothing is. */
  readonly uses: readonly LiteralUse[];
  readonly #byLocation = new Map<number, LiteralUse>();
  /** The place of a negative number is that of its minus. */
  readonly #negated = new Map<number, LiteralUse>();
  /** The text with an empty string in place of each literal. */
  readonly normalised: string;
  #isComplete = false;

  constructor(text: string, { count, starts, ends, kinds }: StatementScan) {
    const uses: LiteralUse[] = [];
    let normalised = "";
    let from = 0;
    let location = 0; // which counts bytes
    for (let i = 0; i < count; i += 1) {
      const [start, end] = [starts[i]!, ends[i]!];
      const between = text.slice(from, start);
      const isComment = kinds[i] === PART.comment;
      const use = newUse(isComment);
      location += Buffer.byteLength(between);
      const minus = MINUS_BEFORE.exec(between);
      // The E of E'…' is in front of what was found.
      if (!isComment) this.#byLocation.set(kinds[i] === PART.escapeString ? location - 1 : location, use);
      if (minus !== null) this.#negated.set(location - minus[0].length, use);
      location += Buffer.byteLength(text.slice(start, end));
      normalised += between + (isComment ? " " : "''");
      from = end;
      uses.push(use);
    }
    this.uses = uses;
    this.normalised = normalised + text.slice(from);
  }

  /** Whether the use of all literals has been followed. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** Puts what notes its use in place of each constant in `tree`, that of all of the text. */
  follow(tree: unknown): void {
    this.#replaceIn(tree);
    this.#isComplete = true;
  }

  #replaceIn(tree: unknown): void {
    if (typeof tree !== "object" || tree === null) return;
    if (Array.isArray(tree)) {
      for (const entry of tree) this.#replaceIn(entry);
      return;
    }
    const fields = tree as Record<string, unknown>;
    const constant = fields.A_Const;
    if (typeof constant === "object" && constant !== null) {
      const use = this.#useAt(integer(constant as Fields, "location"));
      if (use !== null) fields.A_Const = new LiteralFields(constant as Fields, use);
      return;
    }
    for (const name in fields) this.#replaceIn(fields[name]);
  }

  #useAt(location: number): LiteralUse | null {
    const use = this.#byLocation.get(location);
    const negated = this.#negated.get(location);
    if (negated !== undefined) negated.isNegated = true;
    const found = use ?? negated ?? null;
    if (found !== null) found.isConstant = true;
    return found;
  }
}
