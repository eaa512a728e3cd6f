/**
 * Builds every long-lived object of a proxy and connects them; the only place that does.
 *
 * The order is that of need: the decision log is open and the resolver has looked at every shard it can reach before
 * the first client is let in. Stopping goes the other way: clients, commits that are running, pools, the log.
 */
import type { MetricsEndpoint } from "../admin/metricsEndpoint.ts";
import type { Operations } from "../admin/operations.ts";
import type { Environment } from "../base/environment.ts";
import type { FaultPointListener, HandoverPointListener } from "../base/faultPoint.ts";
import type { Config } from "../config/config.ts";
import type { Membership } from "../fleet/crew.ts";
import { createLog, type Log } from "../observe/log.ts";
import { Metrics } from "../observe/metrics.ts";
import { ClientLimits } from "../proxy/clientLimits.ts";
import { ClientRegistry } from "../proxy/clientRegistry.ts";
import { ClientTimeouts } from "../proxy/clientTimeouts.ts";
import { ClientTls } from "../proxy/clientTls.ts";
import type { Handover } from "../proxy/handover/handover.ts";
import { Rest } from "../proxy/rest.ts";
import { loadParser } from "../routing/parse.ts";
import { Backends } from "./backends.ts";
import {
  createGate,
  createHandover,
  createListener,
  createRouter,
  createSignals,
  type Shared,
  sessionsOf,
} from "./composeClients.ts";
import { startCommits } from "./composeCommits.ts";
import { createOperator } from "./composeOperations.ts";
import { takePart } from "./composePart.ts";
import { createAdmission, createQuotas } from "./composeQuotas.ts";
import { createDeadlocks, watchShards } from "./composeShards.ts";
import { createEndpoint, createView, healthOf } from "./composeView.ts";
import type { ConfigSource } from "./reloading.ts";
import { type Doors, OWN_DOORS, Ports } from "./restartPorts.ts";
import { systemEnvironment } from "./systemEnvironment.ts";

/** What a test may replace. */
export interface ProxyParts {
  readonly environment: Environment;
  readonly log: Log;
  readonly faultPoint: FaultPointListener;
  readonly handoverPoint: HandoverPointListener;
  /** Where the configuration is read again; null: nowhere. */
  readonly source: ConfigSource | null;
  /** Of a worker, its place among the others; null: this process is alone. */
  readonly membership: Membership | null;
  /** An operator has ended it by the console; `stop` is to be called. */
  onShutdown(): void;
}

/** What a process has from another: that before it in an online restart, or its parent. */
export interface Inheritance extends Doors {
  /** Whether there is one before it, whose clients it gets. */
  readonly follows: boolean;
  /** The latest epoch of the decision log; null with one shard. */
  readonly epoch: number | null;
  /** Where that is. */
  readonly logDirectory: string;
  readonly generation: number;
  /** Everything is there but the ports; resolves when they are to be opened. */
  ready(): Promise<void>;
}

export interface RunningProxy extends Where {
  readonly log: Log;
  readonly handover: Handover;
  /** Lets transactions end, for `shutdown.timeout` at most, and nobody begin another; `stop` comes after it. */
  drain(): Promise<void>;
  readonly operations: Operations;
  /** Ends every client, finishes the commits that are running, and closes everything. */
  stop(): Promise<void>;
}

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
    source: parts.source ?? null,
    membership: parts.membership ?? null,
    onShutdown: parts.onShutdown ?? (() => {}),
  };
  await loadParser();
  const house = await build(config, world, inheritance);
  try {
    if (inheritance?.follows) await house.reachShards();
    await inheritance?.ready();
    const where = await house.open(inheritance ?? OWN_DOORS);
    const { handover, operations, drain, stop } = house;
    return { ...where, log: world.log, handover, operations, drain, stop };
  } catch (error) {
    await house.stop();
    throw error;
  }
}

/** Where clients find it. */
export interface Where {
  readonly host: string;
  readonly port: number;
  readonly unixSocket?: string;
}

interface House {
  readonly handover: Handover;
  readonly operations: Operations;
  /** Resolves when every shard has let pgxa in; rejects with a Fault. */
  reachShards(): Promise<void>;
  /** Opens the ports, or accepts on those that were inherited. */
  open(doors: Doors): Promise<Where>;
  drain(): Promise<void>;
  stop(): Promise<void>;
}

