/** What watches the shards and breaks their deadlocks: for compose.ts. */
import { detach } from "../base/detach.ts";
import type { Config } from "../config/config.ts";
import { DeadlockDetector } from "../deadlock/detector.ts";
import { LockProbe } from "../deadlock/lockProbe.ts";
import { DeadlockPeers } from "../fleet/deadlockPeers.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { Admission } from "../pool/admission.ts";
import { ShardHealth } from "../pool/health/shardHealth.ts";
import { ShardMonitor } from "../pool/health/shardMonitor.ts";
import type { Quotas } from "../pool/quota.ts";
import type { ClientRegistry } from "../proxy/clientRegistry.ts";
import type { Resolver } from "../txn/resolver.ts";
import { poolOf } from "./backends.ts";
import type { ProxyParts } from "./compose.ts";
import type { Live } from "./composeClients.ts";

interface Watched {
  /** In the order of the shards. */
  readonly health: readonly ShardHealth[];
  /** Resolves when every server has been asked once, or did not answer in time. */
  readonly started: Promise<unknown>;
  stop(): Promise<void>;
}

export function watchShards({ shards, health: config }: Config, { environment, log }: ProxyParts): Watched {
  const health = shards.map((shard) => new ShardHealth({ shard, config, environment, log }));
  const monitors = health.map((one) => new ShardMonitor({ health: one, environment }));
  const started = Promise.all(monitors.map((monitor) => monitor.start()));
  detach(started, "clients need not wait for it");
  const stop = async (): Promise<void> => {
    await Promise.all(monitors.map((monitor) => monitor.close()));
    for (const one of health) one.close();
  };
  return { health, started, stop };
}

export interface Deadlocks {
  readonly detector: DeadlockDetector;
  stop(): Promise<void>;
}

interface DeadlockParts extends ProxyParts {
  readonly live: Live;
  readonly quotas: Quotas | null;
  readonly metrics: Metrics;
  readonly admission: Admission;
  readonly registry: ClientRegistry;
  readonly resolver: Resolver | undefined;
  readonly health: readonly ShardHealth[];
}

export function createDeadlocks(config: Config, parts: DeadlockParts): Deadlocks {
  const { environment, log, metrics, admission, registry, resolver, health, membership, live, quotas } =
    parts;
  const probes = config.shards.map((shard, i) => new LockProbe(shard, health[i]));
  if (config.shards.length > 1) {
    for (const probe of probes)
      detach(probe.open(), "the session is there when it is needed, or opened then");
  }
  const pool = () => {
    const main = live.config.databases.find(({ name }) => name === live.config.database);
    const { max, min } = poolOf(live.config, main);
    return { max, least: quotas?.split(min) ?? 0 };
  };
  const peers = membership && new DeadlockPeers(membership, environment.clock, pool);
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
    peers,
  });
  peers?.serve(detector);
  const stop = async (): Promise<void> => {
    detector.close();
    await Promise.all(probes.map((probe) => probe.close()));
  };
  return { detector, stop };
}
