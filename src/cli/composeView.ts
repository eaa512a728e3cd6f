/** What the console and the metrics see: for compose.ts. */
import { collectDefaultMetrics, type Registry } from "prom-client";
import type { Instrument } from "../admin/instrument.ts";
import { INSTRUMENTS, registerAll } from "../admin/instruments.ts";
import { MetricsEndpoint } from "../admin/metricsEndpoint.ts";
import { PEER_INSTRUMENTS } from "../admin/peerInstruments.ts";
import { probesOf } from "../admin/readiness.ts";
import { Statistics } from "../admin/statistics.ts";
import type * as view from "../admin/views.ts";
import type { Config } from "../config/config.ts";
import { Traffic } from "../observe/traffic.ts";
import type { ShardHealth } from "../pool/health/shardHealth.ts";
import type { ProxyParts } from "./compose.ts";
import type { Live, Shared } from "./composeClients.ts";
import { ConsoleView } from "./consoleView.ts";

/** Gauges of prom-client that are called like counters, and say nothing that is needed. */
const MISNAMED = ["handles", "requests", "resources"].map((what) => `nodejs_active_${what}_total`);

export type Viewed = Pick<Shared, "registry" | "backends" | "deadlocks" | "commits" | "router">;

/** What the console and the metrics see. */
export function createView(live: Live, { environment: { clock } }: ProxyParts, parts: Viewed): ConsoleView {
  const traffic = new Traffic();
  const statistics = new Statistics(traffic, clock);
  const { detector } = parts.deadlocks;
  return new ConsoleView({ ...parts, live, clock, traffic, statistics, detector });
}

/** How the shard of that name is; null while nothing is known of it. */
export function healthOf(health: readonly ShardHealth[], name: string): view.ShardHealth | null {
  const shard = health.find(({ shard: { id } }) => id === name);
  if (shard === undefined || shard.state === "starting") return null;
  const reason = shard.hosts.find(({ isPrimary }) => isPrimary)?.reason ?? null;
  const breaker = shard.breaker === "halfOpen" ? "half_open" : shard.breaker;
  return { state: shard.state, reason, breaker };
}

/** That of a worker is not opened: its parent asks for facts and for what prom-client counts. */
export function createEndpoint(
  config: Config,
  { membership }: ProxyParts,
  { metrics, view }: Pick<Shared, "metrics" | "view">,
  isStarted: () => boolean,
): MetricsEndpoint {
  if (membership === null) registerAll(metrics.registry, instrumentsOf(config), view);
  if (config.metrics.port !== 0) collectOwn(metrics.registry);
  return new MetricsEndpoint(metrics.registry, probesOf(view, isStarted));
}

export const instrumentsOf = (config: Config): readonly Instrument[] =>
  config.metrics.pgbouncerNames ? [...INSTRUMENTS, ...PEER_INSTRUMENTS] : INSTRUMENTS;

/** Lets `registry` have what prom-client knows of the process. */
export function collectOwn(registry: Registry): void {
  collectDefaultMetrics({ register: registry });
  for (const name of MISNAMED) registry.removeSingleMetric(name);
}
