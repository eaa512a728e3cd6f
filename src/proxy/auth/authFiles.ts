/** The files that `auth` names, read whole or not at all: with anything wrong in them they are refused, all at once. */
import { Fault } from "../../base/fault.ts";
import type { AuthConfig } from "../../config/config.ts";
import { type HbaRule, readHbaRules } from "./hbaRules.ts";
import { type IdentRule, readIdentRules } from "./identMap.ts";
import { type FileProblem, type Files, readRuleFile } from "./ruleFile.ts";
import { readUsers } from "./usersFile.ts";

export interface AuthFiles {
  readonly hba: readonly HbaRule[];
  readonly ident: readonly IdentRule[];
  /** Secrets by user. */
  readonly users: ReadonlyMap<string, string>;
}

/** Throws a Fault (`config.invalid`) that names everything that is wrong. */
export function readAuthFiles(
  { method, hbaFile, identFile, usersFile }: AuthConfig,
  files: Files,
): AuthFiles {
  const problems: FileProblem[] = [];
  const linesOf = (path: string | undefined) => {
    const read = path === undefined ? { lines: [], problems: [] } : readRuleFile(path, files);
    problems.push(...read.problems);
    return read.lines;
  };
  const hba = readHbaRules(linesOf(hbaFile));
  const ident = readIdentRules(linesOf(identFile));
  problems.push(...hba.problems, ...ident.problems, ...unknownMaps(hba.rules, ident.rules));
  const users = usersIn(usersFile, files);
  problems.push(...users.problems);
  if (method === "hba" && hba.rules.length === 0 && problems.length === 0)
    problems.push({ file: hbaFile ?? "", line: 0, says: "has no rules, so that nobody can log in" });
  if (problems.length > 0) throw filesFault(problems);
  return { hba: hba.rules, ident: ident.rules, users: users.users };
}

/** The users in the file `path`; problems quote nothing. */
export function usersIn(path: string | undefined, files: Files): ReturnType<typeof readUsers> {
  if (path === undefined) return { users: new Map(), problems: [] };
  const text = files.read(path);
  if (text === null) return { users: new Map(), problems: [{ file: path, line: 0, says: "cannot be read" }] };
  return readUsers(text, path);
}

/** A rule whose map has no line lets nobody in, which nobody means. */
function unknownMaps(hba: readonly HbaRule[], ident: readonly IdentRule[]): readonly FileProblem[] {
  const known = new Set(ident.map(({ map }) => map));
  return hba.flatMap(({ file, line, map }) =>
    map === null || known.has(map) ? [] : [{ file, line, says: `auth.ident_file has no map "${map}"` }],
  );
}

export const describeProblem = ({ file, line, says }: FileProblem): string =>
  line === 0 ? `${file}: ${says}` : `${file}:${line}: ${says}`;

function filesFault(problems: readonly FileProblem[]): Fault {
  const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
  const lines = problems.map((problem) => `  ${describeProblem(problem)}`);
  return new Fault("config.invalid", {
    message: `${count} in the files that auth names:\n${lines.join("\n")}`,
  });
}
