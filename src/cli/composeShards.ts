/** What watches the shards, commits over them and breaks their deadlocks: for compose.ts. */
import { detach } from "../base/detach.ts";
import { Fault } from "../base/fault.ts";
import type { Config } from "../config/config.ts";
import { DeadlockDetector } from "../deadlock/detector.ts";
import { LockProbe } from "../deadlock/lockProbe.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { Admission } from "../pool/admission.ts";
import { ShardHealth } from "../pool/health/shardHealth.ts";
import { ShardMonitor } from "../pool/health/shardMonitor.ts";
import type { ClientRegistry } from "../proxy/clientRegistry.ts";
import { CommitProtocol } from "../txn/commitProtocol.ts";
import { FileLog } from "../txn/fileLog/fileLog.ts";
import { Resolver } from "../txn/resolver.ts";
import { ShardControl } from "../txn/shardControl.ts";
import type { Inheritance, ProxyParts } from "./compose.ts";

export interface Commits {
  readonly protocol: CommitProtocol;
  readonly resolver: Resolver;
  readonly decisions: FileLog;
  /** Searches the shards for what another process left that is about to be gone. */
  searchSoon(): void;
  stop(): Promise<void>;
}

/** A process that let go of its connections may take a moment until it is gone, and its decision log free. */
const SEARCH_AFTER_MS = [0, 100, 500];

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

export async function startCommits(
  config: Config,
  { environment, log, faultPoint }: ProxyParts,
  health: readonly ShardHealth[],
  inheritance: Inheritance | null,
): Promise<Commits> {
  const { fleet, coordinator, transaction } = config;
  const wallMs = environment.clock.wallMs();
  const decisions = await FileLog.open({
    directory: transaction.logDirectory,
    log,
    wallMs,
    monotonicMs: () => environment.clock.monotonicMs(),
    faultPoint,
    ...heirOf(inheritance, transaction.logDirectory),
  });
  const controls = config.shards.map((shard, i) => new ShardControl(shard, health[i]));
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
  const searchSoon = (): void => {
    for (const delayMs of SEARCH_AFTER_MS) {
      environment.clock.after(delayMs, () => {
        for (const { id } of config.shards) resolver.wake(id);
      });
    }
  };
  return { protocol, resolver, decisions, searchSoon, stop };
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

export interface Deadlocks {
  readonly detector: DeadlockDetector;
  stop(): Promise<void>;
}

interface DeadlockParts extends ProxyParts {
  readonly metrics: Metrics;
  readonly admission: Admission;
  readonly registry: ClientRegistry;
  readonly resolver: Resolver | undefined;
  readonly health: readonly ShardHealth[];
}

export function createDeadlocks(config: Config, parts: DeadlockParts): Deadlocks {
  const { environment, log, metrics, admission, registry, resolver, health } = parts;
  const probes = config.shards.map((shard, i) => new LockProbe(shard, health[i]));
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
