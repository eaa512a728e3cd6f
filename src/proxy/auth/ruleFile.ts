// Pure.
/**
 * What pg_hba.conf and pg_ident.conf have in common: lines of fields, a field being one or more words with commas in
 * between; quotes, which take a word's special meaning away; comments; lines continued by a backslash; files that
 * include others. Files are read through a `Files`, so that nothing here touches a disk.
 *
 * Everything wrong is collected, each with its file and line.
 * https://www.postgresql.org/docs/current/auth-pg-hba-conf.html
 */

export interface Files {
  /** The text of a file; null if it cannot be read. */
  read(path: string): string | null;
  /** The names in a directory; null if it cannot be read. */
  list(path: string): readonly string[] | null;
  /** `path` as it is meant in the file `from`. */
  resolve(from: string, path: string): string;
}

export interface Word {
  readonly text: string;
  /** A quoted word is a name, whatever it says. */
  readonly isQuoted: boolean;
}

export type Field = readonly Word[];

export interface RuleLine {
  readonly file: string;
  /** 1-based; of a continued line, its first. */
  readonly line: number;
  readonly fields: readonly Field[];
}

export interface FileProblem {
  readonly file: string;
  readonly line: number;
  readonly says: string;
}

export interface RuleLines {
  readonly lines: readonly RuleLine[];
  readonly problems: readonly FileProblem[];
}

/** Files may include files, this deep. */
const DEPTH_MAX = 10;
const BLANK = /[ \t\f\v\r]/;

/** The lines of `path` and of all that it includes, in their order. */
export function readRuleFile(path: string, files: Files): RuleLines {
  const reader = new RuleFileReader(files);
  reader.file(path, 0, null);
  return reader;
}

class RuleFileReader implements RuleLines {
  readonly lines: RuleLine[] = [];
  readonly problems: FileProblem[] = [];
  readonly #files: Files;

  constructor(files: Files) {
    this.#files = files;
  }

  /** `by`: the line that includes it. */
  file(path: string, depth: number, by: RuleLine | null): void {
    const text = this.#files.read(path);
    const [file, line] = by === null ? [path, 0] : [by.file, by.line];
    if (text === null) return this.#wrong({ file, line }, `cannot read the file ${path}`);
    if (depth > DEPTH_MAX)
      return this.#wrong({ file, line }, `files are included more than ${DEPTH_MAX} deep`);
    for (const logical of logicalLines(text)) {
      const words = this.#fields(logical, path);
      if (words !== null && words.length > 0)
        this.#take({ file: path, line: logical.line, fields: words }, depth);
    }
  }

  #take(line: RuleLine, depth: number): void {
    const [first, second] = line.fields;
    const [word] = first!;
    const isInclude = word!.isQuoted ? null : /^include(_if_exists|_dir)?$/.exec(word!.text);
    if (isInclude === null) {
      this.lines.push({ ...line, fields: line.fields.map((field) => this.#expanded(field, line, depth)) });
      return;
    }
    if (line.fields.length !== 2 || second!.length !== 1)
      return this.#wrong(line, `${word!.text} takes one name`);
    const target = this.#files.resolve(line.file, second![0]!.text);
    if (isInclude[1] === "_dir") return this.#directory(target, depth, line);
    if (isInclude[1] === "_if_exists" && this.#files.read(target) === null) return;
    this.file(target, depth + 1, line);
  }

  #directory(path: string, depth: number, by: RuleLine): void {
    const names = this.#files.list(path);
    if (names === null) return this.#wrong(by, `cannot read the directory ${path}`);
    const chosen = names.filter((name) => name.endsWith(".conf") && !name.startsWith("."));
    for (const name of chosen.toSorted()) this.file(this.#files.resolve(`${path}/.`, name), depth + 1, by);
  }

  /** The field with `@file` replaced by the words in that file. */
  #expanded(field: Field, line: RuleLine, depth: number): Field {
    return field.flatMap((word) => {
      if (word.isQuoted || !word.text.startsWith("@") || word.text.length === 1) return [word];
      const path = this.#files.resolve(line.file, word.text.slice(1));
      const text = depth < DEPTH_MAX ? this.#files.read(path) : null;
      if (text === null) {
        this.#wrong(line, `cannot read the file ${path}`);
        return [];
      }
      return logicalLines(text).flatMap((logical) => {
        const fields = this.#fields(logical, path) ?? [];
        return fields.flatMap((inner) => this.#expanded(inner, { ...line, file: path }, depth + 1));
      });
    });
  }

  #fields({ line, text }: LogicalLine, file: string): readonly Field[] | null {
    const fields = splitFields(text);
    if (fields === null) this.#wrong({ file, line }, "a quote is not closed");
    return fields;
  }

  #wrong({ file, line }: Pick<FileProblem, "file" | "line">, says: string): void {
    this.problems.push({ file, line, says });
  }
}

interface LogicalLine {
  readonly line: number;
  readonly text: string;
}

/** Lines with those joined that end in a backslash. */
function logicalLines(text: string): readonly LogicalLine[] {
  const logical: LogicalLine[] = [];
  const lines = text.split("\n").map((line) => line.replace(/\r+$/, ""));
  for (let i = 0; i < lines.length; i += 1) {
    const line = i + 1;
    let joined = lines[i]!;
    while (joined.endsWith("\\") && i + 1 < lines.length) joined = joined.slice(0, -1) + lines[(i += 1)]!;
    logical.push({ line, text: joined.endsWith("\\") ? joined.slice(0, -1) : joined });
  }
  return logical;
}

/** The fields of a line; null if a quote is not closed. */
function splitFields(text: string): readonly Field[] | null {
  const fields: Word[][] = [];
  let continues = false;
  for (let at = 0; ; ) {
    while (at < text.length && (BLANK.test(text[at]!) || (continues && text[at] === ","))) at += 1;
    if (at >= text.length || text[at] === "#") return fields;
    const taken = takeWord(text, at);
    if (taken === null) return null;
    const { word, end } = taken;
    if (continues) fields.at(-1)!.push(word);
    else fields.push([word]);
    continues = text[end] === ",";
    at = continues ? end + 1 : end;
  }
}

function takeWord(text: string, from: number): { readonly word: Word; readonly end: number } | null {
  let word = "";
  let isQuoted = false;
  let isInside = false;
  let at = from;
  for (; at < text.length; at += 1) {
    const letter = text[at]!;
    if (letter === '"') {
      if (isInside && text[at + 1] === '"') {
        word += '"';
        at += 1;
        continue;
      }
      isInside = !isInside;
      if (at === from) isQuoted = true;
      continue;
    }
    if (!isInside && (BLANK.test(letter) || letter === "," || letter === "#")) break;
    word += letter;
  }
  return isInside ? null : { word: { text: word, isQuoted }, end: at };
}