async function build(config: Config, world: ProxyParts, inheritance: Inheritance | null): Promise<House> {
  const { environment, log } = world;
  const tls = new ClientTls(config.clientTls, environment.clock, log);
  const gate = createGate(config, world);
  const metrics = new Metrics();
  const { watched, commits } = await startShards(config, world, inheritance);
  const { health } = watched;
  const quotas = createQuotas(world);
  const backends = new Backends(config, { ...world, health, standbys: config.standbys, quotas });
  const generation = inheritance?.generation ?? 0;
  const worker = world.membership?.index ?? null;
  const registry = new ClientRegistry(
    environment.random,
    new ClientLimits(config, quotas),
    generation,
    worker,
  );
  const timeouts = new ClientTimeouts(() => registry.timed, config, environment.clock);
  const { admission, limitAdmission } = createAdmission(config, world, backends, quotas);
  for (const [i, one] of health.entries())
    one.watch({ onRefusing: (fault) => admission.refusePool(i, fault) });
  const { resolver } = commits ?? {};
  const live = { config };
  const watching = { live, metrics, admission, registry, resolver, health };
  const deadlocks = createDeadlocks(config, { ...world, ...watching });
  const router = commits === null ? null : createRouter(config);
  const view = createView(live, world, { registry, backends, deadlocks, commits, router });
  const rest = new Rest();
  const clients = { live, gate, tls, rest, registry, signals: createSignals(world), view };
  const shared = { ...clients, backends, commits, router, admission, deadlocks, metrics };
  view.health = (shard) => healthOf(health, shard);
  metrics.countPinned = () => registry.pinnedCount;
  let isStarted = false;
  const endpoint = createEndpoint(config, world, shared, () => isStarted);
  const { listener, ports, handover } = createDoors(config, world, shared, endpoint, generation);
  const drain = (): Promise<void> => {
    view.isStopping = true;
    return listener.drain(live.config.shutdown);
  };
  const operations = createOperator(world, { ...shared, listener, timeouts, health, limitAdmission }, drain);
  view.operations = world.membership === null ? operations : takePart(world.membership, shared, operations);
  return {
    handover,
    reachShards: () => backends.reachAll(),
    async open(doors) {
      const where = await ports.open(doors);
      isStarted = true;
      log.info("proxy.listening", { ...where, shards: config.shards.length });
      return where;
    },
    operations,
    drain,
    async stop() {
      view.isStopping = true;
      handover.close();
      await listener.stop();
      timeouts.close();
      await deadlocks.stop();
      await gate.close();
      await commits?.protocol.drain();
      await commits?.stop();
      await backends.close();
      quotas?.stop();
      await watched.stop();
      view.statistics.stop();
      await endpoint.stop(); // last: a drain is to be watched to its end
      log.info("proxy.stopped");
    },
  };
}

/** Where clients come in, from the network or from the process before this one. */
function createDoors(
  config: Config,
  world: ProxyParts,
  shared: Shared,
  endpoint: MetricsEndpoint,
  generation: number,
) {
  const { registry, signals } = shared;
  const createSession = sessionsOf(config, world, shared);
  const listener = createListener(world, shared, createSession, (pid, secret) => {
    // One worker alone asks other processes: a request that arrived twice could end two statements.
    const isOthers = signals?.cancel(pid, secret) ?? false;
    if (!isOthers) handover.passCancel(pid, secret);
  });
  const ports = new Ports(config, listener, endpoint, world.membership !== null);
  const own = { listener, ports: ports.all, createSession, generation };
  const handover = createHandover(config, world, { ...shared, ...own });
  signals?.serve({
    cancel(pid, secret) {
      const session = registry.find(pid, secret);
      if (session === null) handover.passCancel(pid, secret);
      else session.cancel();
    },
    signal: (kind, pid) => registry.signal(kind, pid),
  });
  shared.view.handshakes = () => listener.handshakes;
  return { listener, ports, handover };
}

/** What looks after the shards; with several hosts their primaries are known when it resolves. */
async function startShards(config: Config, world: ProxyParts, inheritance: Inheritance | null) {
  const watched = watchShards(config, world);
  const { health } = watched;
  try {
    if (health.some(({ hasSeveral }) => hasSeveral)) await watched.started;
    const commits = config.shards.length > 1 ? await startCommits(config, world, health, inheritance) : null;
    return { watched, commits };
  } catch (error) {
    await watched.stop();
    throw error;
  }
}
