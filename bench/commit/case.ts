/** The commit case: every cell of its plan, once on the disk as it is and once with slow flushes. */
import { preparedCount, TOTAL, totalBalance } from "../bank.ts";
import type { Belongings } from "../belongings.ts";
import { secondsOfTurns, takeTurns } from "../contender.ts";
import { machineFacts } from "../machine.ts";
import type { Workers } from "../pgxa.ts";
import type { Progress } from "../progress.ts";
import type { Bank } from "../stage.ts";
import { rowsOf } from "../stats.ts";
import { contendersOf } from "./contenders.ts";
import type { CellFigures, CommitFigures } from "./figures.ts";
import { type Cell, type CommitChoice, cellsOf, contendersOf as contendersIn, type Flush } from "./plan.ts";
import { CommitStage } from "./stage.ts";

export async function runCommitCase(
  choice: CommitChoice,
  belongings: Belongings,
  progress: Progress,
  workers: Workers,
): Promise<CommitFigures> {
  const stage = await CommitStage.set(belongings, workers);
  const cells = cellsOf(choice);
  const figures: CellFigures[] = [];
  const leftOut = new Set<string>();
  let postgres = "";
  for (const [index, flush] of choice.flushes.entries()) {
    const count = Math.max(...cells.map(({ participants }) => participants));
    progress.say(`starting ${count} shards${flush === "slow" ? " with slow flushes" : ""}…`);
    try {
      await stage.startShards(count, flush);
    } catch (error) {
      leftOut.add(`everything with ${flush} flushes: ${(error as Error).message}`);
      continue;
    }
    postgres ||= await stage.postgresVersion();
    for (const [at, cell] of cells.entries()) {
      const still = [...cells.slice(at), ...choice.flushes.slice(index + 1).flatMap(() => cells)];
      progress.expect(
        still.reduce((sum, each) => sum + secondsOfTurns(contendersIn(each, choice), choice), 0),
      );
      figures.push(await runCell(cell, flush, choice, stage, progress, leftOut));
    }
  }
  for (const line of leftOut) progress.say(`left out: ${line}`);
  return {
    machine: machineFacts({ postgres, pgbench: null, pgbouncer: null }),
    rounds: choice.rounds,
    secondsPerRound: choice.seconds,
    cells: figures,
    leftOut: [...leftOut],
  };
}

async function runCell(
  cell: Cell,
  flush: Flush,
  choice: CommitChoice,
  stage: CommitStage,
  progress: Progress,
  leftOut: Set<string>,
): Promise<CellFigures> {
  const { kind, participants, clients } = cell;
  const title = `${kind}, ${participants} participants, ${clients} client${clients === 1 ? "" : "s"}, ${flush}`;
  const taking = await contendersOf(cell, choice.logs, stage);
  const done = await takeTurns(title, taking.contenders, choice, progress);
  await taking.close();
  if (done.leftOut.length === 0) await requireMoney(title, await stage.bank(participants));
  for (const line of [...taking.leftOut, ...done.leftOut]) leftOut.add(line);
  return { ...cell, flush, rows: rowsOf(title, clients, done.rounds) };
}

/** Whoever loses money, or leaves something prepared, has no figures. */
export async function requireMoney(title: string, { shards }: Bank): Promise<void> {
  const [total, left] = [await totalBalance(shards), await preparedCount(shards)];
  if (total !== TOTAL) throw new Error(`${title}: the accounts hold ${total} instead of ${TOTAL}`);
  if (left !== 0) throw new Error(`${title}: ${left} branches were left prepared`);
}
