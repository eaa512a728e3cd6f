/**
 * The fairness case: a greedy tenant with many clients and a modest one with few share a pool of ten.
 *
 * Each client sends short statements one after the other, all of them more than ten connections can do; what is measured
 * is how long either tenant's clients wait. In PgBouncer the two share a pool because both are mapped to one role; what
 * it does by default, a pool of its own for each user, costs the shard as many connections for each tenant.
 */
import type pg from "pg";
import { connect } from "./bank.ts";
import type { FairnessCase } from "./cases.ts";
import type { Endpoint } from "./endpoint.ts";
import type { FairnessFigures, TenantFigures } from "./fairnessFigures.ts";
import { startPgbouncer } from "./pgbouncer.ts";
import { startPgxa } from "./pgxa.ts";
import type { Stage } from "./stage.ts";
import { percentile } from "./stats.ts";

const POOL_SIZE = 10;
const STATEMENT_MS = 5;
const MODEST_CLIENTS = 5;
const WARM_UP_MS = 1_000;
/** How many clients log in at the same time. */
const LOGINS_AT_ONCE = 50;

interface Tenant {
  readonly name: string;
  readonly clients: readonly pg.Client[];
  readonly latenciesMs: number[];
}

/** The case's clients are the greedy tenant's. */
export async function runFairnessCase(
  one: FairnessCase,
  stage: Stage,
  seconds: number,
): Promise<{ readonly fairness: FairnessFigures; readonly leftOut: readonly string[] }> {
  const contenders: readonly (readonly [name: string, start: () => Promise<Endpoint>])[] = [
    ["pgbouncer", () => startBouncer(stage)],
    ["pgxa", () => startProxy(stage)],
  ];
  const tenants: TenantFigures[] = [];
  const leftOut: string[] = [];
  for (const [contender, start] of contenders) {
    stage.progress.now(`${one.name} · ${contender}`);
    try {
      tenants.push(...(await measure(contender, await start(), one.clients, seconds)));
    } catch (error) {
      leftOut.push(`${contender} in ${one.name}: ${(error as Error).message}`);
    }
    stage.progress.spent(seconds);
  }
  return { fairness: { poolSize: POOL_SIZE, statementMs: STATEMENT_MS, seconds, tenants }, leftOut };
}

async function startProxy({ shards, belongings, directory, workers }: Stage): Promise<Endpoint> {
  const proxy = await startPgxa(shards.slice(0, 1), belongings, directory, [], {
    pool: { max: POOL_SIZE },
    workers,
  });
  return proxy.endpoint;
}

async function startBouncer(stage: Stage): Promise<Endpoint> {
  const { belongings, directory, shards } = stage;
  const users = ["greedy", "modest"];
  const options = { poolSize: POOL_SIZE, users };
  return (await startPgbouncer(stage.pgbouncerTool, shards[0]!, belongings, directory, options)).endpoint;
}

async function measure(
  contender: string,
  endpoint: Endpoint,
  greedyClients: number,
  seconds: number,
): Promise<readonly TenantFigures[]> {
  const greedy = await tenant(endpoint, "greedy", greedyClients);
  const modest = await tenant(endpoint, "modest", MODEST_CLIENTS);
  const countedFromMs = performance.now() + WARM_UP_MS;
  const untilMs = countedFromMs + seconds * 1_000;
  await Promise.all([greedy, modest].map((each) => load(each, countedFromMs, untilMs)));
  await Promise.all([...greedy.clients, ...modest.clients].map((client) => client.end()));
  return [greedy, modest].map((each) => figures(contender, each));
}

async function tenant(endpoint: Endpoint, name: string, count: number): Promise<Tenant> {
  const clients: pg.Client[] = [];
  while (clients.length < count) {
    const next = Math.min(LOGINS_AT_ONCE, count - clients.length);
    const logins = Array.from({ length: next }, () => connect({ ...endpoint, user: name }));
    clients.push(...(await Promise.all(logins)));
  }
  return { name, clients, latenciesMs: [] };
}

async function load({ clients, latenciesMs }: Tenant, fromMs: number, untilMs: number): Promise<void> {
  await Promise.all(
    clients.map(async (client) => {
      for (let sentMs = performance.now(); sentMs < untilMs; sentMs = performance.now()) {
        await client.query(`SELECT pg_sleep(${STATEMENT_MS / 1_000})`);
        if (sentMs >= fromMs) latenciesMs.push(performance.now() - sentMs);
      }
    }),
  );
}

function figures(contender: string, { name, clients, latenciesMs }: Tenant): TenantFigures {
  const sorted = latenciesMs.toSorted((a, b) => a - b);
  return {
    contender,
    tenant: name,
    clients: clients.length,
    transactions: sorted.length,
    p50Ms: percentile(sorted, 0.5),
    p95Ms: percentile(sorted, 0.95),
    p99Ms: percentile(sorted, 0.99),
    maxMs: sorted.at(-1) ?? 0,
  };
}
