/** A pgxa that does not run, with a little of everything to be shown. */
import type { Operations } from "../../src/admin/operations.ts";
import { Statistics } from "../../src/admin/statistics.ts";
import type { Sources } from "../../src/admin/views.ts";
import type { DeadlockRecord } from "../../src/deadlock/history.ts";
import type { WaitRow } from "../../src/deadlock/report.ts";
import { Buckets } from "../../src/observe/buckets.ts";
import { Traffic } from "../../src/observe/traffic.ts";
import { ManualEnvironment } from "../txn/manualEnvironment.ts";

export const WAIT: WaitRow = {
  client: 7,
  gtrid: "f:c:1:2",
  shard: "east",
  pid: 4_711,
  waitsFor: "ShareLock on transaction 700",
  waitedMs: 61.7,
  blockedBy: ["transaction f:c:1:3 of client 8", "prepared transaction g"],
};
const POOL_WAIT: WaitRow = {
  client: 8,
  gtrid: null,
  shard: "west",
  pid: null,
  waitsFor: "a server connection, of which there are 1",
  waitedMs: 80,
  blockedBy: ["client 7"],
};
export const DEADLOCK: DeadlockRecord = {
  id: 3,
  atMs: Date.UTC(2026, 0, 2, 3, 4, 5, 6),
  cause: "pool",
  size: 2,
  detectionMs: 62,
  victim: 8,
  circle: [WAIT, POOL_WAIT],
};

const ENDPOINT = { address: "10.0.0.9", port: 50_000, localAddress: "10.0.0.1", localPort: 6_432 };
const CLIENT = {
  pid: 7,
  user: "ann",
  database: "bank",
  endpoint: ENDPOINT,
  applicationName: "shop",
  connectedAtMs: 1_000,
  requestedAtMs: 2_000,
  statements: 3,
};

/** Performs nothing and notes what it was told. */
export function noOperations(calls: string[]): Operations {
  const note =
    (name: string) =>
    (...values: readonly unknown[]): Promise<void> => {
      calls.push(`${name}(${values.filter((value) => value !== undefined).join()})`);
      return Promise.resolve();
    };
  return {
    state: "active",
    isPaused: () => false,
    isDisabled: (database) => database === "bank",
    pause: note("pause"),
    resume: note("resume"),
    reconnect: note("reconnect"),
    disable: note("disable"),
    enable: note("enable"),
    kill: note("kill"),
    killClient: note("killClient"),
    suspend: note("suspend"),
    reload: note("reload"),
    drain: note("drain"),
    shutdown: note("shutdown"),
    waitClose: note("waitClose"),
    set: note("set"),
    resolve: async (request) => {
      calls.push(`resolve(${JSON.stringify(request)})`);
      return [{ shard: "east", gid: "g", says: "committed" }];
    },
  };
}

function someTraffic(): Traffic {
  const traffic = new Traffic();
  const { totals, database } = traffic.of("bank", "ann");
  Object.assign(totals, { transactions: 10, queries: 30, receivedBytes: 500, sentBytes: 900, queryMs: 12 });
  database.query.observe(0.4);
  database.noteError("23505");
  traffic.noteRefusal("login.wrong_password");
  return traffic;
}

type Given =
  | "version"
  | "wallMs"
  | "traffic"
  | "statistics"
  | "clients"
  | "handshakes"
  | "servers"
  | "databases"
  | "users"
  | "waits"
  | "deadlocks"
  | "lockWaits"
  | "isDraining"
  | "operations"
  | "memory"
  | "workers"
  | "everywhere";

/** The server connections, by themselves and by database. */
const connections = (): Pick<Sources, "servers" | "databases"> => ({
  servers: () => [
    {
      id: "server:east:4711",
      shard: "east",
      database: "bank",
      user: "ann",
      state: "active",
      endpoint: ENDPOINT,
      connectedAtMs: 1_000,
      requestedAtMs: 2_000,
      pid: 4_711,
      client: 7,
      statements: 2,
    },
  ],
  databases: () => [
    {
      name: "bank",
      mode: "transaction",
      ownMode: null,
      isConsole: false,
      clients: 2,
      pools: [
        {
          shard: "east",
          host: "db1",
          port: 5_432,
          database: "bank_1",
          user: "app",
          min: 0,
          max: 20,
          servers: { active: 1, idle: 0, login: 1 },
          queued: 1,
          checkout: new Buckets(),
        },
      ],
    },
  ],
});

