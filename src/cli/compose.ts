/**
 * Builds every long-lived object of a proxy and connects them; the only place that does.
 *
 * The order is that of need: the decision log is open and the resolver has looked at every shard it can reach before
 * the first client is let in. Stopping goes the other way: clients, commits that are running, pools, the log.
 */
import { collectDefaultMetrics } from "prom-client";
import { INSTRUMENTS, registerAll } from "../admin/instruments.ts";
import { MetricsEndpoint } from "../admin/metricsEndpoint.ts";
import { PEER_INSTRUMENTS } from "../admin/peerInstruments.ts";
import { probesOf } from "../admin/readiness.ts";
import { Statistics } from "../admin/statistics.ts";
import { CATALOGUE } from "../base/catalogue.ts";
import { detach } from "../base/detach.ts";
import type { Environment } from "../base/environment.ts";
import type { FaultPointListener } from "../base/faultPoint.ts";
import type { Config } from "../config/config.ts";
import { DeadlockDetector } from "../deadlock/detector.ts";
import { LockProbe } from "../deadlock/lockProbe.ts";
import { createLog, type Log } from "../observe/log.ts";
import { Metrics } from "../observe/metrics.ts";
import { Traffic } from "../observe/traffic.ts";
import { Admission } from "../pool/admission.ts";
import { ClientRegistry } from "../proxy/clientRegistry.ts";
import { ConsoleSession } from "../proxy/consoleSession.ts";
import { CONSOLE_DATABASE, Gate } from "../proxy/gate.ts";
import type { NewClient } from "../proxy/handshake.ts";
import { Listener } from "../proxy/listener.ts";
import { PlainSession } from "../proxy/plainSession.ts";
import type { Session, SessionParts } from "../proxy/session.ts";
import { ShardedSession } from "../proxy/shardedSession.ts";
import { StatementNames } from "../proxy/statementNames.ts";
import { loadParser } from "../routing/parse.ts";
import { Router } from "../routing/router.ts";
import { SessionLook } from "../routing/sessionLook.ts";
import { CommitProtocol } from "../txn/commitProtocol.ts";
import { FileLog } from "../txn/fileLog/fileLog.ts";
import { Resolver } from "../txn/resolver.ts";
import { ShardControl } from "../txn/shardControl.ts";
import { Backends, type SharedParts } from "./backends.ts";
import { ConsoleView } from "./consoleView.ts";
import { systemEnvironment } from "./systemEnvironment.ts";

/** What a test may replace. */
export interface ProxyParts {
  readonly environment: Environment;
  readonly log: Log;
  readonly faultPoint: FaultPointListener;
}

export interface RunningProxy {
  readonly host: string;
  readonly port: number;
  /** Ends every client, finishes the commits that are running, and closes everything. */
  stop(): Promise<void>;
}

const STATEMENT_NAMES_MAX = 100_000;
/** Gauges of prom-client that are called like counters, and say nothing that is needed. */
const MISNAMED = ["handles", "requests", "resources"].map((what) => `nodejs_active_${what}_total`);

