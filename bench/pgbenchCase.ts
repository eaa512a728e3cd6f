/** The cases that pgbench makes the load of: proxies side by side, each in front of the same shards. */
import type { ConnectCase, PgbenchCase, RoutedCase } from "./cases.ts";
import { type Contender, type Turns, takeTurns, whoCan } from "./contender.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Access } from "./pgbench.ts";
import { knowsPreparedStatements } from "./pgbouncer.ts";
import { PGPOOL_CLIENTS_MAX } from "./pgpool.ts";
import type { Stage } from "./stage.ts";
import { type Row, rowsOf } from "./stats.ts";

export interface CaseDone {
  readonly rows: readonly Row[];
  readonly leftOut: readonly string[];
}

type LoadCase = PgbenchCase | ConnectCase | RoutedCase;

/** Postgres directly, PgBouncer, Pgpool-II where it is installed, and pgxa. */
export async function runPgbenchCase(one: PgbenchCase, stage: Stage, turns: Turns): Promise<CaseDone> {
  const make = await contenderMaker(one, stage);
  return race(one, stage, turns, [
    Promise.resolve(make("direct", stage.shards[0]!, null)),
    bouncer(one, stage).then(({ endpoint, pid }) => make("pgbouncer", endpoint, pid)),
    ...(stage.hasPgpool
      ? [pgpool(one, stage).then(({ endpoint, pid }) => make("pgpool", endpoint, pid))]
      : []),
    stage.pgxa(1).then(({ endpoint, pid }) => make("pgxa", endpoint, pid)),
  ]);
}

/** PgBouncer and pgxa, to which each transaction connects anew. */
export async function runConnectCase(one: ConnectCase, stage: Stage, turns: Turns): Promise<CaseDone> {
  const { access } = await stage.identity(one.login);
  const make = await contenderMaker(one, stage, access);
  return race(one, stage, turns, [
    stage.pgbouncer(one.login).then(({ endpoint, pid }) => make("pgbouncer", endpoint, pid)),
    stage.pgxaWithLogin(one.login).then(({ endpoint, pid }) => make("pgxa", endpoint, pid)),
  ]);
}

/** pgxa in front of one shard, and in front of three, each of which has every row: only the one that owns it is asked. */
export async function runRoutedCase(one: RoutedCase, stage: Stage, turns: Turns): Promise<CaseDone> {
  const make = await contenderMaker(one, stage);
  await stage.fillAllShards();
  return race(one, stage, turns, [
    stage.pgxa(1).then(({ endpoint, pid }) => make("pgxa", endpoint, pid)),
    stage.pgxa(3).then(({ endpoint, pid }) => make("pgxa 3 shards", endpoint, pid)),
  ]);
}

type Make = (name: string, endpoint: Endpoint, proxyPid: number | null) => Contender;

async function contenderMaker(one: LoadCase, stage: Stage, access?: Access): Promise<Make> {
  const pgbench = await stage.pgbench();
  return (name, endpoint, proxyPid) => ({
    name,
    proxyPid,
    run: (seconds) => pgbench.run(one, endpoint, seconds, access),
  });
}

async function race(
  one: LoadCase,
  stage: Stage,
  turns: Turns,
  making: readonly Promise<Contender>[],
): Promise<CaseDone> {
  const { contenders, absent } = await whoCan(one.name, stage.progress, making);
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

async function pgpool(one: PgbenchCase, stage: Stage) {
  if (one.clients > PGPOOL_CLIENTS_MAX)
    throw new Error(
      `Pgpool-II has a process and a server connection for each client: not for ${one.clients}`,
    );
  return stage.pgpool();
}
