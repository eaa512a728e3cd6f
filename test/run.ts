/**
 * `npm test`: types, style, then every test with coverage by folder.
 *
 *     npm test                      everything
 *     npm test -- test/wire         the tests whose path contains the words given; no floor for coverage then
 *     npm test -- --no-lint         without types and style
 *
 * Ends with 1 if anything fails, or if a folder that decides over money is covered by less than its floor. A program
 * that tests want and that is not here is installed from Debian's packages where that is allowed (root, with apt-get);
 * elsewhere one line says which, and its tests are skipped.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { findTool } from "../bench/tools.ts";

/** Folders whose lines must be covered, in per cent. */
const FLOORS: Readonly<Record<string, number>> = {
  "src/txn": 95,
  "src/deadlock": 95,
  "src/wire": 95,
  "src/routing": 95,
};
const TEST_TIMEOUT_MS = 180_000;

interface Coverage {
  found: number;
  hit: number;
}

const words = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const isLinted = !process.argv.includes("--no-lint");

process.exitCode = await main();

async function main(): Promise<number> {
  const files = globSync("test/**/*.test.ts", { exclude: ["**/node_modules/**"] })
    .filter((file) => words.every((word) => file.includes(word)))
    .sort();
  if (files.length === 0) {
    console.error(`no test has ${words.join(" and ")} in its path`);
    return 1;
  }
  const isTidy = words.length > 0 || !isLinted || lint();
  if (files.some((file) => file.startsWith("test/bench"))) await prepareTools();
  const isPassed = await test(files);
  if (!isTidy) console.error("\n✗ types or style, see above");
  return isTidy && isPassed ? 0 : 1;
}

function lint(): boolean {
  const isTyped = run("types", bin("tsc"), ["-p", "tsconfig.json", "--noEmit"]);
  return (
    run("style", bin("biome"), ["check", "--error-on-warnings", "--diagnostic-level=warn", "."]) && isTyped
  );
}

async function prepareTools(): Promise<void> {
  const pgbench = await findTool("pgbench", true, (line) => console.log(`▸ ${line}`));
  if (typeof pgbench === "string") console.log(`▸ skipped where it is needed: ${pgbench}`);
}

/** Runs `files`, and reports what they cover; whether all passed and covered enough. */
async function test(files: readonly string[]): Promise<boolean> {
  const directory = mkdtempSync(join(tmpdir(), "pgxa-coverage-"));
  try {
    const lcov = join(directory, "lcov.info");
    const isPassed = await runTests(files, lcov);
    const isCovered = words.length > 0 || report(readCoverage(lcov));
    return isPassed && isCovered;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function bin(name: string): string {
  return join("node_modules", ".bin", name);
}

function run(what: string, command: string, args: readonly string[]): boolean {
  console.log(`▸ ${what}`);
  const { status } = spawnSync(command, args, { stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) console.error(`✗ ${what}`);
  return status === 0;
}

async function runTests(files: readonly string[], lcov: string): Promise<boolean> {
  console.log(`▸ ${files.length} test files`);
  const args = [
    "--test",
    "--test-concurrency=3",
    `--test-timeout=${TEST_TIMEOUT_MS}`,
    "--experimental-test-coverage",
    "--test-coverage-include=src/**",
    "--test-reporter=spec",
    "--test-reporter-destination=stdout",
    "--test-reporter=lcov",
    `--test-reporter-destination=${lcov}`,
    ...files,
  ];
  const colour = process.stdout.isTTY ? { FORCE_COLOR: "1" } : {};
  const child = spawn(process.execPath, args, {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...colour, NODE_NO_WARNINGS: "1" },
  });
  const ended = once(child, "close");
  await showWithoutCoverage(createInterface({ input: child.stdout }));
  const [status] = await ended;
  return status === 0;
}

/** Node's table of every file would bury what matters; ours, by folder, comes at the end. */
async function showWithoutCoverage(lines: AsyncIterable<string>): Promise<void> {
  let isCoverage = false;
  for await (const line of lines) {
    isCoverage ||= line.includes("ℹ start of coverage report");
    if (!isCoverage) console.log(line);
    if (line.includes("ℹ end of coverage report")) isCoverage = false;
  }
}

/** Lines found and hit, by folder. */
function readCoverage(lcov: string): ReadonlyMap<string, Coverage> {
  const folders = new Map<string, Coverage>();
  let current: Coverage | null = null;
  for (const line of readFileSync(lcov, "utf8").split("\n")) {
    const [kind, value = ""] = line.split(":");
    if (kind === "SF") {
      const folder = value.split("/").slice(0, 2).join("/");
      current = folders.get(folder) ?? { found: 0, hit: 0 };
      folders.set(folder, current);
    } else if (kind === "LF" && current !== null) current.found += Number(value);
    else if (kind === "LH" && current !== null) current.hit += Number(value);
  }
  return folders;
}

function report(folders: ReadonlyMap<string, Coverage>): boolean {
  console.log("\ncoverage of lines\n");
  let isCovered = true;
  for (const [folder, { found, hit }] of [...folders].sort()) {
    const percent = found === 0 ? 100 : (100 * hit) / found;
    const floor = FLOORS[folder];
    const isEnough = floor === undefined || percent >= floor;
    isCovered &&= isEnough;
    const asked =
      floor === undefined ? "" : isEnough ? `  (floor ${floor})` : `  ✗ below the floor of ${floor}`;
    console.log(
      `  ${folder.padEnd(16)} ${percent.toFixed(1).padStart(6)} %  of ${String(found).padStart(5)}${asked}`,
    );
  }
  return isCovered;
}
