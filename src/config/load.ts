/**
 * From a YAML file to the configuration, or to a list of everything that is wrong with it.
 *
 * Environment variables stand in values as `${NAME}` or `${NAME:-default}` and are put in after the file was parsed: what
 * a variable holds is a value, never structure. Keys that are no option are errors.
 */
import { readFileSync } from "node:fs";
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, type YAMLMap } from "yaml";
import { shardId } from "../base/brands.ts";
import { Fault } from "../base/fault.ts";
import type { Config, KeyType, ShardConfig, TableConfig, UserConfig } from "./config.ts";
import { crossProblems } from "./crossCheck.ts";
import { OPTIONS, type OptionSpec, optionAt } from "./options.ts";
import { configFault, nearest, type Problem } from "./problems.ts";
import { readValue, type Value } from "./values.ts";

export type Variables = Readonly<Record<string, string | undefined>>;

/** The values of one section or list entry, by the last part of their path. */
export type Section = ReadonlyMap<string, Value>;

/** What stands in the file, by section; lists by their name. */
export interface RawConfig {
  readonly root: Section;
  readonly sections: ReadonlyMap<string, Section>;
  readonly lists: ReadonlyMap<string, readonly Section[]>;
}

/** Reads the file `path`; throws a Fault (`config.invalid`). */
export function loadConfig(path: string, variables: Variables): Config {
  return parseConfig(readFile(path), path, variables);
}

/** Reads `text`, which came from `source`; throws a Fault (`config.invalid`). */
export function parseConfig(text: string, source: string, variables: Variables): Config {
  const reader = new ConfigReader(text, variables);
  const raw = reader.read();
  const problems = [...reader.problems, ...(reader.problems.length === 0 ? crossProblems(raw) : [])];
  if (problems.length > 0) throw configFault(source, problems);
  return build(raw);
}

function readFile(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Fault("config.invalid", {
      message: `cannot read the configuration file ${path}: ${reason}`,
      hint: "Give the path of a YAML file with --config.",
      cause: error,
    });
  }
}

const LISTS: readonly string[] = ["shards", "tables", "users"];

class ConfigReader {
  readonly problems: Problem[] = [];
  readonly #lines = new LineCounter();
  readonly #variables: Variables;
  readonly #text: string;

  constructor(text: string, variables: Variables) {
    this.#text = text;
    this.#variables = variables;
  }

  read(): RawConfig {
    const document = parseDocument(this.#text, { lineCounter: this.#lines, prettyErrors: false });
    for (const error of document.errors)
      this.#problemAt("", error.pos[0], `is not valid YAML: ${error.message}`, "Correct it.");
    const root = document.contents;
    const sections = new Map<string, Section>();
    const lists = new Map<string, readonly Section[]>();
    if (!isMap(root)) {
      if (this.problems.length === 0)
        this.#problemAt("", 0, "holds no options", "See config/pgxa.yaml for all of them.");
      return { root: new Map(), sections, lists };
    }
    const map = root as YAMLMap<Node, Node>;
    this.#checkKeys(map, "", topLevelNames());
    for (const name of sectionNames())
      sections.set(name, this.#section(map.get(name, true), `${name}.`, name));
    for (const name of LISTS) lists.set(name, this.#list(map.get(name, true), name));
    return { root: this.#values(map, "", ""), sections, lists };
  }

  #section(node: unknown, prefix: string, path: string): Section {
    if (isMap(node)) {
      const map = node as YAMLMap<Node, Node>;
      this.#checkKeys(map, prefix, namesUnder(prefix));
      return this.#values(map, prefix, `${path}.`);
    }
    if (node !== undefined && node !== null && !(isScalar(node) && node.value === null)) {
      this.#problemAt(
        path,
        startOf(node),
        "is not a section",
        `Put its options below it, indented: ${namesUnder(prefix).join(", ")}.`,
      );
    }
    return this.#values(null, prefix, `${path}.`);
  }

  #list(node: unknown, name: string): readonly Section[] {
    if (node === undefined || node === null) return [];
    if (!isSeq(node)) {
      this.#problemAt(name, startOf(node), "is not a list", "Begin each entry with a dash.");
      return [];
    }
    return node.items.map((item, i) => this.#section(item, `${name}[].`, `${name}[${i}]`));
  }

  /** The values of all options whose path is `prefix` and a name. */
  #values(map: YAMLMap<Node, Node> | null, prefix: string, shownPrefix: string): Section {
    const values = new Map<string, Value>();
    for (const name of namesUnder(prefix)) {
      const option = optionAt(prefix + name);
      if (option === undefined) continue;
      const node = map?.get(name, true);
      const value = this.#value(option, node, shownPrefix + name, map);
      if (value !== undefined) values.set(name, value);
    }
    return values;
  }

  #value(option: OptionSpec, node: unknown, path: string, parent: unknown): Value | undefined {
    if (node === undefined) {
      if (option.default === undefined && !option.isOptional) {
        this.#problemAt(path, startOf(parent), "is missing", option.says);
      }
      return option.default;
    }
    const raw = isScalar(node) ? this.#substitute(node.value, node, path) : undefined;
    if (raw === MISSING) return undefined;
    const reading = readValue(option, raw);
    if (reading.ok) return reading.value;
    this.#problemAt(path, startOf(node), reading.says, reading.advice);
    return undefined;
  }

