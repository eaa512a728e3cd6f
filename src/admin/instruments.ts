/**
 * pgxa's metrics, but for those of pins and deadlocks (observe/metrics.ts); docs/metrics.md is made from this table.
 *
 * By Prometheus's conventions: seconds and bytes, `_total` for what only grows, a unit at the end.
 */
import type { Registry } from "prom-client";
import type { Totals } from "../observe/traffic.ts";
import { type Instrument, type Labels, limitNames, register, type Sample } from "./instrument.ts";
import type { DatabaseView, PlanCacheView, PoolView, Shown, TrafficView } from "./views.ts";

type Samples = (sources: Shown) => Iterable<Sample>;

const gauge = (name: string, help: string, labels: readonly string[], samples: Samples): Instrument => ({
  name,
  help,
  labels,
  read: { type: "gauge", samples },
});
const counter = (name: string, help: string, labels: readonly string[], samples: Samples): Instrument => ({
  name,
  help,
  labels,
  read: { type: "counter", samples },
});

/** A number that is kept for each database. */
const total = (name: string, help: string, of: keyof Totals, scale = 1): Instrument =>
  counter(name, help, ["database"], (sources) =>
    [...sources.traffic.databases].map((one) => [{ database: one.name }, one.totals[of] * scale]),
  );

const perDatabase = (name: string, help: string, of: "query" | "transaction" | "wait"): Instrument => ({
  name,
  help,
  labels: ["database"],
  read: {
    type: "histogram",
    buckets: (sources) =>
      [...sources.traffic.databases].map((one: TrafficView) => [{ database: one.name }, one[of]]),
  },
});

/** A pool to a standby says so; one to the primary has no such label. */
const roleOf = ({ role }: PoolView): Labels => (role === undefined ? {} : { role });

/** A number of each pool. */
const ofPools = (
  name: string,
  help: string,
  labels: readonly string[],
  read: (pool: PoolView) => readonly (readonly [labels: Labels, value: number])[],
): Instrument =>
  gauge(name, help, ["database", "shard", "role", ...labels], (sources) => {
    const limited = limitNames();
    return sources.databases().flatMap((database: DatabaseView) =>
      database.pools.flatMap((pool) =>
        read(pool).map(([more, value]): Sample => {
          return [{ database: limited(database.name), shard: pool.shard, ...roleOf(pool), ...more }, value];
        }),
      ),
    );
  });

/** A histogram of the commit protocol; nothing with one shard. */
const COMMIT_STEPS: Instrument = {
  name: "pgxa_commit_phase_seconds",
  help: "How long the phases of commits on several shards took: all votes, the decision, all answers to COMMIT PREPARED",
  labels: ["phase"],
  read: {
    type: "histogram",
    buckets: (sources) =>
      Object.entries({ ...sources.commits()?.steps }).map(([phase, buckets]) => [{ phase }, buckets]),
  },
};

const CLIENTS: readonly Instrument[] = [
  gauge("pgxa_clients", "Clients by database and state", ["database", "state"], (sources) => {
    const limited = limitNames();
    return [
      ...sources
        .databases()
        .flatMap(({ name }) =>
          ["active", "idle", "waiting"].map((state): Sample => [{ database: limited(name), state }, 0]),
        ),
      ...sources.clients().map(({ database, state }): Sample => [{ database: limited(database), state }, 1]),
    ];
  }),
  gauge("pgxa_logging_in_clients", "Connections on their way to be a client", [], (sources) => [
    [{}, sources.handshakes()],
  ]),
  gauge("pgxa_clients_max", "How many clients there may be", [], (sources) => [
    [{}, sources.limits().clientsMax],
  ]),
  gauge(
    "pgxa_longest_wait_seconds",
    "How long the client has waited that has waited longest",
    [],
    (sources) => [[{}, Math.max(0, ...sources.clients().map(({ waitMs }) => waitMs)) / 1_000]],
  ),
  total("pgxa_logins_total", "Clients that were let in", "logins"),
  counter(
    "pgxa_login_failures_total",
    "Clients that were not let in, by the id of the error",
    ["reason"],
    (sources) => [...sources.traffic.refusals].map(([reason, count]) => [{ reason }, count]),
  ),
];

