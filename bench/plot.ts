/**
 * The pictures of a run of the growth case, drawn anew: `npx node bench/plot.ts [RESULTS.json] [--output DIR]`.
 *
 * The bench draws them itself at the end of such a run.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { GrowthFigures } from "./growth/figures.ts";
import { growthPictures } from "./growth/picture.ts";

const RESULTS = join(import.meta.dirname, "results");

const USAGE = `npx node bench/plot.ts [RESULTS.json] [--output DIR]

Draws a picture (SVG) for each dimension of the results of npm run bench -- growth.

  RESULTS.json  the results (default bench/results/growth.json)
  --output DIR  where growth-*.svg go (default bench/results)`;

async function main(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { output: { type: "string" }, help: { type: "boolean", short: "h" } },
  });
  if (values.help === true) return void process.stdout.write(`${USAGE}\n`);
  if (positionals.length > 1) throw new Error(`one file with results, not ${positionals.length}\n\n${USAGE}`);
  const [path = join(RESULTS, "growth.json")] = positionals;
  const pictures = growthPictures(await readFigures(path));
  const directory = values.output ?? RESULTS;
  await mkdir(directory, { recursive: true });
  for (const { file, svg } of pictures) {
    await writeFile(join(directory, file), svg);
    process.stdout.write(`${join(directory, file)}\n`);
  }
}

async function readFigures(path: string): Promise<GrowthFigures> {
  const figures = JSON.parse(await readFile(path, "utf8")) as Partial<GrowthFigures>;
  if (!Array.isArray(figures.dimensions))
    throw new Error(`${path} has no results of npm run bench -- growth`);
  return figures as GrowthFigures;
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