  /** Puts environment variables in; `MISSING` when one is not there. */
  #substitute(value: unknown, node: unknown, path: string): unknown {
    if (typeof value !== "string") return value;
    let isMissing = false;
    const text = value.replaceAll(
      /\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g,
      (_, name: string, fallback?: string) => {
        const found = this.#variables[name] ?? fallback;
        if (found !== undefined) return found;
        isMissing = true;
        this.#problemAt(
          path,
          startOf(node),
          `needs the environment variable ${name}, which is not set`,
          `Set it, or give a default: \${${name}:-value}.`,
        );
        return "";
      },
    );
    return isMissing ? MISSING : text;
  }

  #checkKeys(map: YAMLMap<Node, Node>, prefix: string, known: readonly string[]): void {
    for (const { key } of map.items) {
      const name = isScalar(key) ? String(key.value) : "";
      if (known.includes(name)) continue;
      const meant = nearest(name, known);
      const advice = meant === null ? `Known here: ${known.join(", ")}.` : `Did you mean ${meant}?`;
      this.#problemAt(`${prefix.replace("[]", "")}${name}`, startOf(key), "is no option", advice);
    }
  }

  #problemAt(path: string, offset: number, says: string, advice: string): void {
    const { line, col } = this.#lines.linePos(offset);
    this.problems.push({ path, line, column: col, says, advice });
  }
}

const MISSING = Symbol("missing");

const startOf = (node: unknown): number => (node as Node | null | undefined)?.range?.[0] ?? 0;

/** The names of the options directly under `prefix`. */
function namesUnder(prefix: string): readonly string[] {
  const names = OPTIONS.filter(({ path }) => path.startsWith(prefix)).map(({ path }) =>
    path.slice(prefix.length),
  );
  return names.filter((name) => !/[.[]/.test(name));
}

const sectionNames = (): readonly string[] => [
  ...new Set(
    OPTIONS.filter(({ path }) => /^[a-z_]+\./.test(path)).map(({ path }) => path.slice(0, path.indexOf("."))),
  ),
];

const topLevelNames = (): readonly string[] => [...namesUnder(""), ...sectionNames(), ...LISTS];

// --- building ---

function build({ root, sections, lists }: RawConfig): Config {
  const section = (name: string): Values => new Values(sections.get(name) ?? new Map());
  const top = new Values(root);
  const [listen, auth, pool, transaction, limits, log] = [
    "listen",
    "auth",
    "pool",
    "transaction",
    "limits",
    "log",
  ].map(section);
  const database = top.text("database");
  return {
    listen: { host: listen!.text("host"), port: listen!.number("port") },
    database,
    fleet: top.text("fleet"),
    coordinator: top.text("coordinator"),
    shards: (lists.get("shards") ?? []).map((entry) => buildShard(new Values(entry), database)),
    tables: (lists.get("tables") ?? []).map((entry) => buildTable(new Values(entry))),
    users: (lists.get("users") ?? []).map((entry) => buildUser(new Values(entry))),
    auth: {
      method: auth!.text("method") as Config["auth"]["method"],
      trustLoopback: auth!.boolean("trust_loopback"),
    },
    pool: {
      min: pool!.number("min"),
      max: pool!.number("max"),
      checkoutTimeoutMs: pool!.number("checkout_timeout"),
      idleTimeoutMs: pool!.number("idle_timeout"),
      lifetimeMs: pool!.number("lifetime"),
      connectTimeoutMs: pool!.number("connect_timeout"),
      queueMax: pool!.number("queue_max"),
    },
    transaction: {
      logDirectory: transaction!.optionalText("log_directory") ?? "",
      prepareTimeoutMs: transaction!.number("prepare_timeout"),
      commitTimeoutMs: transaction!.number("commit_timeout"),
      commitAck: transaction!.text("commit_ack") as Config["transaction"]["commitAck"],
      resolveIntervalMs: transaction!.number("resolve_interval"),
    },
    limits: {
      clientsMax: limits!.number("clients_max"),
      startupTimeoutMs: limits!.number("startup_timeout"),
      startupBytesMax: limits!.number("startup_bytes_max"),
      messageBytesMax: limits!.number("message_bytes_max"),
      statementsMax: limits!.number("statements_max"),
    },
    log: { level: log!.text("level") as Config["log"]["level"] },
  };
}

function buildShard(values: Values, database: string): ShardConfig {
  return {
    id: shardId(values.text("name")),
    host: values.text("host"),
    port: values.number("port"),
    database: values.optionalText("database") ?? database,
    user: values.text("user"),
    password: values.optionalText("password"),
  };
}

function buildTable(values: Values): TableConfig {
  const { schema, name } = tableName(values.text("name"));
  const key = values.optionalText("key");
  if (key !== undefined)
    return { kind: "sharded", schema, name, key, keyType: values.text("key_type") as KeyType };
  const shard = values.optionalText("shard");
  return shard === undefined
    ? { kind: "reference", schema, name }
    : { kind: "single", schema, name, shard: shardId(shard) };
}

const buildUser = (values: Values): UserConfig => ({
  name: values.text("name"),
  password: values.optionalText("password"),
});

/** `schema.name`, or a name in public. */
export function tableName(text: string): { readonly schema: string; readonly name: string } {
  const dot = text.indexOf(".");
  return dot < 0
    ? { schema: "public", name: text }
    : { schema: text.slice(0, dot), name: text.slice(dot + 1) };
}

/** A section that has been validated. */
class Values {
  readonly #section: Section;

  constructor(section: Section) {
    this.#section = section;
  }

  text(name: string): string {
    return String(this.#section.get(name) ?? "");
  }

  optionalText(name: string): string | undefined {
    const value = this.#section.get(name);
    return value === undefined ? undefined : String(value);
  }

  number(name: string): number {
    return Number(this.#section.get(name));
  }

  boolean(name: string): boolean {
    return this.#section.get(name) === true;
  }
}
