/** What the console and the metrics see: for compose.ts. */
import { collectDefaultMetrics } from "prom-client";
import { INSTRUMENTS, registerAll } from "../admin/instruments.ts";
import { MetricsEndpoint } from "../admin/metricsEndpoint.ts";
import { PEER_INSTRUMENTS } from "../admin/peerInstruments.ts";
import { probesOf } from "../admin/readiness.ts";
import { Statistics } from "../admin/statistics.ts";
import type * as view from "../admin/views.ts";
import type { Config } from "../config/config.ts";
import type { Metrics } from "../observe/metrics.ts";
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

export function createEndpoint(
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
  return new MetricsEndpoint(metrics.registry, probesOf(view, isStarted));
}
