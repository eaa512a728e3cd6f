// Pure.
/**
 * Reading PostgreSQL's syntax tree as libpg-query gives it: JSON in which every node is an object with one key, its
 * type, and fields that have their default value are left out.
 */

export type Fields = { readonly [name: string]: unknown };

export interface Node {
  readonly type: string;
  readonly fields: Fields;
}

const NONE: Fields = {};

/** The node in a value of the tree; null if it holds none. */
export function nodeOf(value: unknown): Node | null {
  if (typeof value !== "object" || value === null) return null;
  for (const type in value) return { type, fields: (value as Record<string, Fields>)[type] ?? NONE };
  return null;
}

export const node = (fields: Fields, name: string): Node | null => nodeOf(fields[name]);

/** The nodes of a list, empty if there is none. */
export function nodes(fields: Fields, name: string): readonly Node[] {
  const value = fields[name];
  return Array.isArray(value) ? value.map((entry) => nodeOf(entry)).filter((entry) => entry !== null) : [];
}

/** A field that is a struct without a type of its own. */
export const struct = (fields: Fields, name: string): Fields | null => {
  const value = fields[name];
  return typeof value === "object" && value !== null ? (value as Fields) : null;
};

export const text = (fields: Fields, name: string): string => {
  const value = fields[name];
  return typeof value === "string" ? value : "";
};

export const flag = (fields: Fields, name: string): boolean => fields[name] === true;

export const integer = (fields: Fields, name: string): number => {
  const value = fields[name];
  return typeof value === "number" ? value : 0;
};

/** The strings of a list of String nodes, such as the parts of a qualified name. */
export const strings = (fields: Fields, name: string): readonly string[] =>
  nodes(fields, name).map((entry) => text(entry.fields, "sval"));

/** Visits every node below `value`, parents first; `visit` may return false to leave what is below alone. */
export function walk(value: unknown, visit: (found: Node) => boolean | undefined): void {
  if (Array.isArray(value)) {
    for (const entry of value) walk(entry, visit);
    return;
  }
  if (typeof value !== "object" || value === null) return;
  for (const [name, inner] of Object.entries(value)) {
    const isNode =
      /^[A-Z]/.test(name) && typeof inner === "object" && inner !== null && !Array.isArray(inner);
    if (isNode && visit({ type: name, fields: inner as Fields }) === false) continue;
    walk(inner, visit);
  }
}
