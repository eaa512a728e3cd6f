/** The conservation case: no race, but a count of what a thousand transfers at once left behind. */
import { setTimeout as delay } from "node:timers/promises";
import { preparedCount, totalBalance, transfersByShard } from "./bank.ts";
import type { TransferCase } from "./cases.ts";
import { type ConservationFigures, tally } from "./conservation.ts";
import type { Endpoint } from "./endpoint.ts";
import { LoadProcess } from "./loadProcess.ts";
import type { Stage } from "./stage.ts";

/** How long the resolver may take to finish what the transfers left prepared. */
const SETTLE_MS = 15_000;
const POLL_MS = 100;

/** Each of the case's clients makes `transfersPerClient` transfers. */
export async function runConserveCase(
  one: TransferCase,
  stage: Stage,
  transfersPerClient: number,
): Promise<ConservationFigures> {
  const { shards, accounts } = await stage.bank();
  const proxy = await stage.pgxa(2);
  const totalBefore = await totalBalance(shards);
  stage.progress.now(`${one.name} · ${one.clients} clients`);
  const shardIds = shards.map(({ id }) => id);
  const report = await new LoadProcess(stage.belongings).conserve({
    proxy: proxy.endpoint,
    shardIds,
    accounts,
    clients: one.clients,
    transfersPerClient,
    total: totalBefore,
  });
  const leftPrepared = await settled(shards);
  return {
    clients: one.clients,
    ...tally(report.outcomes, await transfersByShard(shards)),
    totalBefore,
    totalAfter: await totalBalance(shards),
    leftPrepared,
    totalsRead: report.totalsRead,
    totalsTorn: report.totalsTorn,
  };
}

/** What is still prepared once nothing is, or the time is up. */
async function settled(shards: readonly Endpoint[]): Promise<number> {
  const deadline = performance.now() + SETTLE_MS;
  let left = await preparedCount(shards);
  while (left > 0 && performance.now() < deadline) {
    await delay(POLL_MS);
    left = await preparedCount(shards);
  }
  return left;
}