/** Starts a proxy; rejects with a Fault, or with the system's error for a port that is taken. */
export async function startProxy(config: Config, parts: Partial<ProxyParts> = {}): Promise<RunningProxy> {
  const world: ProxyParts = {
    environment: parts.environment ?? systemEnvironment,
    log: parts.log ?? createLog(config.log.level),
    faultPoint: parts.faultPoint ?? (() => {}),
  };
  await loadParser();
  const metrics = new Metrics();
  const commits = config.shards.length > 1 ? await startCommits(config, world) : null;
  const backends = new Backends(config, world);
  const registry = new ClientRegistry(world.environment.random);
  const admission = new Admission(config.shards.length, config.pool, world.environment.clock);
  const deadlocks = createDeadlocks(config, {
    ...world,
    metrics,
    admission,
    registry,
    resolver: commits?.resolver,
  });
  const router = commits === null ? null : createRouter(config);
  const view = createView(config, world, { registry, backends, deadlocks, commits, router });
  const listener = createListener(config, world, {
    backends,
    commits,
    router,
    registry,
    admission,
    deadlocks,
    metrics,
    view,
  });
  view.handshakes = () => listener.handshakes;
  metrics.countPinned = () => registry.pinnedCount;
  let isStarted = false;
  const endpoint = createEndpoint(config, metrics, view, () => isStarted);
  const closeAll = async (): Promise<void> => {
    await deadlocks.stop();
    await commits?.protocol.drain();
    await commits?.stop();
    await backends.close();
    view.statistics.stop();
    await endpoint.stop(); // last: a drain is to be watched to its end
  };
  try {
    if (config.metrics.port !== 0) await endpoint.listen(config.metrics.host, config.metrics.port);
    const { host, port } = await listener.listen(config.listen.host, config.listen.port);
    isStarted = true;
    world.log.info("proxy.listening", { host, port, shards: config.shards.length });
    const stop = async (): Promise<void> => {
      view.isStopping = true;
      await listener.stop();
      await closeAll();
      world.log.info("proxy.stopped");
    };
    return { host, port, stop };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

type Viewed = Pick<Shared, "registry" | "backends" | "deadlocks" | "commits" | "router">;

/** What the console and the metrics see. */
function createView(config: Config, { environment: { clock } }: ProxyParts, parts: Viewed): ConsoleView {
  const traffic = new Traffic();
  const statistics = new Statistics(traffic, clock);
  const { detector } = parts.deadlocks;
  return new ConsoleView({ ...parts, config, clock, traffic, statistics, detector });
}

function createEndpoint(
  config: Config,
  metrics: Metrics,
  view: ConsoleView,
  isStarted: () => boolean,
): MetricsEndpoint {
  registerAll(metrics.registry, INSTRUMENTS, view);
  if (config.metrics.pgbouncerNames) registerAll(metrics.registry, PEER_INSTRUMENTS, view);
  if (config.metrics.port !== 0) {
    collectDefaultMetrics({ register: metrics.registry });
    for (const name of MISNAMED) metrics.registry.removeSingleMetric(name);
  }
  return new MetricsEndpoint(metrics, probesOf(view, isStarted));
}

interface Commits {
  readonly protocol: CommitProtocol;
  readonly resolver: Resolver;
  readonly decisions: FileLog;
  stop(): Promise<void>;
}

async function startCommits(config: Config, { environment, log, faultPoint }: ProxyParts): Promise<Commits> {
  const { fleet, coordinator, transaction } = config;
  const wallMs = environment.clock.wallMs();
  const decisions = await FileLog.open({
    directory: transaction.logDirectory,
    log,
    wallMs,
    monotonicMs: () => environment.clock.monotonicMs(),
    faultPoint,
  });
  const controls = config.shards.map((shard) => new ShardControl(shard));
  const protocol = new CommitProtocol({
    fleet,
    coordinator,
    decisions,
    controls,
    config: transaction,
    faultPoint,
    log,
    clock: environment.clock,
  });
  const resolver = new Resolver({
    fleet,
    coordinator,
    controls,
    decisions,
    isRunning: (gtrid) => protocol.isRunning(gtrid),
    environment,
    log,
    intervalMs: transaction.resolveIntervalMs,
  });
  protocol.resolver = resolver;
  await resolver.start();
  const stop = async (): Promise<void> => {
    resolver.stop();
    await Promise.all(controls.map((control) => control.close()));
    await decisions.close();
  };
  return { protocol, resolver, decisions, stop };
}

interface Deadlocks {
  readonly detector: DeadlockDetector;
  stop(): Promise<void>;
}

interface DeadlockParts extends ProxyParts {
  readonly metrics: Metrics;
  readonly admission: Admission;
  readonly registry: ClientRegistry;
  readonly resolver: Resolver | undefined;
}

function createDeadlocks(config: Config, parts: DeadlockParts): Deadlocks {
  const { environment, log, metrics, admission, registry, resolver } = parts;
  const probes = config.shards.map((shard) => new LockProbe(shard));
  if (config.shards.length > 1) {
    for (const probe of probes)
      detach(probe.open(), "the session is there when it is needed, or opened then");
  }
  const detector = new DeadlockDetector({
    config: config.deadlock,
    clock: environment.clock,
    log,
    metrics,
    shards: config.shards.map(({ id }) => id),
    probes,
    queue: admission,
    participants: () => registry.participants(),
    onInDoubt: (shard) => resolver?.wake(shard),
  });
  const stop = async (): Promise<void> => {
    detector.close();
    await Promise.all(probes.map((probe) => probe.close()));
  };
  return { detector, stop };
}

interface Shared {
  readonly backends: Backends;
  readonly commits: Commits | null;
  readonly registry: ClientRegistry;
  readonly admission: Admission;
  readonly deadlocks: Deadlocks;
  readonly metrics: Metrics;
  readonly router: Router | null;
  readonly view: ConsoleView;
}

function createListener(
  config: Config,
  world: ProxyParts,
  { backends, commits, router, registry, admission, deadlocks, metrics, view }: Shared,
): Listener {
  const { environment, log, faultPoint } = world;
  const { detector } = deadlocks;
  const { traffic } = view;
  const shared: SharedParts = {
    config,
    environment,
    log,
    statementNames: new StatementNames(STATEMENT_NAMES_MAX, config.pool.prepareUnnamed, environment.clock),
    pinCounts: metrics.pinCounts,
    look: new SessionLook(),
    sharding:
      commits === null || router === null
        ? null
        : {
            router,
            commits: commits.protocol,
            admission,
            detector,
          },
    faultPoint,
    signal: (kind, pid) => registry.signal(kind, pid),
    onEnd: (session) => registry.remove(session),
  };
  return new Listener({
    gate: new Gate(config, environment.clock, environment.random),
    registry,
    greetings: (place) => (place.kind === "console" ? null : backends.at(place).greetings),
    log,
    noteRefusal: (reason) => noteRefusal(traffic, reason),
    createSession: (client) => {
      const { place, user, stream } = client;
      if (place.kind === "console") {
        const parts = { ...shared, traffic: traffic.of(CONSOLE_DATABASE, user) };
        return new ConsoleSession(stream, { name: user, role: place.role }, parts, view);
      }
      const parts = backends.at(place).enter(place.mode, traffic.of(place.name, user), shared);
      return createSession(client, parts);
    },
  });
}

/** `reason` is the id of an error, the SQLSTATE of a shard's, or why the client went away by itself. */
function noteRefusal(traffic: Traffic, reason: string): void {
  if (Object.hasOwn(CATALOGUE, reason)) traffic.noteRefusal(reason);
  else if (/^[0-9A-Z]{5}$/.test(reason)) traffic.noteRefusal("shard");
}

const createRouter = (config: Config): Router =>
  new Router(
    config.shards.map((shard) => shard.id),
    config.tables,
  );

function createSession({ stream, parameters, key }: NewClient, parts: SessionParts): Session {
  if (parts.sharding === null) return new PlainSession(key.pid, stream, parameters, parts);
  return new ShardedSession(key.pid, stream, parameters, parts);
}