const TRAFFIC: readonly Instrument[] = [
  total("pgxa_queries_total", "Simple queries, and batches up to a Sync", "queries"),
  total("pgxa_transactions_total", "Transactions that have ended", "transactions"),
  total("pgxa_received_bytes_total", "Bytes from clients, after their login", "receivedBytes"),
  total("pgxa_sent_bytes_total", "Bytes to clients, after their login", "sentBytes"),
  total("pgxa_server_assignments_total", "How often a client was given a server connection", "assignments"),
  total("pgxa_client_parses_total", "Parse messages from clients", "clientParses"),
  total("pgxa_server_parses_total", "Parse messages to shards", "serverParses"),
  total("pgxa_binds_total", "Bind messages from clients", "binds"),
  counter(
    "pgxa_errors_total",
    "Errors that clients were told, by the class of their SQLSTATE",
    ["database", "sqlstate_class"],
    (sources) =>
      [...sources.traffic.databases].flatMap(({ name, errors }) =>
        [...errors].map(([kind, count]): Sample => [{ database: name, sqlstate_class: kind }, count]),
      ),
  ),
  perDatabase(
    "pgxa_query_seconds",
    "How long queries took, without the wait for a server connection",
    "query",
  ),
  perDatabase(
    "pgxa_transaction_seconds",
    "How long transactions took, from their first query on",
    "transaction",
  ),
  perDatabase(
    "pgxa_client_wait_seconds",
    "How long clients waited that got no server connection at once",
    "wait",
  ),
];

const POOLS: readonly Instrument[] = [
  ofPools("pgxa_server_connections", "Server connections by state", ["state"], ({ servers }) =>
    Object.entries(servers).map(([state, count]) => [{ state }, count]),
  ),
  ofPools("pgxa_server_connections_max", "How many server connections there may be", [], ({ max }) => [
    [{}, max],
  ]),
  ofPools("pgxa_queued_clients", "Clients in the queue of a pool", [], ({ queued }) => [[{}, queued]]),
  {
    name: "pgxa_checkout_seconds",
    help: "How long a pool took to give a connection that was not there at once",
    labels: ["database", "shard"],
    read: {
      type: "histogram",
      buckets: (sources) =>
        sources
          .databases()
          .slice(0, 100)
          .flatMap(({ name, pools }) =>
            pools
              .filter(({ role }) => role === undefined)
              .map(({ shard, checkout }) => [{ database: name, shard }, checkout] as const),
          ),
    },
  },
  gauge("pgxa_shard_state", "1 for the state in which the shard is", ["shard", "state"], (sources) =>
    sources.shards().flatMap(({ name, health }) =>
      health === null
        ? []
        : ["up", "suspect", "down"].map((state): Sample => {
            return [{ shard: name, state }, state === health.state ? 1 : 0];
          }),
    ),
  ),
  gauge(
    "pgxa_breaker_state",
    "1 for the state in which the shard's breaker is",
    ["shard", "state"],
    (sources) =>
      sources.shards().flatMap(({ name, health }) =>
        health === null
          ? []
          : ["closed", "half_open", "open"].map((state): Sample => {
              return [{ shard: name, state }, state === health.breaker ? 1 : 0];
            }),
      ),
  ),
];

