// Pure.
/**
 * The configuration in force, option by option, as SHOW CONFIG has it: what the option table names, found in the values
 * that were built from it, with secrets hidden.
 *
 * A value has its option's name there, in the way of the code: `pool.idle_timeout` is `pool.idleTimeoutMs`.
 */
import type { Config } from "./config.ts";
import { LISTS, OPTIONS, type OptionSpec, optionAt } from "./options.ts";
import { redacted } from "./redact.ts";
import { showDuration, showSize } from "./values.ts";

export interface ShownOption {
  /** As in the file; an entry of a list by its number, from 0. */
  readonly key: string;
  /** Null: it has none. */
  readonly value: string | null;
  readonly default: string | null;
  readonly isLive: boolean;
}

type Values = Readonly<Record<string, unknown>>;

export function shownOptions(config: Config): readonly ShownOption[] {
  const safe = redacted(config) as unknown as Values;
  return [
    ...OPTIONS.filter(({ path }) => !path.includes("[]")).map((spec) => {
      const [section = "", name] = spec.path.split(".");
      const values = name === undefined ? safe : (safe[camel(section)] as Values | undefined);
      return shown(spec, spec.path, asked(spec.path, safe) ?? find(values ?? {}, name ?? section));
    }),
    ...LISTS.flatMap((list) => entries(list, (safe[camel(list)] as readonly Values[] | undefined) ?? [])),
  ];
}

function entries(list: string, values: readonly Values[]): readonly ShownOption[] {
  const prefix = `${list}[].`;
  const specs = OPTIONS.filter(({ path }) => path.startsWith(prefix));
  return values.flatMap((entry, i) =>
    specs.flatMap((spec) => {
      const name = spec.path.slice(prefix.length);
      const value = nameOf(list, name, entry) ?? find(entry, name);
      return value === undefined ? [] : [shown(spec, `${list}[${i}].${name}`, value)];
    }),
  );
}

/** The options of `auth.query`, which are a value of their own, or of its default where nobody asks. */
function asked(path: string, { auth }: Values): unknown {
  const name = /^auth\.query(?:_(\w+))?$/.exec(path);
  if (name === null) return undefined;
  const query = (auth as Values)["query"] as Values | null;
  const value = query === null ? undefined : find(query, name[1] ?? "text");
  return (
    value ?? (name[1] === "connections" ? query?.["connectionsMax"] : undefined) ?? optionAt(path)?.default
  );
}

/** What is called otherwise in the code. */
function nameOf(list: string, name: string, entry: Values): unknown {
  if (list === "shards" && name === "name") return entry["id"];
  if (list === "classes") {
    const patterns =
      entry[{ user: "users", database: "databases", application_name: "applications" }[name] ?? ""];
    return Array.isArray(patterns) ? patterns.join(", ") : undefined;
  }
  const own = /^(tls)_(.+)$/.exec(name) ?? /^(?:(.+)_)?timeout$/.exec(name);
  if (own?.[1] === "tls") return find((entry["tls"] ?? {}) as Values, own[2] ?? "");
  if (own?.[1] !== undefined) return find((entry["timeouts"] ?? {}) as Values, own[1]);
  if (list === "shards" && name === "tls") return (entry["tls"] as Values | undefined)?.["mode"];
  if (list !== "tables") return undefined;
  if (name === "name") return `${entry["schema"]}.${entry["name"]}`;
  return name === "reference" && entry["kind"] === "reference" ? true : undefined;
}

const camel = (name: string): string =>
  name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

const find = (values: Values, name: string): unknown => values[camel(name)] ?? values[`${camel(name)}Ms`];

function shown(spec: OptionSpec, key: string, value: unknown): ShownOption {
  const text = value === undefined || value === "" ? null : written(spec, value);
  const standard = spec.default === undefined ? null : written(spec, spec.default);
  return { key, value: text, default: standard, isLive: spec.isLive ?? false };
}

function written({ type }: OptionSpec, value: unknown): string {
  if (typeof value === "object") return JSON.stringify(value);
  if (type === "duration") return showDuration(Number(value));
  return type === "size" ? showSize(Number(value)) : String(value);
}
