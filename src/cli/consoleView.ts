/**
 * What the console and the metrics see of a running pgxa (admin/views.ts): gathered from those who know it, when asked.
 */
import type { Operations } from "../admin/operations.ts";
import type { Statistics } from "../admin/statistics.ts";
import type * as view from "../admin/views.ts";
import type { Clock } from "../base/environment.ts";
import { VERSION } from "../base/version.ts";
import type { Config, Endpoint } from "../config/config.ts";
import { shownOptions } from "../config/shownOptions.ts";
import type { DeadlockDetector } from "../deadlock/detector.ts";
import type { Traffic } from "../observe/traffic.ts";
import type { Pool } from "../pool/pool.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import type { ClientRegistry, Entry } from "../proxy/clientRegistry.ts";
import { ConsoleSession } from "../proxy/consoleSession.ts";
import { CONSOLE_DATABASE } from "../proxy/gate.ts";
import { PlainSession } from "../proxy/plainSession.ts";
import { ShardedSession } from "../proxy/shardedSession.ts";
import type { Router } from "../routing/router.ts";
import type { Backends } from "./backends.ts";
import type { Commits } from "./composeCommits.ts";
import { leftInDoubt, lookAtDoubts } from "./inDoubtView.ts";

export interface ConsoleViewParts {
  /** The configuration that is in force. */
  readonly live: { readonly config: Config };
  readonly clock: Clock;
  readonly traffic: Traffic;
  readonly statistics: Statistics;
  readonly registry: ClientRegistry;
  readonly backends: Backends;
  readonly detector: DeadlockDetector;
  /** Null with one shard. */
  readonly commits: Commits | null;
  readonly router: Router | null;
}

/** A connection, and where it belongs. */
interface Placed {
  readonly connection: ServerConnection;
  readonly pool: Pool;
  readonly database: string;
}

/** A value that is worked out once for all who ask in the same turn: the metrics ask many times. */
class Momentary<T> {
  #value: T | null = null;

  get(work: () => T): T {
    if (this.#value !== null) return this.#value;
    queueMicrotask(() => {
      this.#value = null;
    });
    this.#value = work();
    return this.#value;
  }
}

/** Two servers may have processes of one number. */
const serverId = ({ shard, pid, isStandby, endpoint }: ServerConnection): string =>
  `server:${shard}:${pid}${isStandby ? `:${endpoint().port}` : ""}`;

export class ConsoleView implements view.Sources {
  readonly version = `pgxa ${VERSION}`;
  /** Set by whoever composes, where there is one. */
  operations: Operations | null = null;
  isStopping = false;
  /** What a monitor knows of the shard of that name. */
  health: (shard: string) => view.ShardHealth | null = () => null;
  handshakes: () => number = () => 0;
  /** Set where there are several workers. */
  everywhere: view.Sources["everywhere"] = null;
  readonly memory = (): view.MemoryView => process.memoryUsage();
  readonly workers = (): view.WorkersView => ({ running: 1, restarts: 0 });
  readonly #parts: ConsoleViewParts;
  readonly #clients = new Momentary<readonly view.ClientView[]>();
  readonly #servers = new Momentary<readonly view.ServerView[]>();
  readonly #databases = new Momentary<readonly view.DatabaseView[]>();

  constructor(parts: ConsoleViewParts) {
    this.#parts = parts;
  }

  get traffic(): Traffic {
    return this.#parts.traffic;
  }

  get statistics(): Statistics {
    return this.#parts.statistics;
  }

  get lockWaits() {
    return this.#parts.detector.watch.waited;
  }

  get isDraining(): boolean {
    return this.isStopping || this.operations?.state === "draining";
  }

  wallMs(): number {
    return this.#parts.clock.wallMs();
  }

  // --- clients and connections ---

  clients(): readonly view.ClientView[] {
    return this.#clients.get(() => this.#lookAtClients());
  }

  servers(): readonly view.ServerView[] {
    return this.#servers.get(() => this.#lookAtServers());
  }

  databases(): readonly view.DatabaseView[] {
    return this.#databases.get(() => this.#lookAtDatabases());
  }

