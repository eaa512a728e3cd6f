// Pure.
/**
 * A file of users in the syntax of PgBouncer's userlist.txt: `"user" "secret"` a line, a quote within written twice,
 * comments after a semicolon or `#`. What follows the secret on a line is not looked at, as PgBouncer does.
 * https://www.pgbouncer.org/config.html#authentication-file-format
 */
import type { FileProblem } from "./ruleFile.ts";

export interface UsersFile {
  /** Secrets by user. */
  readonly users: ReadonlyMap<string, string>;
  /** They quote nothing of what stands in the file, for it may be a password. */
  readonly problems: readonly FileProblem[];
}

const ENTRY = /^\s*"((?:[^"]|"")*)"\s+"((?:[^"]|"")*)"/;
const NOTHING = /^\s*(?:[;#]|$)/;

/** The users in `text`, which stands in `file`. */
export function readUsers(text: string, file: string): UsersFile {
  const users = new Map<string, string>();
  const problems: FileProblem[] = [];
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    if (NOTHING.test(line)) continue;
    const [, name, secret] = ENTRY.exec(line) ?? [];
    const wrong = (says: string) => problems.push({ file, line: i + 1, says });
    if (name === undefined || secret === undefined) wrong('is not `"user" "secret"`');
    else if (name === "") wrong("names no user");
    else if (users.has(unquoted(name))) wrong("names a user that is named above");
    else users.set(unquoted(name), unquoted(secret));
  }
  return { users, problems };
}

const unquoted = (text: string): string => text.replaceAll('""', '"');
