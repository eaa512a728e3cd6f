// Pure.
/**
 * What stands in the YAML file, checked option by option against the table.
 *
 * Every scalar is taken as the text that was written (YAML's failsafe schema), and the option table alone says what it
 * means: a password of `0123` or `yes` stays one. Everything wrong is collected; what is wrong in one option has no
 * value afterwards, so that nothing is said about it twice.
 */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type YAMLMap,
} from "yaml";
import { LISTS, namesUnder, type OptionSpec, optionAt, SECTIONS, topLevelNames } from "./options.ts";
import { didYouMean, type Problem } from "./problems.ts";
import { readValue, type Value } from "./values.ts";
import { substitute, type Variables } from "./variables.ts";
import { yamlSaying } from "./yamlErrors.ts";

/** The values of one section or list entry, by the last part of their path; absent if not given, or wrong. */
export type Section = ReadonlyMap<string, Value>;

/** What stands in the file, by section; lists by their name. */
export interface RawConfig {
  readonly root: Section;
  readonly sections: ReadonlyMap<string, Section>;
  readonly lists: ReadonlyMap<string, readonly Section[]>;
}

export class ConfigReader {
  readonly problems: Problem[] = [];
  readonly #lines = new LineCounter();
  readonly #variables: Variables;
  readonly #document: Document.Parsed;
  /** Where each path stands in the text. */
  readonly #offsets = new Map<string, number>();

