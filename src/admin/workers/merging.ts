// Pure.
/**
 * How the workers' facts become those of one pgxa, fact by fact; and what of a worker that is gone is still true.
 *
 * Numbers that are counted add up, and stay when a worker dies, so that none goes backwards. What is the same everywhere
 * is taken once. Where workers differ in what they think of a shard, the worst is said: some clients feel it.
 */
import { Buckets } from "../../observe/buckets.ts";
import { addTotals, noTotals, OTHER, type Totals } from "../../observe/traffic.ts";
import type * as view from "../views.ts";
import { poolKey } from "./checkouts.ts";
import type { ClientGroup, FactName, Facts, OperationFacts } from "./facts.ts";
import { familiesThatGrow, mergeFamilies } from "./families.ts";
import { mergeHeuristics, mergeVerdicts } from "./heuristics.ts";

interface Rule<Fact> {
  /** Of none: what there is without any worker. */
  merge(all: readonly Fact[]): Fact;
  /** Of one that is gone; absent: nothing. */
  remains?(gone: Fact): Fact;
  /** The last that was heard will do when no worker answers. */
  readonly isKept?: true;
}

const once = <Fact>(none: Fact): Rule<Fact> => ({ merge: ([first]) => first ?? none, isKept: true });
const together = <Row>(): Rule<readonly Row[]> => ({ merge: (all) => all.flat() });
const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);

export const RULES: { readonly [Name in FactName]: Rule<Facts[Name]> } = {
  version: once(""),
  traffic: { merge: mergeTraffic, remains: (gone) => gone },
  refusals: { merge: addNumbers, remains: (gone) => gone },
  averages: { merge: mergeAverages },
  clients: together(),
  clientGroups: together<ClientGroup>(),
  handshakes: { merge: sum },
  servers: together(),
  databases: { merge: mergeDatabases },
  checkouts: { merge: mergeCheckouts, remains: (gone) => gone },
  users: { merge: (all) => byKey(all.flat(), ({ name }) => name) },
  transactions: together(),
  shards: { merge: mergeShards, isKept: true },
  routes: once<Facts["routes"]>([]),
  planCache: { merge: mergePlanCaches, remains: (gone) => ({ ...gone, plans: 0 }) },
  options: once<Facts["options"]>([]),
  limits: once<Facts["limits"]>(null),
  pins: together(),
  inDoubt: { merge: (all) => byKey(all.flat(), ({ shard, gid }) => `${shard} ${gid}`) },
  inDoubtNow: { merge: ([first]) => first ?? [] },
  heuristics: { merge: mergeHeuristics },
  verdicts: { merge: mergeVerdicts },
  decisions: { merge: (all) => byKey(all.flat(), ({ gtrid }) => gtrid) },
  commits: { merge: mergeCommits, remains: (gone) => gone && { ...gone, slots: [] } },
  waits: { merge: ([first]) => first ?? [] },
  deadlocks: together(), // the parent numbers them (deadlockBook.ts)
  lockWaits: { merge: mergeAnyBuckets, remains: (gone) => gone },
  isDraining: { merge: (all) => all.some((one) => one) },
  operations: { merge: mergeOperations },
  memory: { merge: mergeMemory },
  workers: { merge: (all) => ({ running: sum(all.map(({ running }) => running)), restarts: 0 }) },
  counted: { merge: (all) => mergeFamilies(all.flat()), remains: familiesThatGrow },
};

/** All facts of the name `name` as one. */
export const mergeFact = <Name extends FactName>(name: Name, all: readonly Facts[Name][]): Facts[Name] =>
  (RULES[name] as unknown as Rule<Facts[Name]>).merge(all);

/** What is left of the facts of a worker that is gone. */
export function remainsOf(gone: Partial<Facts>): Partial<Facts> {
  const left = Object.entries(gone).flatMap(([name, fact]) => {
    const { remains } = RULES[name as FactName] as Rule<unknown>;
    return remains === undefined ? [] : [[name, remains(fact)] as const];
  });
  return Object.fromEntries(left);
}

