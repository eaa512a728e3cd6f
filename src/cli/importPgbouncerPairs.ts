// Pure.
/** Settings of PgBouncer's one by one: carried over as the table of keys says, or a note of why not. */
import type { IniEntry } from "./importPgbouncerIni.ts";
import { type KeyMapping, pgbouncerKey } from "./importPgbouncerKeys.ts";
import { convert } from "./importPgbouncerValue.ts";
import { type Block, put } from "./importPgbouncerYaml.ts";

export interface Note {
  readonly kind: "none" | "different" | "needless";
  readonly file: string;
  readonly line: number;
  /** The key, with its database or user. */
  readonly what: string;
  readonly says: string;
}

export type Say = (kind: Note["kind"], entry: IniEntry, what: string, says: string) => void;

/** The text for the YAML file; null, and that is said, if there is none. */
export function converted(
  mapping: KeyMapping,
  entry: IniEntry,
  what: string,
  value: string,
  say: Say,
): string | null {
  const result = convert(mapping, value);
  if (!result.ok) {
    say("none", entry, what, `${result.says}.`);
    return null;
  }
  const said = [result.says, mapping.says].filter((text) => text !== null && text !== "");
  if (said.length > 0) say("different", entry, what, said.join(" "));
  return result.text;
}

/** A key of an entry of [databases] or [users]. */
export function takePair(
  block: Block,
  section: "databases" | "users",
  entry: IniEntry,
  key: string,
  value: string,
  say: Say,
): void {
  const what = `[${section}] ${entry.key} ${key}`;
  const mapping = pgbouncerKey(section, key);
  if (mapping === undefined) return say("none", entry, what, "is no setting of PgBouncer.");
  if (mapping.path === null) return say("none", entry, what, mapping.says);
  if (mapping.kind === "special") return;
  const text = converted(mapping, entry, what, value, say);
  if (text !== null) put(block, mapping.path.slice(mapping.path.indexOf(".") + 1), text);
}