  constructor(text: string, variables: Variables) {
    this.#variables = variables;
    this.#document = parseDocument(text, {
      lineCounter: this.#lines,
      prettyErrors: false,
      schema: "failsafe",
      logLevel: "silent",
    });
  }

  /** Null if the text is not YAML, or no map: then nothing more can be said than `problems` does. */
  read(): RawConfig | null {
    const [error] = this.#document.errors; // what follows from it are errors, too
    if (error !== undefined) {
      const { says, advice } = yamlSaying(error.code);
      this.#problemAt("", error.pos[0], says, advice);
      return null;
    }
    const root = this.#document.contents;
    if (!isMap(root)) {
      this.#problemAt("", 0, "holds no options", "See config/pgxa.yaml for all of them.");
      return null;
    }
    const map = root as YAMLMap<Node, Node>;
    this.#checkKeys(map, "", "", topLevelNames());
    const at = (name: string): Node | undefined => this.#nodeOf(map, name, name);
    return {
      root: this.#values(map, "", ""),
      sections: new Map(SECTIONS.map((name) => [name, this.#section(at(name), `${name}.`, name)])),
      lists: new Map(LISTS.map((name) => [name, this.#list(at(name), name)])),
    };
  }

  /** Adds what was found to be wrong at `path`, unless there is a problem at it, in it or around it already. */
  addProblem(path: string, says: string, advice: string): void {
    const isKnown = this.problems.some(
      (known) => known.path === path || isWithin(known.path, path) || isWithin(path, known.path),
    );
    if (!isKnown) this.#problemAt(path, this.#offsetOf(path), says, advice);
  }

  #section(node: Node | undefined, prefix: string, path: string): Section {
    if (isMap(node)) {
      const map = node as YAMLMap<Node, Node>;
      this.#checkKeys(map, prefix, path, namesUnder(prefix));
      return this.#values(map, prefix, path);
    }
    if (node === undefined || isEmpty(node)) return this.#values(null, prefix, path);
    const advice = `Give its options by name: ${namesUnder(prefix).join(", ")}.`;
    this.#problemAt(path, startOf(node), "is not a section", advice);
    return new Map();
  }

  #list(node: Node | undefined, name: string): readonly Section[] {
    if (node === undefined || isEmpty(node)) return [];
    if (!isSeq(node)) {
      this.#problemAt(name, startOf(node), "is not a list", "Begin each entry with a dash.");
      return [];
    }
    return node.items.map((item, i) => {
      const path = `${name}[${i}]`;
      const entry = this.#resolved(item as Node, path);
      this.#offsets.set(path, startOf(entry));
      return this.#section(entry, `${name}[].`, path);
    });
  }

  /** The values of all options directly under `prefix`; `path` is that of the section they are in. */
  #values(map: YAMLMap<Node, Node> | null, prefix: string, path: string): Section {
    const values = new Map<string, Value>();
    for (const name of namesUnder(prefix)) {
      const shown = path === "" ? name : `${path}.${name}`;
      const node = map === null ? undefined : this.#nodeOf(map, name, shown);
      const value = this.#value(optionAt(prefix + name)!, node, shown);
      if (value !== undefined) values.set(name, value);
    }
    return values;
  }

  #value(option: OptionSpec, node: Node | undefined, path: string): Value | undefined {
    if (node === undefined) {
      const isMissing = option.default === undefined && !option.isOptional;
      if (isMissing) this.addProblem(path, "is missing", option.says);
      return option.default;
    }
    const written = option.type === "list" ? listText(node) : scalarText(node);
    const text = written === undefined ? written : this.#substituted(written, node, path);
    if (text === null || (option.isOptional && text === "")) return undefined;
    const reading = readValue(option, text, written);
    if (reading.ok) return reading.value;
    this.#problemAt(path, startOf(node), reading.says, reading.advice);
    return undefined;
  }

  /** The text with environment variables in it; null if there is something wrong with one. */
  #substituted(written: string, node: Node, path: string): string | null {
    const { text, missing, isMalformed } = substitute(written, this.#variables);
    for (const name of missing) {
      const says = `needs the environment variable ${name}, which is not set`;
      this.#problemAt(path, startOf(node), says, `Set it, or give a default: \${${name}:-value}.`);
    }
    if (isMalformed) {
      const advice = `Write \${NAME} or \${NAME:-default}, or $\${ for a plain \${.`;
      this.#problemAt(path, startOf(node), `has a \${ that begins no environment variable`, advice);
    }
    return missing.length > 0 || isMalformed ? null : text;
  }

  #checkKeys(map: YAMLMap<Node, Node>, prefix: string, path: string, known: readonly string[]): void {
    for (const { key } of map.items) {
      const name = isScalar(key) ? String(key.value) : "";
      if (known.includes(name)) continue;
      const shown = path === "" ? name : `${path}.${name}`;
      this.#problemAt(shown, startOf(key), "is no option", didYouMean(prefix, name, known));
    }
  }

  /** The value of `name` in `map`; where it stands is noted. */
  #nodeOf(map: YAMLMap<Node, Node>, name: string, path: string): Node | undefined {
    const pair = map.items.find(({ key }) => isScalar(key) && key.value === name);
    if (pair === undefined) return undefined;
    this.#offsets.set(path, startOf(pair.value ?? pair.key));
    return pair.value === null ? undefined : this.#resolved(pair.value, path);
  }

  #resolved(node: Node, path: string): Node | undefined {
    if (!isAlias(node)) return node;
    const target = node.resolve(this.#document);
    const { says, advice } = yamlSaying("BAD_ALIAS");
    if (target === undefined) this.#problemAt(path, startOf(node), says, advice);
    return target;
  }

  /** Where `path` stands, or the nearest of what it is in. */
  #offsetOf(path: string): number {
    const around = path.replace(/(\.[^.[]+|\[\d+\])$/, "");
    return this.#offsets.get(path) ?? (around === path ? 0 : this.#offsetOf(around));
  }

  #problemAt(path: string, offset: number, says: string, advice: string): void {
    const { line, col } = this.#lines.linePos(offset);
    this.problems.push({ path, line, column: col, says, advice });
  }
}

const startOf = (node: Node | undefined): number => node?.range?.[0] ?? 0;

const scalarText = (node: Node): string | undefined => (isScalar(node) ? String(node.value) : undefined);

/** A list of scalars is as good as their text with commas in between. */
function listText(node: Node): string | undefined {
  if (!isSeq(node)) return scalarText(node);
  const texts = node.items.map((item) => scalarText(item as Node));
  return texts.every((text) => text !== undefined) ? texts.join(",") : undefined;
}

/** `name:` and nothing after it. */
const isEmpty = (node: Node): boolean => isScalar(node) && node.value === "";

const isWithin = (inner: string, outer: string): boolean =>
  inner.startsWith(`${outer}.`) || inner.startsWith(`${outer}[`);
