/**
 * Explores configurations, several at once: each in a worker of its own, for the code under test may throw outside of
 * everything, and no two worlds may hear of each other.
 */
import { Worker } from "node:worker_threads";
import type { Counts } from "./explorer.ts";

/** What came of one configuration. */
export interface Finding extends Counts {
  readonly name: string;
  readonly seconds: number;
  readonly isExhausted: boolean;
  /** The ways in which schedules ended. */
  readonly ends: readonly string[];
  /** What went wrong, step by step; null if nothing did. */
  readonly story: string | null;
  readonly schedule: readonly string[];
}

export type WorkerSays =
  | { readonly kind: "progress"; readonly counts: Counts }
  | { readonly kind: "found"; readonly finding: Finding };

export interface WorkerOptions {
  readonly name: string;
  readonly isPlain: boolean;
}

/** In the order of `names`, whichever is done first. Rejects if a worker dies. */
export async function exploreAll(
  names: readonly string[],
  workers: number,
  say: (line: string) => void,
  isPlain = false,
): Promise<readonly Finding[]> {
  const findings = new Map<string, Finding>();
  const left = [...names];
  const work = async (): Promise<void> => {
    for (let name = left.shift(); name !== undefined; name = left.shift())
      findings.set(name, await exploreOne({ name, isPlain }, say));
  };
  await Promise.all(Array.from({ length: workers }, work));
  return names.map((name) => findings.get(name)!);
}

function exploreOne(options: WorkerOptions, say: (line: string) => void): Promise<Finding> {
  const { name } = options;
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./worker.ts", import.meta.url), { workerData: options });
    worker.on("message", (said: WorkerSays) => {
      if (said.kind === "progress") return say(`… ${name}: ${said.counts.states} states`);
      const { states, seconds } = said.finding;
      say(`▸ ${name}: ${states} states, ${seconds.toFixed(1)} s`);
      resolve(said.finding);
    });
    worker.on("error", reject);
    worker.on("exit", (code) => {
      if (code !== 0) reject(new Error(`the worker for "${name}" ended with ${code}`));
    });
  });
}
