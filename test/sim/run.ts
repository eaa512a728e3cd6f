/** `npm run sim`: see options.ts. */
import { HELP, parseOptions, type SimOptions } from "./options.ts";
import { Tally } from "./tally.ts";
import { playRun, replayWorld } from "./worlds.ts";

const PROGRESS_MS = 1_000;

async function main(argv: readonly string[]): Promise<boolean> {
  const options = parseOptions(argv);
  if (options === "help") {
    process.stdout.write(HELP);
    return true;
  }
  return options.world === null ? playAll(options) : replay(options, options.world);
}

async function playAll({ seed, runs, transactions }: SimOptions): Promise<boolean> {
  for (let i = 0; i < runs; i += 1) {
    const tally = new Tally();
    let toldMs = 0;
    const failure = await playRun(seed + i, transactions, (simulated) => {
      tally.add(simulated);
      if (performance.now() - toldMs < PROGRESS_MS) return;
      toldMs = performance.now();
      progress(`seed ${seed + i}: ${tally.transactions} of ${transactions} transactions`);
    });
    progress("");
    process.stdout.write(`seed ${seed + i}: ${tally.words()}\n`);
    if (failure === null) continue;
    const again = `npm run sim -- --seed ${seed + i} --transactions ${transactions} --world ${failure.world}`;
    process.stdout.write(`  ${failure.problems.join("\n  ")}\nStep by step: ${again}\n`);
    return false;
  }
  return true;
}

async function replay({ seed, transactions }: SimOptions, world: number): Promise<boolean> {
  const problems = await replayWorld(seed, transactions, world, (words) =>
    process.stdout.write(`${words}\n`),
  );
  process.stdout.write(problems.length === 0 ? "nothing is wrong\n" : `${problems.join("\n")}\n`);
  return problems.length === 0;
}

/** One line that is written over; nothing where there is no terminal. */
function progress(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r${line.padEnd(78)}\r${line}`);
}

try {
  if (!(await main(process.argv.slice(2)))) process.exitCode = 1;
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}
