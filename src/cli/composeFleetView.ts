/** The parent's part in console, metrics and probes: for composeFleet.ts. */
import { MetricsEndpoint, type Probes } from "../admin/metricsEndpoint.ts";
import { readinessOf } from "../admin/readiness.ts";
import { Command, type CommandParts } from "../admin/workers/command.ts";
import { Gathering } from "../admin/workers/gathering.ts";
import { MergedSources } from "../admin/workers/mergedSources.ts";
import { Scraping } from "../admin/workers/scraping.ts";
import type { Clock } from "../base/environment.ts";
import type { Config } from "../config/config.ts";
import type { Crew } from "../fleet/crew.ts";
import { Metrics } from "../observe/metrics.ts";
import type { Port } from "../proxy/handover/handover.ts";
import { collectOwn, instrumentsOf } from "./composeView.ts";
import { metricsPort } from "./restartPorts.ts";

export type FleetViewParts = Pick<CommandParts, "clock" | "letEnd" | "onReloaded">;

export interface FleetView {
  readonly command: Command;
  readonly endpoint: MetricsEndpoint;
  /** Null: nobody is to ask. */
  readonly port: Port | null;
  /** Every worker lets clients in. */
  onServing(): void;
  onDraining(): void;
}

export function createFleetView(crew: Crew, config: Config, parts: FleetViewParts): FleetView {
  const { clock } = parts;
  const gathering = new Gathering({ crew, clock, memory: () => process.memoryUsage() });
  const command = new Command({ ...parts, crew, gathering });
  const state = { isStarted: false, isDraining: false };
  const { registry } = new Metrics();
  if (config.metrics.port !== 0) collectOwn(registry);
  const scraping = new Scraping({
    own: registry,
    instruments: instrumentsOf(config),
    gather: (names) => gathering.gather(names),
    wallMs: () => clock.wallMs(),
  });
  const endpoint = new MetricsEndpoint(scraping, probesOf(gathering, clock, state));
  return {
    command,
    endpoint,
    port: config.metrics.port === 0 ? null : metricsPort(config, endpoint),
    onServing() {
      state.isStarted = true;
    },
    onDraining() {
      state.isDraining = true;
    },
  };
}

interface State {
  readonly isStarted: boolean;
  readonly isDraining: boolean;
}

/** While no worker is there, nobody can be served. */
const probesOf = (gathering: Gathering, clock: Clock, state: State): Probes => ({
  isStarted: () => state.isStarted,
  async readiness() {
    const facts = await gathering.gather(["shards", "isDraining", "workers"]);
    const sources = new MergedSources(facts, () => clock.wallMs());
    const readiness = readinessOf(sources, state.isStarted && facts.workers!.running > 0);
    return state.isDraining ? { ...readiness, ready: false, draining: true } : readiness;
  },
});
