/**
 * One side of a comparison, and the taking of turns.
 *
 * The rounds go A B C A B C …, each contender warmed up by a short round that does not count. A contender that
 * fails is left out from then on, with its reason; the others go on.
 */
import { processTimeUs } from "./processTime.ts";
import type { Progress } from "./progress.ts";
import { type Measurement, type Round, roundOf } from "./stats.ts";

export interface Contender {
  readonly name: string;
  /** The process whose processor time counts as the proxy's; null where there is none. */
  readonly proxyPid: number | null;
  /** Puts load on it for `seconds`; throws with one readable line. */
  run(seconds: number): Promise<Measurement>;
}

export interface Turns {
  readonly rounds: number;
  readonly seconds: number;
  /** Length of the round that does not count; 0: there is none. */
  readonly warmUpSeconds?: number;
}

const WARM_UP_SECONDS = 1;

/** What `turns` of `contenders` will take, in seconds, without starting anything. */
export function secondsOfTurns(
  contenders: number,
  { rounds, seconds, warmUpSeconds = WARM_UP_SECONDS }: Turns,
): number {
  return contenders * (warmUpSeconds + rounds * seconds);
}

/** Those that could be made; a line for each that could not. */
export async function whoCan(
  title: string,
  progress: Progress,
  making: readonly Promise<Contender>[],
): Promise<{ readonly contenders: readonly Contender[]; readonly absent: readonly string[] }> {
  const made = await Promise.allSettled(making);
  const contenders = made.filter((each) => each.status === "fulfilled").map((each) => each.value);
  const absent = made
    .filter((each) => each.status === "rejected")
    .map((each) => `${title}: ${(each.reason as Error).message}`);
  for (const line of absent) progress.say(`left out: ${line}`);
  return { contenders, absent };
}

export interface TurnsDone {
  readonly rounds: ReadonlyMap<string, readonly Round[]>;
  readonly leftOut: readonly string[];
}

/** Runs everyone in turn; `title` is what the progress names. */
export async function takeTurns(
  title: string,
  contenders: readonly Contender[],
  turns: Turns,
  progress: Progress,
): Promise<TurnsDone> {
  const rounds = new Map<string, Round[]>(contenders.map(({ name }) => [name, []]));
  const failures = new Map<string, string>();
  for (let index = turns.warmUpSeconds === 0 ? 1 : 0; index <= turns.rounds; index++) {
    for (const contender of contenders) {
      const seconds = index === 0 ? (turns.warmUpSeconds ?? WARM_UP_SECONDS) : turns.seconds;
      if (!failures.has(contender.name)) {
        progress.now(
          `${title} · ${contender.name} · ${index === 0 ? "warm-up" : `round ${index} of ${turns.rounds}`}`,
        );
        const round = await oneRound(contender, seconds).catch((error: Error) => error);
        if (round instanceof Error) failures.set(contender.name, round.message);
        else if (index > 0) rounds.get(contender.name)!.push(round);
      }
      progress.spent(seconds);
    }
  }
  return { rounds, leftOut: [...failures].map(([name, why]) => `${name} in ${title}: ${why}`) };
}

async function oneRound(contender: Contender, seconds: number): Promise<Round> {
  const before = contender.proxyPid === null ? null : processTimeUs(contender.proxyPid);
  const measured = await contender.run(seconds);
  const after = contender.proxyPid === null ? null : processTimeUs(contender.proxyPid);
  return roundOf(measured, before === null || after === null ? null : after - before);
}
