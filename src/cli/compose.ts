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
import { Fault } from "../base/fault.ts";
import type { FaultPointListener, HandoverPointListener } from "../base/faultPoint.ts";
import type { Config } from "../config/config.ts";
import { DeadlockDetector } from "../deadlock/detector.ts";
import { LockProbe } from "../deadlock/lockProbe.ts";
import { createLog, type Log } from "../observe/log.ts";
import { Metrics } from "../observe/metrics.ts";
import { Admission } from "../pool/admission.ts";
import type { StreamHandle } from "../pool/byteStream.ts";
import { ClientRegistry } from "../proxy/clientRegistry.ts";
import { ConsoleSession } from "../proxy/consoleSession.ts";
import { Gate } from "../proxy/gate.ts";
import { Handover, type HandoverOptions } from "../proxy/handover/handover.ts";
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
import { Backends } from "./backends.ts";
import { clientPort, metricsPort } from "./restartPorts.ts";
import { systemEnvironment } from "./systemEnvironment.ts";

/** What a test may replace. */
export interface ProxyParts {
  readonly environment: Environment;
  readonly log: Log;
  readonly faultPoint: FaultPointListener;
  readonly handoverPoint: HandoverPointListener;
}

/** What a process of an online restart has from the one before it. */
export interface Inheritance {
  /** The latest epoch of the decision log; null with one shard. */
  readonly epoch: number | null;
  /** Where that is. */
  readonly logDirectory: string;
  readonly generation: number;
  /** Its listening sockets, by name (ports.ts). */
  readonly handles: ReadonlyMap<string, StreamHandle>;
  /** Everything is there but the ports; resolves when they are to be opened. */
  ready(): Promise<void>;
}

export interface RunningProxy {
  readonly host: string;
  readonly port: number;
  readonly log: Log;
  readonly handover: Handover;
  /** Ends every client, finishes the commits that are running, and closes everything. */
  stop(): Promise<void>;
}

const STATEMENT_NAMES_MAX = 100_000;
/** A process that let go of its connections may take a moment until it is gone, and its decision log free. */
const SEARCH_AFTER_MS = [0, 100, 500];

