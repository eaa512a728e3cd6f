// Pure.
/**
 * pgxa's own SHOW commands: transactions over several shards, and what holds them up.
 *
 * Every table has text columns for a reader and, where there is more to say than fits, a JSON column for a program.
 */
import { describeCircle } from "../deadlock/report.ts";
import { columns, type Row, row, timestamp } from "./consoleTable.ts";
import { IN_DOUBT_SHOWS } from "./inDoubtShows.ts";
import type { Show } from "./show.ts";
import type { Shown } from "./views.ts";

async function showWaits(sources: Shown): Promise<readonly Row[]> {
  const waits = await sources.waits();
  return waits.map((wait) =>
    row(
      wait.client,
      wait.gtrid,
      wait.shard,
      wait.pid,
      wait.waitsFor,
      wait.waitedMs,
      wait.blockedBy.join(", "),
      JSON.stringify(wait),
    ),
  );
}

const showDeadlocks = (sources: Shown): readonly Row[] =>
  sources
    .deadlocks()
    .map((deadlock) =>
      row(
        deadlock.id,
        timestamp(deadlock.atMs),
        deadlock.size,
        deadlock.cause,
        deadlock.victim,
        [...new Set(deadlock.circle.map(({ shard }) => shard))].join(", "),
        deadlock.detectionMs,
        describeCircle(deadlock.circle),
        JSON.stringify(deadlock),
      ),
    );

const showPins = (sources: Shown): readonly Row[] =>
  sources
    .pins()
    .map(({ client, shard, pid, reasons, pinnedMs }) =>
      row(client, shard, pid, reasons.join(", "), pinnedMs),
    );

const showTransactions = (sources: Shown): readonly Row[] =>
  sources
    .transactions()
    .map(({ client, gtrid, database, user, status, ageMs, branches }) =>
      row(
        client,
        gtrid,
        database,
        user,
        status === "E" ? "failed" : "open",
        ageMs,
        branches.map(({ shard }) => shard).join(", "),
      ),
    );

const showBranches = (sources: Shown): readonly Row[] =>
  sources
    .transactions()
    .flatMap(({ client, gtrid, branches }) =>
      branches.map(({ shard, pid, status, wrote }) =>
        row(client, gtrid, shard, pid, status === "E" ? "failed" : "open", wrote),
      ),
    );

const showDecisions = (sources: Shown): readonly Row[] =>
  sources
    .decisions()
    .map(({ gtrid, participants }) =>
      row(gtrid, "commit", participants.map(({ shard }) => shard).join(", "), JSON.stringify(participants)),
    );

function showShards(sources: Shown): readonly Row[] {
  const pools = sources.databases().flatMap((database) => database.pools);
  return sources.shards().map(({ name, host, port, database, user, health }) => {
    const own = pools.filter(({ shard }) => shard === name);
    const count = (state: "active" | "idle" | "login"): number =>
      own.reduce((sum, pool) => sum + pool.servers[state], 0);
    const queued = own.reduce((sum, pool) => sum + pool.queued, 0);
    return row(
      name,
      host,
      port,
      database,
      user,
      health?.state ?? null,
      health?.breaker ?? null,
      health?.reason ?? null,
      count("active"),
      count("idle"),
      count("login"),
      queued,
    );
  });
}

function showRoutes(sources: Shown): readonly Row[] {
  const { plans, hits, normalisedHits, misses } = sources.planCache();
  const none = [null, null, null, null, null] as const;
  const ratio = hits + misses === 0 ? null : hits / (hits + misses);
  return [
    ...sources
      .routes()
      .map(({ table, kind, key, keyType, shard }) =>
        row(kind, table, key, keyType, shard ?? (kind === "single" ? null : "all"), ...none),
      ),
    row("plan cache", null, null, null, null, plans, hits, normalisedHits, misses, ratio?.toFixed(4) ?? null),
  ];
}

export const OWN_SHOWS: Readonly<Record<string, Show>> = {
  TRANSACTIONS: {
    says: "the open transactions",
    columns: columns("client:int8 gtrid:text database user state age_ms:int8 shards:text"),
    rows: showTransactions,
  },
  BRANCHES: {
    says: "their branches on the shards",
    columns: columns("client:int8 gtrid:text shard pid:int8 state:text wrote:bool"),
    rows: showBranches,
  },
  ...IN_DOUBT_SHOWS,
  DECISIONS: {
    says: "commits that are decided and not known to be applied everywhere",
    columns: columns("gtrid:text decision shards participants:json"),
    rows: showDecisions,
  },
  SHARDS: {
    says: "the shards, how they are, and the connections to them",
    columns: columns(
      "shard:text host port:int4 database:text user state breaker reason active:int4 idle login queued",
    ),
    rows: showShards,
  },
  ROUTES: {
    says: "where tables are, and how many plans are kept",
    columns: columns("kind:text name key key_type shard plans:int8 hits normalised misses hit_ratio:text"),
    rows: showRoutes,
  },
  PINS: {
    says: "which clients keep a server connection, and for what",
    columns: columns("client:int8 shard:text pid:int8 reasons:text pinned_ms:int8"),
    rows: showPins,
  },
  WAITS: {
    says: "who waits for which lock or connection, and for whom",
    columns: columns(
      "client:int8 gtrid:text shard pid:int8 waits_for:text waited_ms:int8 blocked_by:text json:json",
    ),
    rows: showWaits,
  },
  DEADLOCKS: {
    says: "the last deadlocks over several shards, and who gave way",
    columns: columns(
      "id:int8 at:timestamptz size:int8 cause:text victim:int8 shards:text detection_ms:int8 detail:text json:json",
    ),
    rows: showDeadlocks,
  },
};
