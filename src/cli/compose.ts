/**
 * Builds every long-lived object of a proxy and connects them; the only place that does.
 *
 * The order is that of need: the decision log is open and the resolver has looked at every shard it can reach before
 * the first client is let in. Stopping goes the other way: clients, commits that are running, pools, the log.
 */
import type { ConsoleSources } from "../admin/console.ts";
import { MetricsEndpoint } from "../admin/metricsEndpoint.ts";
import { detach } from "../base/detach.ts";
import type { Environment } from "../base/environment.ts";
import type { FaultPointListener } from "../base/faultPoint.ts";
import type { Config } from "../config/config.ts";
import { DeadlockDetector } from "../deadlock/detector.ts";
import { LockProbe } from "../deadlock/lockProbe.ts";
import { createLog, type Log } from "../observe/log.ts";
import { Metrics } from "../observe/metrics.ts";
import { Admission } from "../pool/admission.ts";
import { Shares } from "../pool/share.ts";
import { ClientLimits } from "../proxy/clientLimits.ts";
import { ClientRegistry } from "../proxy/clientRegistry.ts";
import { ClientTimeouts } from "../proxy/clientTimeouts.ts";
import { ConsoleSession } from "../proxy/consoleSession.ts";
import { Gate } from "../proxy/gate.ts";
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
import { Backends, poolOf } from "./backends.ts";
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
  const registry = new ClientRegistry(world.environment.random, new ClientLimits(config));
  const timeouts = new ClientTimeouts(() => registry.timed, config, world.environment.clock);
  const admission = new Admission(
    config.shards.length,
    poolOf(
      config,
      config.databases.find(({ name }) => name === config.database),
    ),
    world.environment.clock,
  );
  const deadlocks = createDeadlocks(config, {
    ...world,
    metrics,
    admission,
    registry,
    resolver: commits?.resolver,
  });
  const listener = createListener(config, world, {
    backends,
    commits,
    registry,
    admission,
    deadlocks,
    metrics,
  });
  metrics.countPinned = () => registry.pinnedCount;
  const endpoint = new MetricsEndpoint(metrics);
  const closeAll = async (): Promise<void> => {
    timeouts.close();
    await endpoint.stop();
    await deadlocks.stop();
    await commits?.protocol.drain();
    await commits?.stop();
    await backends.close();
  };
  try {
    if (config.metrics.port !== 0) await endpoint.listen(config.metrics.host, config.metrics.port);
    const { host, port } = await listener.listen(config.listen.host, config.listen.port);
    world.log.info("proxy.listening", { host, port, shards: config.shards.length });
    const stop = async (): Promise<void> => {
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

interface Commits {
  readonly protocol: CommitProtocol;
  readonly resolver: Resolver;
  stop(): Promise<void>;
}

async function startCommits(config: Config, { environment, log, faultPoint }: ProxyParts): Promise<Commits> {
  const { fleet, coordinator, transaction } = config;
  const wallMs = environment.clock.wallMs();
  const decisions = await FileLog.open({ directory: transaction.logDirectory, log, wallMs, faultPoint });
  const controls = config.shards.map((shard) => new ShardControl(shard));
  const protocol = new CommitProtocol({
    fleet,
    coordinator,
    decisions,
    controls,
    config: transaction,
    faultPoint,
    log,
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
  return { protocol, resolver, stop };
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
}

function createListener(
  config: Config,
  world: ProxyParts,
  { backends, commits, registry, admission, deadlocks, metrics }: Shared,
): Listener {
  const { environment, log, faultPoint } = world;
  const { detector } = deadlocks;
  const shared: Omit<SessionParts, "mode" | "pools" | "hubs"> = {
    config,
    environment,
    log,
    statementNames: new StatementNames(STATEMENT_NAMES_MAX, config.pool.prepareUnnamed, environment.clock),
    pinCounts: metrics.pinCounts,
    look: new SessionLook(),
    sharding:
      commits === null
        ? null
        : {
            router: createRouter(config),
            commits: commits.protocol,
            admission,
            detector,
          },
    faultPoint,
    signal: (kind, pid) => registry.signal(kind, pid),
    onEnd: (session) => registry.remove(session),
  };
  const shares = new Shares(config);
  return new Listener({
    gate: new Gate(config, environment.clock, environment.random),
    registry,
    greetings: (place) => (place.kind === "console" ? null : backends.at(place).greetings),
    log,
    createSession: (client) =>
      client.place.kind === "console"
        ? new ConsoleSession(client.stream, shared, consoleSources(detector, registry))
        : createSession(client, backends.at(client.place).enter(client.place.mode, shared), shares),
  });
}

const createRouter = (config: Config): Router =>
  new Router(
    config.shards.map((shard) => shard.id),
    config.tables,
  );

const consoleSources = (detector: DeadlockDetector, registry: ClientRegistry): ConsoleSources => ({
  waits: () => detector.waits(),
  deadlocks: () => detector.history.records,
  pins: () => [...registry.pins()],
});

function createSession(client: NewClient, parts: SessionParts, shares: Shares): Session {
  const { stream, parameters, key, identity } = client;
  const application = parameters.startup.get("application_name") ?? "";
  const share = shares.of(identity.user, identity.database ?? "", application);
  const entrant = { pid: key.pid, stream, parameters, share };
  return parts.sharding === null ? new PlainSession(entrant, parts) : new ShardedSession(entrant, parts);
}
