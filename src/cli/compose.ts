/**
 * Builds every long-lived object of a proxy and connects them; the only place that does.
 *
 * The order is that of need: the decision log is open and the resolver has looked at every shard it can reach before
 * the first client is let in. Stopping goes the other way: clients, commits that are running, pools, the log.
 */
import type { ConsoleSources } from "../admin/console.ts";
import { MetricsEndpoint } from "../admin/metricsEndpoint.ts";
import type { Gtrid } from "../base/brands.ts";
import { detach } from "../base/detach.ts";
import type { Environment } from "../base/environment.ts";
import type { FaultPointListener } from "../base/faultPoint.ts";
import type { Config } from "../config/config.ts";
import { DeadlockDetector } from "../deadlock/detector.ts";
import { LockProbe } from "../deadlock/lockProbe.ts";
import { createLog, type Log } from "../observe/log.ts";
import { Metrics } from "../observe/metrics.ts";
import { Admission } from "../pool/admission.ts";
import { ClientRegistry } from "../proxy/clientRegistry.ts";
import { ConsoleSession } from "../proxy/consoleSession.ts";
import { Gate } from "../proxy/gate.ts";
import type { NewClient } from "../proxy/handshake.ts";
import { Listener } from "../proxy/listener.ts";
import { PlainSession } from "../proxy/plainSession.ts";
import { Rest } from "../proxy/rest.ts";
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
import { AnchoredBranches } from "../txn/shardLog/anchoredBranches.ts";
import { KEEPER_SETTINGS, Leases } from "../txn/shardLog/leases.ts";
import { OldDecisions } from "../txn/shardLog/oldDecisions.ts";
import { ShardLog } from "../txn/shardLog/shardLog.ts";
import { Backends } from "./backends.ts";
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
  /** Lets transactions end, for `shutdown.timeout` at most, and nobody begin another; `stop` comes after it. */
  drain(): Promise<void>;
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
  const registry = new ClientRegistry(world.environment.random);
  const admission = new Admission(config.shards.length, config.pool, world.environment.clock);
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
    return { host, port, stop, drain: () => listener.drain(config.shutdown) };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

export interface Commits {
  readonly protocol: CommitProtocol;
  readonly resolver: Resolver;
  stop(): Promise<void>;
}

export async function startCommits(
  config: Config,
  { environment, log, faultPoint }: ProxyParts,
): Promise<Commits> {
  const { fleet, coordinator, transaction } = config;
  const wallMs = environment.clock.wallMs();
  const files =
    transaction.logDirectory === ""
      ? null
      : await FileLog.open({ directory: transaction.logDirectory, log, wallMs, faultPoint });
  const controls = config.shards.map((shard) => new ShardControl(shard));
  const onShards =
    transaction.log === "shard" ? await openShardLog(config, { environment, log, controls, files }) : null;
  const decisions = onShards?.decisions ?? files!;
  const protocol = new CommitProtocol({
    fleet,
    coordinator,
    decisions,
    ...(onShards === null ? {} : { shardLog: onShards.decisions }),
    controls,
    config: transaction,
    faultPoint,
    log,
  });
  const isRunning = (gtrid: Gtrid): boolean => protocol.isRunning(gtrid);
  const anchored = new AnchoredBranches({
    ...{ fleet, coordinator, controls, log, isRunning, clock: environment.clock },
    leaseMs: transaction.leaseMs,
    commitTimeoutMs: transaction.commitTimeoutMs,
    epoch: () => (onShards === null ? 0 : decisions.epoch),
    onResolved: (gtrid, shard, outcome) => resolver.noteAnchored(gtrid, shard, outcome),
  });
  const resolver = new Resolver({
    fleet,
    coordinator,
    controls,
    decisions,
    anchored,
    isRunning,
    environment,
    log,
    intervalMs: transaction.resolveIntervalMs,
  });
  protocol.resolver = resolver;
  onShards?.start(() => resolver.wakeAll(), isRunning);
  await resolver.start();
  const stop = async (): Promise<void> => {
    resolver.stop();
    await onShards?.stop();
    await Promise.all(controls.map((control) => control.close()));
    await decisions.close();
  };
  return { protocol, resolver, stop };
}

interface ShardLogParts {
  readonly environment: Environment;
  readonly log: Log;
  readonly controls: readonly ShardControl[];
  /** What was decided in files before. */
  readonly files: FileLog | null;
}

interface OpenShardLog {
  readonly decisions: ShardLog;
  start(onExpired: () => void, isRunning: (gtrid: Gtrid) => boolean): void;
  stop(): Promise<void>;
}

/** Rejects with `log.no_schema` if a shard that answers is not prepared for it. */
async function openShardLog(config: Config, parts: ShardLogParts): Promise<OpenShardLog> {
  const { fleet, coordinator, transaction } = config;
  const { environment, log, controls, files } = parts;
  const { clock } = environment;
  const keepers = config.shards.map((shard) => new ShardControl(shard, KEEPER_SETTINGS));
  const closeAll = async (): Promise<void> => {
    await Promise.all([...keepers, ...controls].map((keeper) => keeper.close()));
  };
  const leases = await Leases.take({
    ...{ fleet, coordinator, keepers, clock, log },
    leaseMs: transaction.leaseMs,
    epochAfter: Math.max(clock.wallMs(), files?.epoch ?? 0),
  }).catch(async (error: unknown) => {
    await closeAll();
    await files?.close();
    throw error;
  });
  const decisions = new ShardLog({ controls, leases, previous: files, clock });
  let old: OldDecisions | null = null;
  return {
    decisions,
    start(onExpired, isRunning) {
      const intervalMs = transaction.resolveIntervalMs;
      old = new OldDecisions({
        ...{ fleet, coordinator, controls, decisions, isRunning, environment, log, intervalMs },
      });
      leases.start(onExpired);
      old.start();
    },
    async stop() {
      old?.stop();
      await leases.stop();
      await Promise.all(keepers.map((keeper) => keeper.close()));
    },
  };
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
  const rest = new Rest();
  const shared: Omit<SessionParts, "mode" | "pools" | "hubs"> = {
    config,
    environment,
    log,
    statementNames: new StatementNames(STATEMENT_NAMES_MAX, config.pool.prepareUnnamed, environment.clock),
    pinCounts: metrics.pinCounts,
    look: new SessionLook(),
    rest,
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
  return new Listener({
    gate: new Gate(config, environment.clock, environment.random),
    registry,
    rest,
    greetings: (place) => (place.kind === "console" ? null : backends.at(place).greetings),
    log,
    createSession: (client) =>
      client.place.kind === "console"
        ? new ConsoleSession(client.stream, shared, consoleSources(detector, registry))
        : createSession(client, backends.at(client.place).enter(client.place.mode, shared)),
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

function createSession({ stream, parameters, key }: NewClient, parts: SessionParts): Session {
  if (parts.sharding === null) return new PlainSession(key.pid, stream, parameters, parts);
  return new ShardedSession(key.pid, stream, parameters, parts);
}