/** Adds `more` to what has been left by those before; both are remains. */
export function addRemains(before: Partial<Facts>, more: Partial<Facts>): Partial<Facts> {
  const added = Object.entries(more).map(([name, fact]) => {
    const known = before[name as FactName];
    return [name, known === undefined ? fact : mergeFact(name as FactName, [known, fact] as never)] as const;
  });
  return { ...before, ...Object.fromEntries(added) };
}

function mergeBuckets(all: readonly Pick<Buckets, "boundsMs" | "counts" | "sumMs">[]): Buckets {
  const merged = new Buckets(all[0]?.boundsMs);
  for (const { counts, sumMs } of all) {
    for (const [i, count] of counts.entries()) merged.counts[i]! += count;
    merged.sumMs += sumMs;
  }
  return merged;
}

function mergeAnyBuckets(all: readonly (Buckets | null)[]): Buckets | null {
  const some = all.filter((one) => one !== null);
  return some.length === 0 ? null : mergeBuckets(some);
}

function addNumbers(all: readonly ReadonlyMap<string, number>[]): ReadonlyMap<string, number> {
  const added = new Map<string, number>();
  for (const one of all) for (const [name, count] of one) added.set(name, (added.get(name) ?? 0) + count);
  return added;
}

/** The first of each key. */
function byKey<Row>(rows: readonly Row[], keyOf: (row: Row) => string): readonly Row[] {
  const found = new Map<string, Row>();
  for (const row of rows) if (!found.has(keyOf(row))) found.set(keyOf(row), row);
  return [...found.values()];
}

/** Rows of one key, in the order of their first. */
function grouped<Row>(rows: readonly Row[], keyOf: (row: Row) => string): readonly (readonly Row[])[] {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const key = keyOf(row);
    const known = groups.get(key);
    if (known === undefined) groups.set(key, [row]);
    else known.push(row);
  }
  return [...groups.values()];
}

/** As many as one worker tells apart; it is they whose names come from clients. */
const NAMES_MAX = 100;

function mergeTraffic(all: readonly (readonly view.TrafficView[])[]): readonly view.TrafficView[] {
  const known = new Set<string>();
  const nameOf = ({ name }: view.TrafficView): string => {
    if (known.size < NAMES_MAX) known.add(name);
    return known.has(name) ? name : OTHER;
  };
  return grouped(all.flat(), nameOf).map((rows) => ({
    name: known.has(rows[0]!.name) ? rows[0]!.name : OTHER,
    totals: rows.reduce((total, { totals }) => addTotals(total, totals), noTotals()),
    errors: addNumbers(rows.map(({ errors }) => errors)),
    query: mergeBuckets(rows.map(({ query }) => query)),
    transaction: mergeBuckets(rows.map(({ transaction }) => transaction)),
    wait: mergeBuckets(rows.map(({ wait }) => wait)),
  }));
}

function mergeAverages(all: readonly ReadonlyMap<string, Totals>[]): ReadonlyMap<string, Totals> {
  const merged = new Map<string, Totals>();
  for (const one of all) {
    for (const [name, perSecond] of one) {
      merged.set(name, addTotals(merged.get(name) ?? noTotals(), perSecond));
    }
  }
  return merged;
}

function mergeDatabases(all: readonly (readonly view.DatabaseView[])[]): readonly view.DatabaseView[] {
  return grouped(all.flat(), ({ name }) => name).map((rows) => ({
    ...rows[0]!,
    clients: sum(rows.map(({ clients }) => clients)),
    pools: grouped(
      rows.flatMap(({ pools }) => pools),
      poolKey,
    ).map(mergePools),
  }));
}

/** Of one size for all workers. */
const mergePools = (pools: readonly view.PoolView[]): view.PoolView => ({
  ...pools[0]!,
  min: Math.max(...pools.map(({ min }) => min)),
  max: Math.max(...pools.map(({ max }) => max)),
  servers: {
    active: sum(pools.map(({ servers }) => servers.active)),
    idle: sum(pools.map(({ servers }) => servers.idle)),
    login: sum(pools.map(({ servers }) => servers.login)),
  },
  queued: sum(pools.map(({ queued }) => queued)),
  checkout: mergeBuckets(pools.map(({ checkout }) => checkout)),
});