const COMMITS: readonly Instrument[] = [
  counter(
    "pgxa_commits_total",
    "Commits of transactions in front of several shards, by outcome",
    ["outcome"],
    (sources) =>
      Object.entries({ ...sources.commits()?.outcomes })
        .filter(([outcome]) => ["committed", "aborted", "unknown"].includes(outcome))
        .map(([outcome, count]) => [{ outcome }, count]),
  ),
  counter("pgxa_commit_phases_total", "The same by how many phases they took", ["phases"], (sources) =>
    Object.entries({ ...sources.commits()?.phases }).map(([phases, count]) => [{ phases }, count]),
  ),
  COMMIT_STEPS,
  {
    name: "pgxa_decision_log_sync_seconds",
    help: "How long the disk took to make decisions durable",
    labels: [],
    read: {
      type: "histogram",
      buckets: (sources) => {
        const commits = sources.commits();
        return commits === null ? [] : [[{}, commits.logSync]];
      },
    },
  },
  gauge(
    "pgxa_prepared_slots_used",
    "Slots of max_prepared_transactions that this process has taken on the shard",
    ["shard"],
    (sources) => (sources.commits()?.slots ?? []).map(({ shard, used }): Sample => [{ shard }, used]),
  ),
  gauge("pgxa_prepared_slots_max", "max_prepared_transactions of the shard's server", ["shard"], (sources) =>
    (sources.commits()?.slots ?? []).flatMap(({ shard, max }): Sample[] =>
      max === null ? [] : [[{ shard }, max]],
    ),
  ),
  gauge("pgxa_in_doubt", "Prepared branches that nobody could finish yet", ["shard"], (sources) => [
    ...sources.shards().map(({ name }): Sample => [{ shard: name }, 0]),
    ...sources.inDoubt().map(({ shard }): Sample => [{ shard }, 1]),
  ]),
  gauge(
    "pgxa_in_doubt_oldest_seconds",
    "How long ago the oldest of them was prepared",
    ["shard"],
    oldestInDoubt,
  ),
  gauge(
    "pgxa_heuristic_outcomes",
    "Transactions in doubt that operators have ended, by what has become known since",
    ["verdict"],
    (sources) => Object.entries(sources.heuristicCounts()).map(([verdict, count]) => [{ verdict }, count]),
  ),
  gauge(
    "pgxa_unfinished_decisions",
    "Commits that are decided and not known to be applied everywhere",
    [],
    (sources) => [[{}, sources.decisions().length]],
  ),
  counter("pgxa_resolved_total", "Prepared branches that were finished later", [], (sources) => [
    [{}, sources.commits()?.resolved ?? 0],
  ]),
  {
    name: "pgxa_lock_wait_seconds",
    help: "How long statements took that were looked into for lock waits: longer than deadlock.probe_after",
    labels: [],
    read: { type: "histogram", buckets: (sources) => [[{}, sources.lockWaits]] },
  },
];

function oldestInDoubt(sources: Shown): readonly Sample[] {
  const nowMs = sources.wallMs();
  return sources.shards().map(({ name }): Sample => {
    const ages = sources.inDoubt().flatMap(({ shard, preparedAtMs }) => {
      return shard === name && preparedAtMs !== null ? [nowMs - preparedAtMs] : [];
    });
    return [{ shard: name }, Math.max(0, ...ages) / 1_000];
  });
}

/** Of all lookups, the part that were hits; 1 if there were none. */
const hitRatio = ({ hits, misses }: PlanCacheView): number =>
  hits + misses === 0 ? 1 : hits / (hits + misses);

const ROUTING: readonly Instrument[] = [
  gauge("pgxa_plans", "Plans that are kept", [], (sources) => [[{}, sources.planCache().plans]]),
  counter(
    "pgxa_plan_lookups_total",
    "How often a plan was asked for: it was kept for this text (hit), for one with other literals (normalised), or made anew (miss)",
    ["result"],
    (sources) => {
      const { hits, normalisedHits, misses } = sources.planCache();
      return [
        [{ result: "hit" }, hits - normalisedHits],
        [{ result: "normalised" }, normalisedHits],
        [{ result: "miss" }, misses],
      ];
    },
  ),
  gauge(
    "pgxa_plan_hit_ratio",
    "The part of those lookups since the start for which the plan was kept; 1 while there was none",
    [],
    (sources) => [[{}, hitRatio(sources.planCache())]],
  ),
  gauge("pgxa_draining", "1 while pgxa is on its way to the end", [], (sources) => [
    [{}, sources.isDraining ? 1 : 0],
  ]),
  gauge("pgxa_workers", "Processes that serve clients", [], (sources) => [[{}, sources.workers().running]]),
  counter(
    "pgxa_worker_restarts_total",
    "How often a worker was started in place of one that had died",
    [],
    (sources) => [[{}, sources.workers().restarts]],
  ),
  gauge("pgxa_build_info", "1, with the version", ["version"], ({ version }) => [
    [{ version: version.replace(/^pgxa /, "") }, 1],
  ]),
];

export const INSTRUMENTS: readonly Instrument[] = [...CLIENTS, ...TRAFFIC, ...POOLS, ...COMMITS, ...ROUTING];

/** Lets `registry` have all of `instruments`. */
export function registerAll(registry: Registry, instruments: readonly Instrument[], sources: Shown): void {
  for (const instrument of instruments) register(registry, instrument, sources);
}
