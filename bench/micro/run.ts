/**
 * `npx node bench/micro/run.ts [NAME…] [--times N] [--rounds N]`: the micro-benchmarks, or those whose names begin so.
 *
 * Without a name also every other file of this folder that is a program of its own.
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { table } from "../report.ts";
import { MICROS } from "./all.ts";
import { type MicroFigures, measure } from "./micro.ts";

const HEAD = ["name", "ns", "bytes allocated", "counted", "an operation is"];

function main(): void {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { times: { type: "string", default: "200000" }, rounds: { type: "string", default: "7" } },
  });
  const isWanted = (name: string) =>
    positionals.length === 0 || positionals.some((word) => name.startsWith(word));
  const rows = MICROS.filter(({ name }) => isWanted(name)).map((micro) => [
    micro.name,
    ...cells(measure(micro, Number(values.times), Number(values.rounds))),
    micro.about,
  ]);
  if (rows.length > 0) process.stdout.write(`${table([HEAD, ...rows])}\n`);
  for (const file of programs().filter((name) => isWanted(name.replace(/\.ts$/, "")))) {
    process.stdout.write(`\n${file}\n\n`);
    const { status } = spawnSync(process.execPath, [join(import.meta.dirname, file)], { stdio: "inherit" });
    if (status !== 0) process.exitCode = 1;
  }
}

const cells = ({ nsEach, bytesEach, counts }: MicroFigures): string[] => [
  nsEach.toFixed(1),
  bytesEach.toFixed(1),
  Object.entries(counts)
    .map(([name, each]) => `${name} ${Number(each.toFixed(2))}`)
    .join(", "),
];

/** The files beside this one that run by themselves. */
const programs = (): string[] =>
  readdirSync(import.meta.dirname)
    .filter((name) => name.endsWith(".ts") && name !== "run.ts")
    .filter((name) => readFileSync(join(import.meta.dirname, name), "utf8").includes("import.meta.main"))
    .toSorted();

main();
