/**
 * Builds every long-lived object of a proxy and connects them; the only place that does.
 *
 * The order is that of need: the decision log is open and the resolver has looked at every shard it can reach before
 * the first client is let in. Stopping goes the other way: clients, commits that are running, pools, the log.
 */
import type { Environment } from "../base/environment.ts";
import type { FaultPointListener } from "../base/faultPoint.ts";
import type { Config } from "../config/config.ts";
import { createLog, type Log } from "../observe/log.ts";
import { Metrics } from "../observe/metrics.ts";
import { Admission } from "../pool/admission.ts";
import { ClientLimits } from "../proxy/clientLimits.ts";
import { ClientRegistry } from "../proxy/clientRegistry.ts";
import { ClientTimeouts } from "../proxy/clientTimeouts.ts";
import { ClientTls } from "../proxy/clientTls.ts";
import type { Listener } from "../proxy/listener.ts";
import { Rest } from "../proxy/rest.ts";
import { loadParser } from "../routing/parse.ts";
import { Backends, poolOf } from "./backends.ts";
import { createGate, createListener, createRouter } from "./composeClients.ts";
import { createDeadlocks, startCommits, watchShards } from "./composeShards.ts";
import { createEndpoint, createView } from "./composeView.ts";
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

/** Starts a proxy; rejects with a Fault, or with the system's error for a port that is taken. */
export async function startProxy(config: Config, parts: Partial<ProxyParts> = {}): Promise<RunningProxy> {
  const world: ProxyParts = {
    environment: parts.environment ?? systemEnvironment,
    log: parts.log ?? createLog(config.log.level),
    faultPoint: parts.faultPoint ?? (() => {}),
  };
  await loadParser();
  const house = await build(config, world);
  try {
    const { host, port } = await house.open();
    return { host, port, drain: () => house.drain(), stop: () => house.stop() };
  } catch (error) {
    await house.stop();
    throw error;
  }
}

interface House {
  /** Opens the ports. */
  open(): Promise<{ readonly host: string; readonly port: number }>;
  drain(): Promise<void>;
  stop(): Promise<void>;
}

async function build(config: Config, world: ProxyParts): Promise<House> {
  const { environment, log } = world;
  const tls = new ClientTls(config.clientTls, environment.clock, log);
  const gate = createGate(config, world);
  const metrics = new Metrics();
  const { watched, commits } = await startShards(config, world);
  const { health } = watched;
  const backends = new Backends(config, { ...world, health, standbys: config.standbys });
  const registry = new ClientRegistry(environment.random, new ClientLimits(config));
  const timeouts = new ClientTimeouts(() => registry.timed, config, environment.clock);
  const main = config.databases.find(({ name }) => name === config.database);
  const admission = new Admission(config.shards.length, poolOf(config, main), environment.clock);
  for (const [i, one] of health.entries())
    one.watch({ onRefusing: (fault) => admission.refusePool(i, fault) });
  const { resolver } = commits ?? {};
  const deadlocks = createDeadlocks(config, { ...world, metrics, admission, registry, resolver, health });
  const router = commits === null ? null : createRouter(config);
  const view = createView(config, world, { registry, backends, deadlocks, commits, router });
  const rest = new Rest();
  const shared = {
    gate,
    tls,
    rest,
    backends,
    commits,
    router,
    registry,
    admission,
    deadlocks,
    metrics,
    view,
  };
  const listener = createListener(config, world, shared);
  view.handshakes = () => listener.handshakes;
  metrics.countPinned = () => registry.pinnedCount;
  let isStarted = false;
  const endpoint = createEndpoint(config, metrics, view, () => isStarted);
  return {
    async open() {
      if (config.metrics.port !== 0) await endpoint.listen(config.metrics.host, config.metrics.port);
      const where = await openPorts(listener, config);
      isStarted = true;
      log.info("proxy.listening", { ...where, shards: config.shards.length });
      return where;
    },
    drain() {
      view.isStopping = true;
      return listener.drain(config.shutdown);
    },
    async stop() {
      view.isStopping = true;
      await listener.stop();
      timeouts.close();
      await deadlocks.stop();
      await gate.close();
      await commits?.protocol.drain();
      await commits?.stop();
      await backends.close();
      await watched.stop();
      view.statistics.stop();
      await endpoint.stop(); // last: a drain is to be watched to its end
      log.info("proxy.stopped");
    },
  };
}

/** What looks after the shards; with several hosts their primaries are known when it resolves. */
async function startShards(config: Config, world: ProxyParts) {
  const watched = watchShards(config, world);
  const { health } = watched;
  try {
    if (health.some(({ hasSeveral }) => hasSeveral)) await watched.started;
    const commits = config.shards.length > 1 ? await startCommits(config, world, health) : null;
    return { watched, commits };
  } catch (error) {
    await watched.stop();
    throw error;
  }
}

async function openPorts(listener: Listener, { listen }: Config) {
  const { unixDirectory, unixMode } = listen;
  const { host, port } = await listener.listen(listen.host, listen.port);
  if (unixDirectory === undefined) return { host, port };
  return { host, port, unixSocket: await listener.listenUnix(unixDirectory, port, unixMode) };
}
