/**
 * `npm run explore`: every schedule of every configuration, and the bugs that must be found.
 *
 *     npm run explore                            all
 *     npm run explore -- --small                 what `npm test` explores
 *     npm run explore -- --only "shard log, 2"   configurations whose name contains that
 *     npm run explore -- --plants                only the bugs that are put in on purpose
 *     npm run explore -- --replay FILE           a schedule that was printed, step by step; or its text itself
 *     npm run explore -- --workers N             how many are explored at once (default: one for each processor)
 *     npm run explore -- --list                  the names
 *     npm run explore -- --help
 *
 * Ends with 1 if an invariant is broken, if something is left out, or if a bug is not found.
 */
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { type Configuration, LARGE, SMALL } from "./configurations.ts";
import { PLANTS } from "./plants.ts";
import { exploreAll, type Finding } from "./pool.ts";
import { play, told } from "./schedule.ts";

const HELP = /\/\*\*\n([\s\S]*?)\n \*\//.exec(readFileSync(import.meta.filename, "utf8"))![1]!;
const { values } = parseArgs({
  options: {
    help: { type: "boolean" },
    list: { type: "boolean" },
    small: { type: "boolean" },
    plants: { type: "boolean" },
    only: { type: "string" },
    replay: { type: "string" },
    workers: { type: "string" },
  },
});

async function main(): Promise<number> {
  if (values.help) {
    console.log(HELP.replaceAll(/^ \* ?/gm, ""));
    return 0;
  }
  if (values.replay !== undefined) return replay(values.replay);
  const chosen = (values.small ? SMALL : [...SMALL, ...LARGE]).filter(({ name }) =>
    name.includes(values.only ?? ""),
  );
  const configurations = values.plants ? [] : chosen;
  if (values.list) {
    for (const { name } of configurations) console.log(name);
    return 0;
  }
  const workers = Number(values.workers ?? availableParallelism());
  const isWell = configurations.length === 0 || (await exploreConfigurations(configurations, workers));
  const areFound = values.only !== undefined || (await findPlants(workers));
  return isWell && areFound ? 0 : 1;
}

async function exploreConfigurations(
  configurations: readonly Configuration[],
  workers: number,
): Promise<boolean> {
  const findings = await exploreAll(
    configurations.map(({ name }) => name),
    workers,
    (line) => console.error(line),
  );
  console.log(`\n${table(findings)}`);
  for (const finding of findings) if (finding.story !== null) console.log(storyOf(finding));
  return findings.every(({ story, isExhausted }) => story === null && isExhausted);
}

async function findPlants(workers: number): Promise<boolean> {
  const findings = await exploreAll(
    PLANTS.map(({ name }) => name),
    workers,
    () => {},
  );
  console.log("\nBugs put in on purpose\n");
  for (const finding of findings) {
    const { thought } = PLANTS.find(({ name }) => name === finding.name)!;
    console.log(`${finding.story === null ? "✗ not found" : "✓ found"}: ${finding.name}. "${thought}"`);
    if (finding.story !== null) console.log(storyOf(finding));
  }
  return findings.every(({ story }) => story !== null);
}

const storyOf = ({ name, story, schedule }: Finding): string =>
  `\n${name}\n${story}\n   replay: ${JSON.stringify({ name, schedule })}\n`;

/** Played by hand: what was printed, or a file that has it. */
async function replay(text: string): Promise<number> {
  const written = existsSync(text) ? readFileSync(text, "utf8") : text;
  const { name, schedule } = JSON.parse(written.slice(written.indexOf("{"))) as Pick<
    Finding,
    "name" | "schedule"
  >;
  const plant = PLANTS.find((one) => one.name === name)?.configuration;
  const configuration = plant ?? [...SMALL, ...LARGE].find((one) => one.name === name);
  if (configuration === undefined) {
    console.error(`there is no configuration "${name}"`);
    return 1;
  }
  const played = await play(configuration, schedule);
  console.log(`${name}\n${told(played)}`);
  return played.problems.length === 0 ? 0 : 1;
}

function table(findings: readonly Finding[]): string {
  const head = ["configuration", "states", "schedules", "depth", "seconds", ""];
  const rows = findings.map((one) => [
    one.name,
    String(one.states),
    String(one.schedules),
    String(one.depth),
    one.seconds.toFixed(1),
    one.story !== null ? "✗" : one.isExhausted ? "✓" : "✗ not exhausted",
  ]);
  const sum = (of: (one: Finding) => number): number => findings.reduce((total, one) => total + of(one), 0);
  rows.push(["all", String(sum((one) => one.states)), String(sum((one) => one.schedules)), "", "", ""]);
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map((row) => row[i]!.length)));
  return [head, ...rows]
    .map((row) =>
      row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  "),
    )
    .join("\n");
}

process.exit(await main());
