/** Runs one application on one way and hears what it has to say. */
import { Belongings, type Child } from "../../bench/belongings.ts";
import type { Endpoint } from "../../bench/endpoint.ts";
import { environmentFor, type Found } from "./applications.ts";
import { type Outcome, readOutcome } from "./outcome.ts";
import { emptyDatabase, type Way } from "./ways.ts";

/** How long an application may take on one way; its checks have a limit of their own. */
const PATIENCE_MS = 240_000;

export interface Trial {
  readonly outcome: Outcome;
  /** What the application wrote, for when it broke off. */
  readonly words: string;
}

/** On an empty database, which `shard` is asked for; what the way needs is stopped afterwards. */
export async function tryOut(found: Found, way: Way, shard: Endpoint): Promise<Trial> {
  const belongings = new Belongings();
  try {
    await emptyDatabase(shard);
    const env = environmentFor(await way.start(belongings));
    const child = belongings.spawn(found.command, found.args, { env });
    const impatience = setTimeout(() => child.process.kill("SIGKILL"), PATIENCE_MS);
    const stdout = collect(child);
    await child.ended().finally(() => clearTimeout(impatience));
    return { outcome: readOutcome(stdout()), words: child.words() };
  } finally {
    await belongings.stopAll();
  }
}

function collect({ process }: Child): () => string {
  const pieces: Buffer[] = [];
  process.stdout?.on("data", (piece: Buffer) => pieces.push(piece));
  return () => Buffer.concat(pieces).toString();
}