/** Starts a proxy; rejects with a Fault, or with the system's error for a port that is taken. */
export async function startProxy(
  config: Config,
  parts: Partial<ProxyParts> = {},
  inheritance: Inheritance | null = null,
): Promise<RunningProxy> {
  const world: ProxyParts = {
    environment: parts.environment ?? systemEnvironment,
    log: parts.log ?? createLog(config.log.level),
    faultPoint: parts.faultPoint ?? (() => {}),
    handoverPoint: parts.handoverPoint ?? (() => {}),
  };
  await loadParser();
  const metrics = new Metrics();
  const commits = config.shards.length > 1 ? await startCommits(config, world, inheritance) : null;
  const backends = new Backends(config, world);
  const generation = inheritance?.generation ?? 0;
  const registry = new ClientRegistry(world.environment.random, generation);
  const admission = new Admission(config.shards.length, config.pool, world.environment.clock);
  const deadlocks = createDeadlocks(config, {
    ...world,
    metrics,
    admission,
    registry,
    resolver: commits?.resolver,
  });
  const shared = { backends, commits, registry, admission, deadlocks, metrics };
  const createSession = sessionsOf(config, world, shared);
  const onStrayCancel = (pid: number, secret: Buffer): void => handover.passCancel(pid, secret);
  const listener = createListener(config, world, { ...shared, createSession, onStrayCancel });
  metrics.countPinned = () => registry.pinnedCount;
  const endpoint = new MetricsEndpoint(metrics);
  const ports = [clientPort(config, listener), metricsPort(config, endpoint)];
  const handover = createHandover(config, world, {
    registry,
    listener,
    ports,
    createSession,
    generation,
    commits,
  });
  const closeAll = async (): Promise<void> => {
    await endpoint.stop();
    await deadlocks.stop();
    await commits?.protocol.drain();
    await commits?.stop();
    await backends.close();
  };
  try {
    if (inheritance !== null) await backends.reachAll();
    await inheritance?.ready();
    const inherited = (name: string): StreamHandle | null => inheritance?.handles.get(name) ?? null;
    const [client, observed] = ports.map(({ name }) => inherited(name));
    if (config.metrics.port !== 0) await endpoint.listen(config.metrics.host, config.metrics.port, observed);
    const { host, port } = await listener.listen(config.listen.host, config.listen.port, client);
    world.log.info("proxy.listening", { host, port, shards: config.shards.length });
    const stop = async (): Promise<void> => {
      handover.close();
      await listener.stop();
      await closeAll();
      world.log.info("proxy.stopped");
    };
    return { host, port, log: world.log, handover, stop };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

interface Commits {
  readonly decisions: FileLog;
  readonly protocol: CommitProtocol;
  readonly resolver: Resolver;
  /** Searches the shards for what another process left that is about to be gone. */
  searchSoon(): void;
  stop(): Promise<void>;
}

async function startCommits(
  config: Config,
  { environment, log, faultPoint }: ProxyParts,
  inheritance: Inheritance | null,
): Promise<Commits> {
  const { fleet, coordinator, transaction } = config;
  const wallMs = environment.clock.wallMs();
  const decisions = await FileLog.open({
    directory: transaction.logDirectory,
    log,
    wallMs,
    faultPoint,
    ...heirOf(inheritance, transaction.logDirectory),
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
  const searchSoon = (): void => {
    for (const delayMs of SEARCH_AFTER_MS) {
      environment.clock.after(delayMs, () => {
        for (const { id } of config.shards) resolver.wake(id);
      });
    }
  };
  return { decisions, protocol, resolver, searchSoon, stop };
}

/** Throws a Fault if the process before this one has its decisions elsewhere, where nobody would find them. */
function heirOf(inheritance: Inheritance | null, logDirectory: string): { heirAfter?: number } {
  if (inheritance === null || inheritance.epoch === null) return {};
  if (inheritance.logDirectory === logDirectory) return { heirAfter: inheritance.epoch };
  throw new Fault("config.invalid", {
    message: "transaction.log_directory cannot change in an online restart",
    detail: `It was ${inheritance.logDirectory}, and is ${logDirectory}.`,
    hint: "Stop pgxa, move the directory, and start pgxa again.",
  });
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

type CreateSession = (client: NewClient) => Session;

/** Makes the session of each client. */
function sessionsOf(
  config: Config,
  { environment, log, faultPoint }: ProxyParts,
  { backends, commits, registry, admission, deadlocks, metrics }: Shared,
): CreateSession {
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
  return (client) =>
    client.place.kind === "console"
      ? new ConsoleSession(client.stream, shared, consoleSources(detector, registry))
      : createSession(client, backends.at(client.place).enter(client.place.mode, shared));
}

type HandoverParts = Pick<
  HandoverOptions,
  "registry" | "listener" | "ports" | "createSession" | "generation"
> & { readonly commits: Commits | null };

function createHandover(config: Config, world: ProxyParts, { commits, ...parts }: HandoverParts): Handover {
  const { environment, log, handoverPoint } = world;
  return new Handover({
    ...parts,
    config,
    environment,
    log,
    faultPoint: handoverPoint,
    latestEpoch: async () => {
      await commits?.decisions.survey();
      return commits?.decisions.latestEpoch ?? null;
    },
    onOtherGone: () => commits?.searchSoon(),
  });
}

interface ListenerShared extends Shared {
  readonly createSession: CreateSession;
  onStrayCancel(pid: number, secret: Buffer): void;
}

function createListener(
  config: Config,
  { environment, log }: ProxyParts,
  { backends, registry, createSession, onStrayCancel }: ListenerShared,
): Listener {
  return new Listener({
    gate: new Gate(config, environment.clock, environment.random),
    registry,
    greetings: (place) => (place.kind === "console" ? null : backends.at(place).greetings),
    log,
    createSession,
    onStrayCancel,
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
