/**
 * `npm run test:drivers`: small applications on the drivers people use, directly, through PgBouncer and through pgxa.
 *
 *     npm run test:drivers                 all of them; what was found goes into docs/compatibility.md
 *     npm run test:drivers -- knex psql    those with one of the words in their name; nothing is written
 *
 * The drivers are installed into test/drivers/node_modules when they are not there. An application whose program is
 * not on this machine is left out with a line. Ends with 1 if pgxa misses what passes directly and known.ts does not
 * explain it.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Belongings } from "../../bench/belongings.ts";
import { complaint } from "../../bench/complaint.ts";
import type { Endpoint } from "../../bench/endpoint.ts";
import { APPLICATIONS, type Application, type Found, HERE } from "./applications.ts";
import { KNOWN, reasonFor } from "./known.ts";
import { misses, type Outcome, onlyMissedThere, passedCount } from "./outcome.ts";
import { findings, placed, type Row } from "./page.ts";
import { tryOut } from "./trial.ts";
import { openShard, type Way, waysTo } from "./ways.ts";

const PAGE = join(HERE, "../../docs/compatibility.md");
const words = process.argv.slice(2).map((word) => word.toLowerCase());
const say = (line: string): boolean => process.stderr.write(`${line}\n`);

process.setMaxListeners(100); // each trial's belongings hear the end of the process
const belongings = new Belongings();
belongings.stopOnSignals();
try {
  process.exitCode = await main();
} finally {
  await belongings.stopAll();
}

async function main(): Promise<number> {
  const chosen = choose();
  if (chosen.length === 0) {
    say(`no application has ${words.join(" or ")} in its name`);
    return 1;
  }
  if (!install() || !typesAreRight()) return 1;
  const shard = await openShard(belongings);
  const ways = await waysTo(shard, say);
  const rows: Row[] = [];
  const skipped: string[] = [];
  for (const application of chosen) {
    const found = application.find();
    if (typeof found === "string") {
      say(`skipped: ${found}`);
      skipped.push(found);
    } else rows.push(await tryEverywhere(application, found, ways, shard));
  }
  const text = findings(
    ways.map(({ title }) => title),
    rows,
    skipped,
  );
  process.stdout.write(`\n${text}\n`);
  if (words.length === 0) write(text);
  return report(rows);
}

/** A word that is a whole name means that application alone. */
function choose(): readonly Application[] {
  if (words.length === 0) return APPLICATIONS;
  return APPLICATIONS.filter(({ name }) => {
    const isExact = (word: string): boolean =>
      APPLICATIONS.some((other) => other.name.toLowerCase() === word);
    return words.some((word) =>
      isExact(word) ? name.toLowerCase() === word : name.toLowerCase().includes(word),
    );
  });
}

/** Whether the drivers are there as the lock file has them, now if not before. */
function install(): boolean {
  const mark = join(HERE, "node_modules/.package-lock.json");
  const lock = join(HERE, "package-lock.json");
  if (existsSync(mark) && statSync(mark).mtimeMs >= statSync(lock).mtimeMs) return true;
  say("installing the drivers (npm ci in test/drivers)…");
  const args = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
  const isInstalled = spawnSync("npm", args, { cwd: HERE, stdio: ["ignore", 2, 2] }).status === 0;
  if (!isInstalled) say("✗ the drivers could not be installed");
  return isInstalled;
}

/** The main type check leaves the applications out, since their drivers need not be there. */
function typesAreRight(): boolean {
  const tsc = join(HERE, "../../node_modules/.bin/tsc");
  const isRight = spawnSync(tsc, ["--noEmit", "-p", HERE], { stdio: ["ignore", 2, 2] }).status === 0;
  if (!isRight) say("✗ types of the applications");
  return isRight;
}

async function tryEverywhere(
  { name }: Application,
  found: Found,
  ways: readonly Way[],
  shard: Endpoint,
): Promise<Row> {
  const outcomes = new Map<string, Outcome>();
  for (const way of ways) {
    const { outcome, words: said } = await tryOut(found, way, shard);
    outcomes.set(way.title, outcome);
    say(`${name} · ${way.name}: ${passedCount(outcome)} of ${outcome.checks.size}`);
    for (const { check, why } of misses(outcome)) say(`  ✗ ${check}: ${why}`);
    if (!outcome.isWhole) say(`  ✗ it broke off: ${complaint("it", said)}`);
  }
  return { application: name, version: found.version, outcomes };
}

function write(text: string): void {
  const page = existsSync(PAGE) ? readFileSync(PAGE, "utf8") : "# Compatibility\n";
  writeFileSync(PAGE, placed(page, text));
}

/** 1 if pgxa misses what it should not, each of which is told. */
function report(rows: readonly Row[]): number {
  const unexplained = rows.flatMap(({ application, outcomes }) => {
    const [direct] = outcomes.values();
    const through = outcomes.get("pgxa");
    if (direct === undefined || through === undefined) return [];
    return onlyMissedThere(direct, through)
      .filter(({ check }) => reasonFor(application, check) === null)
      .map(({ check, why }) => `✗ ${application}: ${check}: ${why}`);
  });
  for (const line of [...unexplained, ...outdated(rows)]) say(line);
  const isEmpty = rows.some(({ outcomes }) => [...outcomes.values()].some(({ checks }) => checks.size === 0));
  return unexplained.length > 0 || isEmpty ? 1 : 0;
}

/** Lines for what known.ts explains and passes. */
function outdated(rows: readonly Row[]): readonly string[] {
  return KNOWN.filter(({ application, check }) =>
    rows.some(
      (row) => row.application === application && row.outcomes.get("pgxa")?.checks.get(check) === null,
    ),
  ).map(({ application, check }) => `known.ts explains what passes: ${application}: ${check}`);
}
