// Pure.
/**
 * What a worker tells of itself, so that console and metrics can speak for all workers: the values of `Sources`, one by
 * one and plain, for they are sent to another process.
 *
 * Only what is asked for is worked out. What shards have to be asked for comes first, so that everything else is of the
 * moment in which the answer leaves: numbers that only grow do so from answer to answer.
 */
import type { DeadlockRecord } from "../../deadlock/history.ts";
import type { WaitRow } from "../../deadlock/report.ts";
import type { Buckets } from "../../observe/buckets.ts";
import type { Totals } from "../../observe/traffic.ts";
import type { OperationState } from "../operations.ts";
import type * as view from "../views.ts";
import { type Checkouts, checkoutsOf } from "./checkouts.ts";
import type { Family } from "./families.ts";

/** Clients that the metrics do not tell apart. */
export interface ClientGroup {
  readonly user: string;
  readonly database: string;
  readonly state: view.ClientState;
  readonly count: number;
  /** Of the one that has waited longest. */
  readonly waitMs: number;
}

export interface OperationFacts {
  readonly state: OperationState;
  /** Names of databases. */
  readonly paused: readonly string[];
  readonly disabled: readonly string[];
}

export interface Facts {
  readonly version: string;
  readonly traffic: readonly view.TrafficView[];
  readonly refusals: ReadonlyMap<string, number>;
  /** Of each database how much a second. */
  readonly averages: ReadonlyMap<string, Totals>;
  readonly clients: readonly view.ClientView[];
  readonly clientGroups: readonly ClientGroup[];
  readonly handshakes: number;
  readonly servers: readonly view.ServerView[];
  readonly databases: readonly view.DatabaseView[];
  readonly checkouts: readonly Checkouts[];
  readonly users: readonly view.UserView[];
  readonly transactions: readonly view.TransactionView[];
  readonly shards: readonly view.ShardView[];
  readonly routes: readonly view.RouteView[];
  readonly planCache: view.PlanCacheView;
  readonly options: readonly view.OptionView[];
  readonly limits: view.LimitsView | null;
  readonly pins: readonly view.PinView[];
  readonly inDoubt: readonly view.InDoubtView[];
  readonly inDoubtNow: readonly view.InDoubtDetails[];
  readonly heuristics: readonly view.HeuristicView[];
  /** All verdicts there may be, and that of each transaction. */
  readonly verdicts: { readonly names: readonly string[]; readonly of: Readonly<Record<string, string>> };
  readonly decisions: readonly view.DecisionView[];
  readonly commits: view.CommitView | null;
  readonly waits: readonly WaitRow[];
  readonly deadlocks: readonly DeadlockRecord[];
  readonly lockWaits: Buckets | null;
  readonly isDraining: boolean;
  readonly operations: OperationFacts | null;
  readonly memory: view.MemoryView;
  readonly workers: view.WorkersView;
  /** What prom-client counts. */
  readonly counted: readonly Family[];
}

export type FactName = keyof Facts;

/** Where a worker has them from. */
export interface FactSources {
  readonly sources: view.Sources;
  counted(): Promise<readonly Family[]>;
}

type Take<Name extends FactName> = (from: FactSources) => Facts[Name] | Promise<Facts[Name]>;

const TAKE: { readonly [Name in FactName]: Take<Name> } = {
  version: ({ sources }) => sources.version,
  traffic: ({ sources }) =>
    [...sources.traffic.databases].map(({ name, totals, errors, query, transaction, wait }) => {
      return { name, totals, errors, query, transaction, wait };
    }),
  refusals: ({ sources }) => sources.traffic.refusals,
  averages: ({ sources: { traffic, statistics } }) =>
    new Map([...traffic.databases].map(({ name }) => [name, statistics.of(name).perSecond])),
  clients: ({ sources }) => sources.clients(),
  clientGroups: ({ sources }) => groupsOf(sources.clients()),
  handshakes: ({ sources }) => sources.handshakes(),
  servers: ({ sources }) => sources.servers(),
  databases: ({ sources }) => sources.databases(),
  checkouts: ({ sources }) => checkoutsOf(sources.databases()),
  users: ({ sources }) => sources.users(),
  transactions: ({ sources }) => sources.transactions(),
  shards: ({ sources }) => sources.shards(),
  routes: ({ sources }) => sources.routes(),
  planCache: ({ sources }) => sources.planCache(),
  options: ({ sources }) => sources.options(),
  limits: ({ sources }) => sources.limits(),
  pins: ({ sources }) => sources.pins(),
  inDoubt: ({ sources }) => sources.inDoubt(),
  inDoubtNow: ({ sources }) => sources.inDoubtNow(),
  heuristics: ({ sources }) => sources.heuristics(),
  verdicts: ({ sources }) => ({
    names: Object.keys(sources.heuristicCounts()),
    of: sources.heuristicVerdicts(),
  }),
  decisions: ({ sources }) => sources.decisions(),
  commits: ({ sources }) => sources.commits(),
  waits: ({ sources }) => sources.waits(),
  deadlocks: ({ sources }) => sources.deadlocks(),
  lockWaits: ({ sources }) => sources.lockWaits,
  isDraining: ({ sources }) => sources.isDraining,
  operations: ({ sources }) => operationFacts(sources),
  memory: ({ sources }) => sources.memory(),
  workers: ({ sources }) => sources.workers(),
  counted: ({ counted }) => counted(),
};

export const FACT_NAMES = Object.keys(TAKE) as readonly FactName[];

/** What each worker knows of all of them, since it asks the shards, and the others where it has to. */
export const KNOWN_TO_EACH: ReadonlySet<FactName> = new Set(["inDoubtNow", "waits"]);

/** What shards or files are asked for. */
const SLOW: ReadonlySet<FactName> = new Set(["inDoubtNow", "heuristics", "waits"]);

/** Those of `names`; asks shards for some of them. */
export async function takeFacts(from: FactSources, names: readonly FactName[]): Promise<Partial<Facts>> {
  const slow = await take(
    from,
    names.filter((name) => SLOW.has(name)),
  );
  const rest = await take(
    from,
    names.filter((name) => !SLOW.has(name)),
  );
  return { ...slow, ...rest };
}

async function take(from: FactSources, names: readonly FactName[]): Promise<Partial<Facts>> {
  const taken = names.map(async (name) => [name, await TAKE[name](from)] as const);
  return Object.fromEntries(await Promise.all(taken));
}

function groupsOf(clients: readonly view.ClientView[]): readonly ClientGroup[] {
  const groups = new Map<string, ClientGroup>();
  for (const { user, database, state, waitMs } of clients) {
    const key = JSON.stringify([user, database, state]);
    const known = groups.get(key) ?? { user, database, state, count: 0, waitMs: 0 };
    groups.set(key, { ...known, count: known.count + 1, waitMs: Math.max(known.waitMs, waitMs) });
  }
  return [...groups.values()];
}

function operationFacts(sources: view.Sources): OperationFacts | null {
  const { operations } = sources;
  if (operations === null) return null;
  const names = sources.databases().map(({ name }) => name);
  return {
    state: operations.state,
    paused: names.filter((name) => operations.isPaused(name)),
    disabled: names.filter((name) => operations.isDisabled(name)),
  };
}
