/**
 * The growth case: how the cost of a transaction grows with clients, rows, pipelining, shards and participants.
 *
 * Each dimension has its contenders, which take turns at each of its values. What pgbench drives shares one set of
 * shards; transfers have shards of their own, as the commit case, whose contenders they are.
 */
import { Belongings } from "../belongings.ts";
import { CASES } from "../cases.ts";
import { requireMoney } from "../commit/case.ts";
import { CommitStage } from "../commit/stage.ts";
import { type Contender, secondsOfTurns, takeTurns, whoCan } from "../contender.ts";
import { type Machine, machineFacts } from "../machine.ts";
import type { Workers } from "../pgxa.ts";
import type { Progress } from "../progress.ts";
import { Stage } from "../stage.ts";
import { peerOf, pgbenchContenders, transferContenders } from "./contenders.ts";
import { type DimensionFigures, type GrowthFigures, type GrowthPoint, pointsOf } from "./figures.ts";
import { type Dimension, type GrowthChoice, valueWords } from "./plan.ts";

export interface GrowthSurroundings {
  readonly belongings: Belongings;
  readonly progress: Progress;
  readonly mayInstall: boolean;
  readonly workers: Workers;
}

/** What is left out has a line in the figures. */
export async function runGrowthCase(
  choice: GrowthChoice,
  surroundings: GrowthSurroundings,
): Promise<GrowthFigures> {
  const run = new GrowthRun(choice, surroundings);
  const machine = await apart(surroundings, (inner) => run.pgbenchDimensions(inner));
  await apart(surroundings, (inner) => run.transferDimensions(inner));
  return {
    machine,
    rounds: choice.rounds,
    secondsPerRound: choice.seconds,
    workers: surroundings.workers,
    dimensions: run.figures,
    leftOut: run.leftOut,
  };
}

/** With belongings that are stopped before what follows begins, so that they don't disturb it. */
async function apart<T>(
  { belongings }: GrowthSurroundings,
  act: (inner: Belongings) => Promise<T>,
): Promise<T> {
  const inner = new Belongings();
  belongings.keep("a part of growth", () => inner.stopAll());
  const made = await act(inner);
  await inner.stopAll();
  return made;
}

interface Taking {
  readonly contenders: readonly Contender[];
  /** When all have had their turns. */
  finish(hasFailed: boolean): Promise<void>;
}

class GrowthRun {
  readonly figures: DimensionFigures[] = [];
  readonly leftOut: string[] = [];
  readonly #choice: GrowthChoice;
  readonly #surroundings: GrowthSurroundings;
  #secondsLeft: number;

  constructor(choice: GrowthChoice, surroundings: GrowthSurroundings) {
    this.#choice = choice;
    this.#surroundings = surroundings;
    this.#secondsLeft = secondsOfGrowth(choice);
  }

  async pgbenchDimensions(belongings: Belongings): Promise<Machine> {
    const dimensions = this.#choice.dimensions.filter(({ name }) => name !== "participants");
    const { scale } = this.#choice;
    const select = CASES.filter(({ name }) => name === "select");
    const shardsMin = Math.max(1, ...dimensions.flatMap((one) => (one.name === "shards" ? one.values : [])));
    const parts = { ...this.#surroundings, belongings, scale, hasPgpool: false, shardsMin };
    const stage = await Stage.set(select, parts);
    const peer = await peerOf(stage, (line) => this.#leaveOut(line));
    for (const dimension of dimensions)
      await this.#measure(dimension, async (value, title) => {
        const making = pgbenchContenders(dimension.name, value, scale, stage, peer);
        const { contenders, absent } = await whoCan(title, stage.progress, making);
        this.leftOut.push(...absent);
        return { contenders, finish: async () => {} };
      });
    return machineFacts(await stage.versions());
  }

  async transferDimensions(belongings: Belongings): Promise<void> {
    const dimensions = this.#choice.dimensions.filter(({ name }) => name === "participants");
    if (dimensions.length === 0) return;
    const { progress, workers } = this.#surroundings;
    const stage = await CommitStage.set(belongings, workers);
    const count = Math.max(...dimensions.flatMap(({ values }) => values));
    progress.say(`starting ${count} shards…`);
    await stage.startShards(count, "disk");
    for (const dimension of dimensions)
      await this.#measure(dimension, async (participants, title) => {
        const made = await transferContenders(participants, stage, (line) => this.#leaveOut(line));
        const finish = async (hasFailed: boolean) => {
          await made.close();
          if (!hasFailed) await requireMoney(title, await stage.bank(participants));
        };
        return { contenders: made.contenders, finish };
      });
  }

  /** A value that nobody can be prepared for is left out; lost money ends the run. */
  async #measure(
    dimension: Dimension,
    prepare: (value: number, title: string) => Promise<Taking>,
  ): Promise<void> {
    const { progress } = this.#surroundings;
    const points: GrowthPoint[] = [];
    for (const value of dimension.values) {
      const title = `growth, ${dimension.what}: ${valueWords(dimension, value)}`;
      progress.expect(this.#secondsLeft);
      const taking = await prepare(value, title).catch((error: Error) => error);
      if (taking instanceof Error) this.#leaveOut(`${title}: ${taking.message}`);
      else {
        const done = await takeTurns(title, taking.contenders, this.#choice, progress);
        points.push(...pointsOf(value, done.rounds));
        for (const line of done.leftOut) this.#leaveOut(line);
        await taking.finish(done.leftOut.length > 0);
      }
      this.#secondsLeft -= secondsOfTurns(dimension.contenders, this.#choice);
    }
    this.figures.push({ ...dimension, points });
  }

  #leaveOut(line: string): void {
    this.leftOut.push(line);
    this.#surroundings.progress.say(`left out: ${line}`);
  }
}

/** What it will take if nothing is left out. */
const secondsOfGrowth = (choice: GrowthChoice): number =>
  choice.dimensions.reduce(
    (sum, { contenders, values }) => sum + values.length * secondsOfTurns(contenders, choice),
    0,
  );
