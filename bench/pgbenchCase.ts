/** A pgbench case: Postgres directly, PgBouncer and pgxa, each in front of the same shard. */
import type { PgbenchCase } from "./cases.ts";
import { type Contender, type Turns, takeTurns } from "./contender.ts";
import type { Endpoint } from "./endpoint.ts";
import { knowsPreparedStatements } from "./pgbouncer.ts";
import type { Stage } from "./stage.ts";
import { type Row, rowsOf } from "./stats.ts";

export interface CaseDone {
  readonly rows: readonly Row[];
  readonly leftOut: readonly string[];
}

export async function runPgbenchCase(one: PgbenchCase, stage: Stage, turns: Turns): Promise<CaseDone> {
  const pgbench = await stage.pgbench();
  const contender = (name: string, endpoint: Endpoint, proxyPid: number | null): Contender => ({
    name,
    proxyPid,
    run: (seconds) => pgbench.run(one, endpoint, seconds),
  });
  const made = await Promise.allSettled([
    contender("direct", stage.shards[0]!, null),
    bouncer(one, stage).then(({ endpoint, pid }) => contender("pgbouncer", endpoint, pid)),
    stage.pgxa(1).then(({ endpoint, pid }) => contender("pgxa", endpoint, pid)),
  ]);
  const contenders = made.filter((each) => each.status === "fulfilled").map((each) => each.value);
  const absent = made
    .filter((each) => each.status === "rejected")
    .map((each) => `${one.name}: ${each.reason.message}`);
  for (const line of absent) stage.progress.say(`left out: ${line}`);
  const done = await takeTurns(one.name, contenders, turns, stage.progress);
  return { rows: rowsOf(one.name, one.clients, done.rounds), leftOut: [...absent, ...done.leftOut] };
}

async function bouncer(one: PgbenchCase, stage: Stage) {
  const running = await stage.pgbouncer();
  if (one.protocol === "prepared" && !knowsPreparedStatements(running.version)) {
    throw new Error(
      `PgBouncer ${running.version} can't pool transactions with prepared statements (1.21 and newer can)`,
    );
  }
  return running;
}
