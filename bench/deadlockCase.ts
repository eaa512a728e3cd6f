/** The deadlock case: how soon circles are broken, what looking costs, and that nobody looks for nothing. */

import { shardId } from "../src/base/brands.ts";
import { LockProbe } from "../src/deadlock/lockProbe.ts";
import { type AccountsByShard, connect } from "./bank.ts";
import type { DeadlockCase } from "./cases.ts";
import { closeCircles, type Member } from "./deadlockCircle.ts";
import type { DeadlockFigures } from "./deadlockFigures.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Stage } from "./stage.ts";
import { median, percentile } from "./stats.ts";
import { proxiedClient } from "./transferClients.ts";

const CIRCLES_PER_ROUND = 10;
const SIZES = [2, 3, 4, 8];
/** Postgres's own detector takes a second each time. */
const OWN_CIRCLES = 5;
const WAITING_SESSIONS = 500;
const PROBES = 20;
const CALM_CLIENTS = 8;
const CALM_TRANSFERS = 100;

export async function runDeadlockCase(
  _one: DeadlockCase,
  stage: Stage,
  rounds: number,
): Promise<DeadlockFigures> {
  const { shards, accounts } = await stage.bank();
  const proxy = await stage.pgxa(2);
  const circles: DeadlockFigures["circles"][number][] = [];
  for (const size of SIZES) {
    stage.progress.now(`deadlock · circles of ${size}`);
    circles.push(
      summary(
        "pgxa",
        size,
        await closeCircles(membersOf(size, accounts, proxy.endpoint), rounds * CIRCLES_PER_ROUND),
      ),
    );
  }
  stage.progress.now("deadlock · Postgres's own detector, within one shard");
  const own = await closeCircles(membersOf(2, [accounts[0]!], shards[0]!), OWN_CIRCLES);
  circles.push(summary("postgres, one shard", 2, own));
  stage.progress.now("deadlock · transfers that wait for nobody");
  const calmProbes = await probesOfCalmTransfers(proxy.endpoint, proxy.metricsPort, accounts);
  stage.progress.now(`deadlock · a probe with ${WAITING_SESSIONS} waiting sessions`);
  return {
    circles,
    calmTransfers: CALM_CLIENTS * CALM_TRANSFERS,
    calmProbes,
    ...(await probeCost(shards[0]!, accounts)),
  };
}

/** Each holds a row and wants the next one's; the rows lie on the shards in turn. */
function membersOf(size: number, accounts: AccountsByShard, endpoint: Endpoint): readonly Member[] {
  const row = (i: number): number => accounts[i % accounts.length]![i]!;
  return Array.from({ length: size }, (_, i) => ({ endpoint, holds: row(i), wants: row((i + 1) % size) }));
}

function summary(
  contender: string,
  size: number,
  elapsedMs: readonly number[],
): DeadlockFigures["circles"][number] {
  const sorted = elapsedMs.toSorted((one, other) => one - other);
  const [p50Ms, p99Ms] = [median(sorted), percentile(sorted, 0.99)];
  return { contender, size, circles: sorted.length, p50Ms, p99Ms, maxMs: sorted.at(-1)! };
}

/** How often a shard was asked while clients moved money between accounts of their own. */
async function probesOfCalmTransfers(
  proxy: Endpoint,
  metricsPort: number,
  [first, second]: AccountsByShard,
): Promise<number> {
  const before = await probeCount(metricsPort);
  await Promise.all(
    Array.from({ length: CALM_CLIENTS }, async (_, i) => {
      const client = await proxiedClient(proxy);
      for (let n = 0; n < CALM_TRANSFERS; n++) {
        await client.transfer([
          { account: first![100 + i]!, amount: -1 },
          { account: second![100 + i]!, amount: 1 },
        ]);
      }
      await client.close();
    }),
  );
  return (await probeCount(metricsPort)) - before;
}

async function probeCount(port: number): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return Number(/^pgxa_deadlock_probes_total (\d+)/m.exec(text)?.[1] ?? 0);
}

/** What one look at a shard takes when many sessions wait for one row there. */
async function probeCost(
  shard: Endpoint,
  accounts: AccountsByShard,
): Promise<Pick<DeadlockFigures, "waitingSessions" | "probeMs">> {
  const sql = `UPDATE accounts SET balance = balance + 1 WHERE id = ${accounts[0]![0]!}`;
  const holder = await connect(shard);
  await holder.query(`BEGIN; ${sql}`);
  const waiters = await Promise.all(Array.from({ length: WAITING_SESSIONS }, () => connect(shard)));
  const done = waiters.map((client) => client.query(sql).finally(() => client.end()));
  const probe = new LockProbe({ ...shard, id: shardId("probed"), password: undefined });
  try {
    while ((await probe.waits().catch(() => [])).length < WAITING_SESSIONS)
      // the rush of their statements
      await new Promise((resolve) => setTimeout(resolve, 50));
    const elapsed: number[] = [];
    for (let i = 0; i < PROBES; i++) {
      const began = performance.now();
      await probe.waits();
      elapsed.push(performance.now() - began);
    }
    return { waitingSessions: WAITING_SESSIONS, probeMs: median(elapsed) };
  } finally {
    await probe.close();
    await holder.query("ROLLBACK");
    await holder.end();
    await Promise.all(done);
  }
}
