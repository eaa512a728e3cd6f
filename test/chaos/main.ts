/** `npm run chaos`: see `--help`. */
import { mkdtempSync, realpathSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ChaosFailure } from "./chaosFailure.ts";
import { FAULTS } from "./faults.ts";
import { type LogKind, type Options, parseOptions, UsageError, usage } from "./options.ts";
import { runChaos } from "./run.ts";
import { Show } from "./show.ts";
import { whyNoDisk } from "./smallDisk.ts";
import { table } from "./summary.ts";

const SEED_END = 1_000_000;
const TWO_AT_ONCE = 0.25;

// At once: after a failure, what was to heal later may still be trying.
process.exit(await main(process.argv.slice(2)));

async function main(argv: readonly string[]): Promise<number> {
  try {
    const options = parseOptions(argv, FAULTS);
    if (options === "help") {
      console.log(usage(FAULTS));
      return 0;
    }
    const noDisk = whyNoDisk();
    if (noDisk !== null) console.error(`without full disks: ${noDisk}`);
    const stop = new AbortController();
    process.once("SIGINT", () => {
      console.error("\nends after this phase; once more ends at once");
      stop.abort();
    });
    for (const log of options.logs)
      if (!stop.signal.aborted) await runWith(log, options, noDisk === null, stop.signal);
    return 0;
  } catch (error) {
    if (error instanceof UsageError) {
      console.error(`${error.message}\n\n${usage(FAULTS)}`);
      return 2;
    }
    if (!(error instanceof ChaosFailure)) throw error;
    console.error(`✗ ${error.message}`);
    return 1;
  }
}

async function runWith(log: LogKind, options: Options, hasDisks: boolean, stop: AbortSignal): Promise<void> {
  const { minutes, transfers, faults, clients } = options;
  const seed = options.seed ?? Math.floor(Math.random() * SEED_END);
  console.error(`▸ log ${log}, seed ${seed}`);
  const show = new Show(`log ${log}`);
  try {
    const summary = await runChaos({
      log,
      seed,
      faults,
      clients,
      hasDisks,
      endsAfter: {
        ...(minutes === undefined ? {} : { minutes }),
        ...(transfers === undefined ? {} : { transfers }),
      },
      home: realpathSync(mkdtempSync(join(tmpdir(), `pgxa-chaos-${log}-${seed}-`))),
      twoAtOnce: TWO_AT_ONCE,
      tell: (progress) => show.tell(progress),
      stop,
    });
    show.end();
    for (const why of summary.leftOut) console.error(`left out: ${why}`);
    console.log(`\nlog ${log}, seed ${seed}, ${summary.minutes.toFixed(1)} min, ${summary.phases} phases\n`);
    console.log(table(summary));
  } finally {
    show.end();
  }
}
