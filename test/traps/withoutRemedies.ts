/**
 * Shows that every trap's test fails without what pgxa does about it.
 *
 *     npx node test/traps/withoutRemedies.ts          every trap; takes some minutes
 *     npx node test/traps/withoutRemedies.ts 8 12     these
 *
 * Each remedy is taken away in a copy of the source, and the trap's test must fail there. Prints the table of README.md;
 * ends with 1 if a test passes without its remedy, or a remedy is not where it was.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { REMEDIES_FROM_THE_DECISION_ON } from "./laterRemedies.ts";
import { REMEDIES_BEFORE_THE_DECISION, type Remedy } from "./remedies.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const COPIED = ["src", "test", "config", "package.json"];
const TEST_TIMEOUT_MS = 40_000;
const FILE_TIMEOUT_MS = 120_000;

process.exitCode = main(process.argv.slice(2).map(Number));

function main(traps: readonly number[]): number {
  const copy = mkdtempSync(join(tmpdir(), "pgxa-remedies-"));
  try {
    for (const name of COPIED) cpSync(join(ROOT, name), join(copy, name), { recursive: true });
    symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));
    const all = [...REMEDIES_BEFORE_THE_DECISION, ...REMEDIES_FROM_THE_DECISION_ON];
    const wanted = all.filter(({ trap }) => traps.length === 0 || traps.includes(trap));
    console.log("| trap | remedy | taken away | fails then |\n| --- | --- | --- | --- |");
    const survived = wanted.filter((remedy) => !isMissed(copy, remedy));
    return survived.length === 0 ? 0 : 1;
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

/** Whether the trap's test fails without `remedy`. */
function isMissed(copy: string, { trap, test, where, without, from, to }: Remedy): boolean {
  const [file] = where.split(":") as [string];
  const original = readFileSync(join(ROOT, file), "utf8");
  const parts = original.split(from);
  const row = (says: string): void => console.log(`| ${trap} | ${where} | ${without} | ${says} |`);
  if (parts.length !== 2) {
    row(`**the remedy is ${parts.length - 1} times there**`);
    return false;
  }
  writeFileSync(join(copy, file), parts.join(to));
  const failed = failedTests(copy, test, trap);
  writeFileSync(join(copy, file), original);
  const others = failed.length > 1 ? `, and ${failed.length - 1} more` : "";
  row(failed.length === 0 ? "**nothing**" : `${test}.test.ts: ${failed[0]}${others}`);
  return failed.length > 0;
}

function failedTests(copy: string, test: string, trap: number): readonly string[] {
  const { stdout, status } = spawnSync(
    process.execPath,
    [
      "--test",
      "--test-reporter=tap",
      "--test-force-exit",
      `--test-timeout=${TEST_TIMEOUT_MS}`,
      `--test-name-pattern=^trap ${trap}:`,
      `test/traps/${test}.test.ts`,
    ],
    { cwd: copy, encoding: "utf8", timeout: FILE_TIMEOUT_MS, killSignal: "SIGKILL" },
  );
  const names = [...stdout.matchAll(/^\s*not ok \d+ - (trap \d+: .*)$/gm)].map((match) => match[1]!);
  // Where the broken code ends the whole process, the tests have no say of their own.
  return names.length === 0 && status !== 0 ? ["the process ends"] : names;
}
