/** `pgxa import-pgbouncer`: pgxa's YAML from PgBouncer's ini, and what has no counterpart. */
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parseArgs } from "node:util";
import { importSettings } from "./importPgbouncerDraft.ts";
import { type ListedUser, readIni, readUserList } from "./importPgbouncerIni.ts";
import type { Note } from "./importPgbouncerPairs.ts";

const HELP = `Usage: pgxa import-pgbouncer FILE [--output FILE]

Reads PgBouncer's ini, with what it includes and its auth_file, and writes the YAML of a pgxa that does the same. What has
no counterpart, and what means something else, is listed on standard error with its line. docs/from-pgbouncer.md has every
setting.

Options:
  --output FILE, -o FILE  where the YAML goes; it must not exist, and only you may read it. Default: standard output
  --help, -h              show this help

Exit code: 0 if a YAML was written, 2 if not.
`;

const HEADINGS: readonly (readonly [kind: Note["kind"], heading: string])[] = [
  ["none", "Without counterpart:"],
  ["different", "Carried over, with a difference:"],
  ["needless", "Needless in pgxa:"],
];

/** Resolves with the exit code. */
export function runImportPgbouncer(args: readonly string[]): Promise<number> {
  return Promise.resolve(run(args));
}

function run(args: readonly string[]): number {
  const options = readOptions(args);
  if (options === "help") {
    console.log(HELP);
    return 0;
  }
  if (typeof options === "string") {
    console.error(`pgxa import-pgbouncer: ${options} See pgxa import-pgbouncer --help.`);
    return 2;
  }
  try {
    importFile(options.file, options.output);
    return 0;
  } catch (error) {
    console.error(`pgxa import-pgbouncer: ${(error as Error).message}`);
    return 2;
  }
}

function importFile(file: string, output: string | undefined): void {
  const text = readFileSync(file, "utf8");
  const ini = readIni(file, text, (name) => readOrNull(resolve(dirname(file), name)));
  const listed = ini.entries.find(({ section, key }) => section === "pgbouncer" && key === "auth_file");
  const users = listed === undefined ? null : usersOf(file, listed.value);
  const { yaml, notes } = importSettings(ini, users, (name) => resolve(dirname(file), name));
  if (output === undefined) process.stdout.write(yaml);
  else writeFileSync(output, yaml, { flag: "wx", mode: 0o600 });
  process.stderr.write(report(notes));
}

function usersOf(file: string, name: string): readonly ListedUser[] | null {
  const text = readOrNull(resolve(dirname(file), name));
  if (text === null)
    process.stderr.write(`The auth_file ${name} cannot be read: its users are not in the YAML.\n\n`);
  return text === null ? null : readUserList(text);
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

/** The notes by kind, each with its line. */
export function report(notes: readonly Note[]): string {
  return HEADINGS.map(([kind, heading]) => {
    const lines = notes
      .filter((note) => note.kind === kind)
      .map(({ file, line, what, says }) => `  ${file}:${line}  ${what === "" ? "" : `${what}: `}${says}\n`);
    return lines.length === 0 ? "" : `${heading}\n${lines.join("")}\n`;
  }).join("");
}

type Options = { readonly file: string; readonly output: string | undefined };

/** A sentence says what is wrong. */
function readOptions(args: readonly string[]): Options | string {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { output: { type: "string", short: "o" }, help: { type: "boolean", short: "h" } },
    });
    if (values.help === true) return "help";
    const [file, ...others] = positionals;
    if (file === undefined) return "needs PgBouncer's ini file.";
    return others.length > 0 ? `"${others[0]}" is one word too many.` : { file, output: values.output };
  } catch (error) {
    return `${(error as Error).message}.`;
  }
}