function mergeCheckouts(all: readonly Facts["checkouts"][]): Facts["checkouts"] {
  return grouped(all.flat(), ({ database, pool }) => `${database} ${pool}`).map((rows) => ({
    ...rows[0]!,
    checkout: mergeBuckets(rows.map(({ checkout }) => checkout)),
  }));
}

const STATES = ["up", "suspect", "down"] as const;
const BREAKERS = ["closed", "half_open", "open"] as const;
const worst = <State>(order: readonly State[], states: readonly State[]): State =>
  order[Math.max(...states.map((state) => order.indexOf(state)))]!;

function mergeShards(all: readonly (readonly view.ShardView[])[]): readonly view.ShardView[] {
  return grouped(all.flat(), ({ name }) => name).map((rows) => {
    const known = rows.flatMap(({ health }) => health ?? []);
    if (known.length === 0) return rows[0]!;
    const state = worst(
      STATES,
      known.map((one) => one.state),
    );
    const breaker = worst(
      BREAKERS,
      known.map((one) => one.breaker),
    );
    const reason = known.find((one) => one.state === state)?.reason ?? null;
    return { ...rows[0]!, health: { state, breaker, reason } };
  });
}

function mergePlanCaches(all: readonly view.PlanCacheView[]): view.PlanCacheView {
  return {
    plans: sum(all.map(({ plans }) => plans)),
    hits: sum(all.map(({ hits }) => hits)),
    normalisedHits: sum(all.map(({ normalisedHits }) => normalisedHits)),
    misses: sum(all.map(({ misses }) => misses)),
  };
}

function mergeCommits(all: readonly (view.CommitView | null)[]): view.CommitView | null {
  const some = all.filter((one) => one !== null);
  if (some.length === 0) return null;
  const slots = grouped(
    some.flatMap((one) => one.slots),
    ({ shard }) => shard,
  );
  const outcome = (of: keyof view.CommitView["outcomes"]): number =>
    sum(some.map(({ outcomes }) => outcomes[of]));
  const step = (of: keyof view.CommitView["steps"]): Buckets =>
    mergeBuckets(some.map(({ steps }) => steps[of]));
  return {
    outcomes: {
      committed: outcome("committed"),
      aborted: outcome("aborted"),
      unknown: outcome("unknown"),
    },
    phases: {
      one: sum(some.map(({ phases }) => phases.one)),
      two: sum(some.map(({ phases }) => phases.two)),
    },
    steps: {
      prepare: step("prepare"),
      decide: step("decide"),
      commit_prepared: step("commit_prepared"),
    },
    logSync: mergeBuckets(some.map(({ logSync }) => logSync)),
    slots: slots.map(mergeSlots),
    resolved: sum(some.map(({ resolved }) => resolved)),
  };
}

function mergeSlots(rows: readonly view.SlotsView[]): view.SlotsView {
  const known = rows.flatMap(({ max }) => max ?? []);
  const max = known.length === 0 ? null : Math.max(...known);
  return { shard: rows[0]!.shard, used: sum(rows.map(({ used }) => used)), max };
}

const OPERATION_STATES = ["active", "paused", "suspended", "draining"] as const;

/** A command reaches all workers, so they differ only while it is under way. */
function mergeOperations(all: readonly (OperationFacts | null)[]): OperationFacts | null {
  const some = all.filter((one) => one !== null);
  if (some.length === 0) return null;
  const state = worst(
    OPERATION_STATES,
    some.map((one) => one.state),
  );
  const paused = [...new Set(some.flatMap((one) => one.paused))];
  const disabled = [...new Set(some.flatMap((one) => one.disabled))];
  return { state, paused, disabled };
}

function mergeMemory(all: readonly view.MemoryView[]): view.MemoryView {
  return {
    rss: sum(all.map(({ rss }) => rss)),
    heapTotal: sum(all.map(({ heapTotal }) => heapTotal)),
    heapUsed: sum(all.map(({ heapUsed }) => heapUsed)),
    external: sum(all.map(({ external }) => external)),
    arrayBuffers: sum(all.map(({ arrayBuffers }) => arrayBuffers)),
  };
}
