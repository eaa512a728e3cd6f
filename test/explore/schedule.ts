/** A schedule that was found: played again, made shorter, and told in words. */
import { RecordedChoices } from "../world/choice.ts";
import { brokenNow } from "../world/invariants.ts";
import { comeToRest } from "../world/rest.ts";
import type { Configuration } from "./configurations.ts";
import { begin } from "./explorer.ts";

export interface Played {
  /** What is wrong; empty if all is well. */
  readonly problems: readonly string[];
  /** What happened, in words. */
  readonly words: readonly string[];
  /** What happened until something was wrong. */
  readonly schedule: readonly string[];
}

/** Plays `schedule` and lets the world come to rest. Rejects if it cannot happen. */
export async function play(configuration: Configuration, schedule: readonly string[]): Promise<Played> {
  const world = await begin(configuration);
  const chooser = new RecordedChoices(schedule);
  const words: string[] = [];
  const taken: string[] = [];
  for (;;) {
    const problems = brokenNow(world);
    if (problems.length > 0) return { problems, words, schedule: taken };
    const transition = chooser.choose(world.transitions());
    if (transition === null || transition.kind === "rest") break;
    words.push(transition.words);
    taken.push(transition.id);
    await world.take(transition);
  }
  const problems = await comeToRest(world);
  return { problems, words: [...words, "faults are over, all comes to rest"], schedule: taken };
}

/** The same without steps that it does not need. */
export async function shorten(
  configuration: Configuration,
  schedule: readonly string[],
): Promise<readonly string[]> {
  let shortest = schedule;
  for (let i = shortest.length - 1; i >= 0; i -= 1) {
    const fewer = shortest.toSpliced(i, 1);
    const played = await play(configuration, fewer).catch(() => null);
    if (played !== null && played.problems.length > 0) shortest = fewer;
  }
  return shortest;
}

/** Step by step, for a person. */
export const told = ({ problems, words }: Played): string =>
  [
    ...words.map((one, i) => `${String(i + 1).padStart(4)}. ${one}`),
    ...problems.map((one) => `   ✗ ${one}`),
  ].join("\n");
