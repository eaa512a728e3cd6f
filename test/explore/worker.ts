/** Explores the configuration whose name it is given, and says what came of it. */
import { parentPort, workerData } from "node:worker_threads";
import { type Configuration, LARGE, SMALL } from "./configurations.ts";
import { type Explored, Explorer } from "./explorer.ts";
import { PLANTS } from "./plants.ts";
import type { Finding, WorkerOptions, WorkerSays } from "./pool.ts";
import { play, shorten, told } from "./schedule.ts";

const PROGRESS_MS = 10_000;

const { name, isPlain } = workerData as WorkerOptions;
const planted = PLANTS.find((plant) => plant.name === name)?.configuration;
const configuration = planted ?? [...SMALL, ...LARGE].find((one) => one.name === name)!;

say({ kind: "found", finding: await explore(configuration) });

async function explore(one: Configuration): Promise<Finding> {
  const beganMs = performance.now();
  let saidMs = beganMs;
  const explored = await new Explorer(one, {
    isPlain,
    onProgress: (counts) => {
      if (performance.now() - saidMs < PROGRESS_MS) return;
      saidMs = performance.now();
      say({ kind: "progress", counts: { ...counts } });
    },
  }).run();
  const seconds = (performance.now() - beganMs) / 1_000;
  const { states, schedules, runs, steps, depth, isExhausted, ends } = explored;
  const counts = { states, schedules, runs, steps, depth };
  return { name, ...counts, seconds, isExhausted, ends: [...ends.keys()], ...(await storyOf(one, explored)) };
}

async function storyOf(
  one: Configuration,
  { violation }: Explored,
): Promise<Pick<Finding, "story" | "schedule">> {
  if (violation === null) return { story: null, schedule: [] };
  const schedule = await shorten(one, violation.schedule);
  return { story: told(await play(one, schedule)), schedule };
}

function say(said: WorkerSays): void {
  parentPort!.postMessage(said);
}
