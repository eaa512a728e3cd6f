// Pure.
/**
 * Environment variables in values: `${NAME}`, and `${NAME:-default}` for one that is unset or empty, as in a shell.
 *
 * They are put in after the file was parsed: what a variable holds is a value, never structure, and a `${` in it
 * stays what it is. `$${` is a plain `${`. A `${` that is neither is refused, for it is most likely a mistake.
 */

export type Variables = Readonly<Record<string, string | undefined>>;

export interface Substitution {
  readonly text: string;
  /** Variables that are needed and not set. */
  readonly missing: readonly string[];
  /** Whether there is a `${` that is not the beginning of a variable. */
  readonly isMalformed: boolean;
}

const REFERENCE = /\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?/g;

/** Puts `variables` into `text`. */
export function substitute(text: string, variables: Variables): Substitution {
  const missing: string[] = [];
  let isMalformed = false;
  const replaced = text.replaceAll(REFERENCE, (found, name?: string, fallback?: string) => {
    if (found === "$${") return "${";
    if (name === undefined) {
      isMalformed = true;
      return found;
    }
    const value = variables[name];
    if (fallback !== undefined) return value === undefined || value === "" ? fallback : value;
    if (value === undefined) missing.push(name);
    return value ?? "";
  });
  return { text: replaced, missing, isMalformed };
}
