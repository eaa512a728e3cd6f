/** A run: worlds one after the other, each with a seed that follows from the run's. */

import { SeededRandom } from "./seededRandom.ts";
import { type Planted, type Simulated, simulate } from "./simulation.ts";

/** In one world; more would make every step slower. */
const TRANSACTIONS = 25;

export interface Failure {
  /** Its place in the run, from 0. */
  readonly world: number;
  readonly problems: readonly string[];
}

interface Play {
  readonly planted?: Planted;
  readonly onStep?: (words: string) => void;
}

/** Until `transactions` have been committed, aborted or lost; null if nothing is wrong. */
export async function playRun(
  seed: number,
  transactions: number,
  onWorld: (simulated: Simulated) => void = () => {},
  play: Play = {},
): Promise<Failure | null> {
  for (const [world, part] of partsOf(seed, transactions)) {
    const simulated = await playOne(part, play);
    onWorld(simulated);
    if (simulated.problems.length > 0) return { world, problems: simulated.problems };
  }
  return null;
}

/** What is wrong with one world of a run. */
export async function replayWorld(
  seed: number,
  transactions: number,
  world: number,
  onStep: (words: string) => void,
): Promise<readonly string[]> {
  for (const [at, part] of partsOf(seed, transactions)) {
    if (at === world) return (await playOne(part, { onStep })).problems;
  }
  throw new Error(`--world ${world}: the run has ${Math.ceil(transactions / TRANSACTIONS)} worlds`);
}

/** An invariant that is broken outside of every promise is a problem like any other. */
async function playOne(part: Part, play: Play): Promise<Simulated> {
  const broken: Error[] = [];
  process.setUncaughtExceptionCaptureCallback((error) => void broken.push(error as Error));
  try {
    const simulated = await simulate({ ...part, ...play });
    const problems = broken.map(
      ({ message, cause }) => `${message}${cause instanceof Error ? `: ${cause.message}` : ""}`,
    );
    return { ...simulated, problems: [...problems, ...simulated.problems] };
  } finally {
    process.setUncaughtExceptionCaptureCallback(null);
  }
}

interface Part {
  readonly seed: number;
  readonly transactions: number;
}

function* partsOf(
  seed: number,
  transactions: number,
): IterableIterator<readonly [world: number, part: Part]> {
  const random = new SeededRandom(seed);
  for (let world = 0; world * TRANSACTIONS < transactions; world += 1) {
    const left = transactions - world * TRANSACTIONS;
    yield [world, { seed: random.below(2 ** 32), transactions: Math.min(TRANSACTIONS, left) }];
  }
}
