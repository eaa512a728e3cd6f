// Pure.
/**
 * PgBouncer's files as they are written: the ini with its connection strings and includes, and the list of users.
 *
 * https://www.pgbouncer.org/config.html
 */

export interface IniEntry {
  readonly section: string;
  readonly key: string;
  readonly value: string;
  readonly file: string;
  readonly line: number;
}

export interface IniProblem {
  readonly file: string;
  readonly line: number;
  readonly says: string;
}

export interface Ini {
  readonly entries: readonly IniEntry[];
  readonly problems: readonly IniProblem[];
}

/** How deep files may include one another. */
const INCLUDES_MAX = 10;

/** `read` gives the text of an included file, named as it is in the file that includes it; null if there is none. */
export function readIni(file: string, text: string, read: (name: string) => string | null): Ini {
  const entries: IniEntry[] = [];
  const problems: IniProblem[] = [];
  let section = "";
  const take = (from: string, content: string, depth: number): void => {
    for (const [i, raw] of content.split(/\r?\n/).entries()) {
      const [line, at] = [raw.trim(), { file: from, line: i + 1 }];
      if (line === "" || line.startsWith(";") || line.startsWith("#")) continue;
      const included = /^%include\s+(\S.*)$/.exec(line)?.[1];
      const header = /^\[([^\]]*)\]$/.exec(line)?.[1];
      const pair = /^("(?:[^"]|"")*"|[^=\s]+)\s*=\s*(.*)$/.exec(line);
      if (included !== undefined) {
        const inner = depth < INCLUDES_MAX ? read(included) : null;
        if (inner === null) problems.push({ ...at, says: `${included} cannot be read` });
        else take(included, inner, depth + 1);
      } else if (header !== undefined) section = header.trim();
      else if (pair !== null) entries.push({ section, key: unquoted(pair[1]!), value: pair[2]!, ...at });
      else problems.push({ ...at, says: "is no line of an ini file" });
    }
  };
  take(file, text, 0);
  return { entries, problems };
}

const unquoted = (name: string): string =>
  name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name;

/** `host=a password='it''s'` as pairs; null if that is not what it is. */
export function readConnectionString(text: string): ReadonlyMap<string, string> | null {
  const pairs = new Map<string, string>();
  const pair = /\s*([A-Za-z_][A-Za-z_0-9]*)\s*=\s*(?:'((?:[^']|'')*)'|([^\s']*))(?=\s|$)/y;
  while (text.slice(pair.lastIndex).trim() !== "") {
    const match = pair.exec(text);
    if (match === null) return null;
    pairs.set(match[1]!, match[2]?.replaceAll("''", "'") ?? match[3] ?? "");
  }
  return pairs;
}

export interface ListedUser {
  readonly name: string;
  readonly secret: string;
}

/** `"name" "secret"`, a line each; what follows is ignored, as PgBouncer does. */
export function readUserList(text: string): readonly ListedUser[] {
  return text.split(/\r?\n/).flatMap((line) => {
    const match = /^\s*"((?:[^"]|"")*)"\s+"((?:[^"]|"")*)"/.exec(line);
    return match === null
      ? []
      : [{ name: match[1]!.replaceAll('""', '"'), secret: match[2]!.replaceAll('""', '"') }];
  });
}