  #lookAtClients(): readonly view.ClientView[] {
    const links = new Map<object, ServerConnection>();
    for (const { connection } of this.#placed()) {
      if (connection.holder !== null && !links.has(connection.holder))
        links.set(connection.holder, connection);
    }
    const nowMs = this.#parts.clock.monotonicMs();
    return [...this.#parts.registry.entries].map(({ client, session }) => {
      const { meter, stream } = session.client;
      const link = links.get(session);
      const isWaiting = meter.waitFromMs !== 0;
      return {
        pid: client.key.pid,
        user: client.user,
        database: nameOf(client.place),
        state: isWaiting ? "waiting" : link === undefined && meter.queryFromMs === 0 ? "idle" : "active",
        get endpoint() {
          return stream.endpoint;
        },
        applicationName: client.parameters.startup.get("application_name") ?? "",
        connectedAtMs: meter.connectedAtMs,
        requestedAtMs: meter.requestedAtMs === 0 ? meter.connectedAtMs : this.#wall(meter.requestedAtMs),
        waitMs: isWaiting ? nowMs - meter.waitFromMs : 0,
        statements: statementsOf(session),
        link: link === undefined ? null : serverId(link),
      };
    });
  }

  #lookAtServers(): readonly view.ServerView[] {
    const holders = this.#holders();
    return [...this.#placed()].map(({ connection, pool, database }) => {
      const entry = connection.holder === null ? undefined : holders.get(connection.holder);
      const isIdle = connection.holder === null;
      const fromMs = entry?.session.client.meter.requestedAtMs ?? connection.idleSinceMs;
      return {
        id: serverId(connection),
        shard: connection.shard,
        database,
        user: entry?.client.user ?? pool.shard.user,
        state: isIdle ? "idle" : "active",
        get endpoint() {
          return connection.endpoint();
        },
        connectedAtMs: this.#wall(connection.createdAtMs),
        requestedAtMs: this.#wall(fromMs),
        pid: connection.pid,
        client: entry?.client.key.pid ?? null,
        statements: connection.statements.size,
      };
    });
  }

  #lookAtDatabases(): readonly view.DatabaseView[] {
    const { live, backends, registry } = this.#parts;
    const { config } = live;
    const found = [...backends].map(([name, backend]): view.DatabaseView => {
      const listed = config.databases.find((one) => one.name === name);
      const ownMode = (listed ?? config.databases.find((one) => one.name === "*"))?.mode ?? null;
      return {
        name,
        mode: ownMode ?? config.pool.mode,
        ownMode,
        isConsole: false,
        clients: backend.clients,
        pools: [
          ...backend.pools.map((pool) => this.#pool(pool)),
          ...backend.standbys.flat().map(({ pool, host }) => this.#pool(pool, host.endpoint)),
        ],
      };
    });
    let clients = 0;
    for (const { client } of registry.entries) if (client.place.kind === "console") clients += 1;
    const name = CONSOLE_DATABASE;
    return [...found, { name, mode: "statement", ownMode: null, isConsole: true, clients, pools: [] }];
  }

  users(): readonly view.UserView[] {
    const listed = this.#parts.live.config.users.map(({ name, mode }) => ({ name, mode: mode ?? null }));
    const known = new Set(listed.map(({ name }) => name));
    const others = new Set([...this.#parts.registry.entries].map(({ client }) => client.user));
    return [
      ...listed,
      ...[...others].filter((name) => !known.has(name)).map((name) => ({ name, mode: null })),
    ];
  }

  pins(): readonly view.PinView[] {
    return [...this.#parts.registry.pins()];
  }

  // --- transactions ---

  transactions(): readonly view.TransactionView[] {
    const nowMs = this.#parts.clock.monotonicMs();
    const found: view.TransactionView[] = [];
    for (const { client, session } of this.#parts.registry.entries) {
      if (!(session instanceof ShardedSession)) continue;
      const { current } = session.transaction;
      if (current === null) continue;
      found.push({
        client: client.key.pid,
        database: nameOf(client.place),
        user: client.user,
        gtrid: current.gtrid,
        status: current.status,
        ageMs: nowMs - current.startedAtMs,
        branches: current.joined.map(({ connection, sawWrites }) => ({
          shard: connection.shard,
          pid: connection.pid,
          status: connection.replies.status === "E" ? "E" : "T",
          wrote: sawWrites,
        })),
      });
    }
    return [...found, ...this.#plainTransactions(nowMs)];
  }

  inDoubt(): readonly view.InDoubtView[] {
    return leftInDoubt(this.#parts.commits?.resolver.inDoubt ?? []);
  }

  async inDoubtNow(): Promise<readonly view.InDoubtDetails[]> {
    const { commits, live, clock } = this.#parts;
    const { fleet, coordinator } = live.config;
    return commits === null
      ? []
      : lookAtDoubts({ ...commits, fleet, coordinator, clock, servers: () => this.servers() });
  }

  async heuristics(): Promise<readonly view.HeuristicView[]> {
    return (await this.#parts.commits?.heuristics.list()) ?? [];
  }

  heuristicVerdicts = (): Readonly<Record<string, string>> => this.#parts.commits?.review.verdicts ?? {};

  heuristicCounts = (): Readonly<Record<string, number>> => this.#parts.commits?.review.counts ?? {};

  decisions(): readonly view.DecisionView[] {
    return this.#parts.commits?.decisions.unconcluded() ?? [];
  }

  commits(): view.CommitView | null {
    const { commits } = this.#parts;
    if (commits === null) return null;
    const { counts, times } = commits.protocol;
    return {
      outcomes: counts,
      phases: { one: counts.onePhase, two: counts.twoPhase },
      steps: times,
      logSync: commits.logSync,
      slots: commits.slots.usage(),
      resolved: commits.resolver.resolved,
    };
  }

  waits() {
    return this.#parts.detector.waits();
  }

  deadlocks() {
    return this.#parts.detector.history.records;
  }

  // --- the configuration ---

  shards(): readonly view.ShardView[] {
    return this.#parts.live.config.shards.map(({ id, host, port, database, user }) => ({
      name: id,
      host,
      port,
      database,
      user,
      health: this.health(id),
    }));
  }

  routes(): readonly view.RouteView[] {
    return this.#parts.live.config.tables.map((table) => ({
      table: `${table.schema}.${table.name}`,
      kind: table.kind,
      key: table.kind === "sharded" ? table.key : null,
      keyType: table.kind === "sharded" ? table.keyType : null,
      shard: table.kind === "single" ? table.shard : null,
    }));
  }

  planCache(): view.PlanCacheView {
    return this.#parts.router?.planCache ?? { plans: 0, hits: 0, normalisedHits: 0, misses: 0 };
  }

  options(): readonly view.OptionView[] {
    return shownOptions(this.#parts.live.config);
  }

  limits(): view.LimitsView {
    const { limits, pool } = this.#parts.live.config;
    return { clientsMax: limits.clientsMax, serverLifetimeMs: pool.lifetimeMs };
  }

  // --- inside ---

  *#placed(): IterableIterator<Placed> {
    for (const [database, { all }] of this.#parts.backends) {
      for (const pool of all) for (const connection of pool.connections) yield { connection, pool, database };
    }
  }

  #holders(): ReadonlyMap<object, Entry> {
    return new Map([...this.#parts.registry.entries].map((entry) => [entry.session, entry]));
  }

  /** With one shard a transaction is known by its connection. */
  *#plainTransactions(nowMs: number): IterableIterator<view.TransactionView> {
    const holders = this.#holders();
    for (const { connection, database } of this.#placed()) {
      const entry = connection.holder === null ? undefined : holders.get(connection.holder);
      const { status } = connection.replies;
      if (!(entry?.session instanceof PlainSession) || status === "I") continue;
      const { meter } = entry.session.client;
      yield {
        client: entry.client.key.pid,
        database,
        user: entry.client.user,
        gtrid: null,
        status,
        ageMs: nowMs - meter.transactionFromMs,
        branches: [{ shard: connection.shard, pid: connection.pid, status, wrote: null }],
      };
    }
  }

  /** `standby`: where the standby is to which it leads. */
  #pool(pool: Pool, standby?: Endpoint): view.PoolView {
    const { database, user, id } = pool.shard;
    const { host, port } = standby ?? pool.shard;
    const { config } = this.#parts.live;
    const min = standby === undefined ? config.pool.min : 0;
    const max = (standby && config.standbys.poolMax) ?? config.pool.max;
    let active = 0;
    let idle = 0;
    for (const { holder } of pool.connections) {
      if (holder === null) idle += 1;
      else active += 1;
    }
    const servers = { active, idle, login: pool.opening };
    return {
      shard: id,
      ...(standby && { role: "standby" }),
      host,
      port,
      database,
      user,
      min,
      max,
      servers,
      queued: pool.seats.queued,
      checkout: pool.checkouts,
    };
  }

  /** Wall time of a moment of the monotonic clock. */
  #wall(monotonicMs: number): number {
    const { clock } = this.#parts;
    return clock.wallMs() - (clock.monotonicMs() - monotonicMs);
  }
}

const nameOf = (place: Entry["client"]["place"]): string =>
  place.kind === "console" ? CONSOLE_DATABASE : place.name;

function statementsOf(session: Entry["session"]): number {
  if (session instanceof ShardedSession) return session.statements.size;
  if (session instanceof PlainSession || session instanceof ConsoleSession) return session.statementCount;
  return 0;
}