/** What is in doubt. */
const doubts = (): Pick<
  Sources,
  "inDoubt" | "inDoubtNow" | "heuristics" | "heuristicCounts" | "heuristicVerdicts"
> => ({
  inDoubt: () => [
    {
      gid: "pgxa:f:c:1:2::east",
      gtrid: "f:c:1:2",
      shard: "east",
      preparedAtMs: 40_000,
      xminAge: 12,
      reason: "somebody else is finishing it",
    },
  ],
  inDoubtNow: async () => [
    {
      gid: "pgxa:f:c:1:2::east",
      gtrid: "f:c:1:2",
      shard: "east",
      coordinator: "c",
      database: "bank_1",
      owner: "app",
      ageMs: 60_000,
      preparedAtMs: 40_000,
      xid: "741",
      xminAge: 12,
      holdsBackVacuum: true,
      lockCount: 4,
      locks: ["accounts:RowExclusiveLock", "accounts_pkey:RowExclusiveLock"],
      waiters: ["client 7", "pid 99"],
      decision: "unknown",
      reason: "somebody else is finishing it",
      nextLookMs: 120,
    },
  ],
  heuristics: async () => [
    {
      gtrid: "f:c:1:2",
      outcome: "abort",
      by: "ann",
      reason: "disk lost",
      atMs: 40_000,
      verdict: "unproven",
    },
  ],
  heuristicCounts: () => ({ unproven: 1 }),
  heuristicVerdicts: () => ({ "f:c:1:2": "unproven" }),
});

/** What there is of transactions and of the configuration. */
function afterwards(): Omit<Sources, Given> {
  const steps = { prepare: new Buckets(), decide: new Buckets(), commit_prepared: new Buckets() };
  steps.prepare.observe(3);
  return {
    transactions: () => [
      {
        client: 7,
        database: "bank",
        user: "ann",
        gtrid: "f:c:1:2",
        status: "T",
        ageMs: 12,
        branches: [{ shard: "east", pid: 4_711, status: "T", wrote: true }],
      },
    ],
    shards: () => [
      {
        name: "east",
        host: "db1",
        port: 5_432,
        database: "bank_1",
        user: "app",
        health: { state: "suspect", reason: "no answer", breaker: "half_open" },
      },
    ],
    routes: () => [{ table: "public.accounts", kind: "sharded", key: "id", keyType: "int8", shard: null }],
    planCache: () => ({ plans: 5, hits: 9, normalisedHits: 4, misses: 5 }),
    options: () => [
      { key: "limits.clients_max", value: "10000", default: "10000", isLive: false },
      { key: "log.level", value: "info", default: "info", isLive: true },
      { key: "pool.max", value: "20", default: "20", isLive: true },
    ],
    limits: () => ({ clientsMax: 10_000, serverLifetimeMs: 3_600_000 }),
    pins: () => [{ client: 7, shard: "east", pid: 4_711, reasons: ["load", "hold cursor"], pinnedMs: 12.4 }],
    ...doubts(),
    decisions: () => [{ gtrid: "f:c:1:2", participants: [{ shard: "east", gid: "g", xid: "7" }] }],
    commits: () => ({
      outcomes: { committed: 4, aborted: 1, unknown: 0 },
      phases: { one: 3, two: 2 },
      steps,
      logSync: new Buckets(),
      slots: [{ shard: "east", used: 1, max: 100 }],
      resolved: 1,
    }),
  };
}

export function sourcesOf(operations: Operations | null = noOperations([])): Sources {
  const traffic = someTraffic();
  return {
    version: "pgxa 1.2.3",
    wallMs: () => 100_000,
    traffic,
    statistics: new Statistics(traffic, new ManualEnvironment().clock),
    clients: () => [
      { ...CLIENT, state: "active", waitMs: 0, link: "server:east:4711" },
      { ...CLIENT, pid: 8, state: "waiting", waitMs: 2_000.5, link: null },
    ],
    handshakes: () => 1,
    ...connections(),
    users: () => [{ name: "ann", mode: null }],
    ...afterwards(),
    waits: async () => [WAIT, POOL_WAIT],
    deadlocks: () => [DEADLOCK, { ...DEADLOCK, id: 4, victim: null, circle: [WAIT, WAIT] }],
    lockWaits: new Buckets(),
    isDraining: false,
    operations,
    memory: () => ({ rss: 100, heapTotal: 60, heapUsed: 50, external: 5, arrayBuffers: 2 }),
    workers: () => ({ running: 1, restarts: 0 }),
    everywhere: null,
  };
}
