/** Several workers and their parent in this process, each worker with a port of its own. */
import { type ProxyParts, type RunningProxy, startProxy } from "../../src/cli/compose.ts";
import { type ParentWorld, startParent } from "../../src/cli/composeFleet.ts";
import { Reloading } from "../../src/cli/reloading.ts";
import { systemEnvironment } from "../../src/cli/systemEnvironment.ts";
import type { Config } from "../../src/config/config.ts";
import { PlayedCrew } from "../fleet/playedCrew.ts";

export interface StageWorkers {
  readonly proxies: readonly RunningProxy[];
  readonly crew: PlayedCrew;
  stop(): Promise<void>;
}

export async function startWorkers(
  config: Config,
  size: number,
  parts: Pick<ProxyParts, "log" | "source">,
): Promise<StageWorkers> {
  const crew = new PlayedCrew(size);
  const reloading = new Reloading(parts.source, parts.log, () => {});
  const world: ParentWorld = {
    ...{ environment: systemEnvironment, log: parts.log, reloading, epoch: null },
    letEnd() {},
  };
  const parent = await startParent(crew.crew, { ...config, workers: size }, world);
  const start = ({ member, membership }: (typeof crew.workers)[number]): Promise<RunningProxy> => {
    const { index } = membership;
    const inheritance = {
      ...{ follows: false, epoch: null, logDirectory: "", generation: 0, handles: new Map() },
      ...{ port: 0, reusesPort: false },
      ready: () => crew.crew.prepare(member),
    };
    return startProxy(configOf(config, index), { ...parts, membership }, inheritance);
  };
  const proxies: RunningProxy[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(proxies.map((proxy) => proxy.stop()));
    await parent.stop();
  };
  try {
    for (const worker of crew.workers) proxies.push(await start(worker));
    parent.onServing();
    return { proxies, crew, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** With metrics from the first only. */
function configOf(config: Config, index: number): Config {
  const { metrics } = config;
  return { ...config, metrics: index === 0 ? metrics : { ...metrics, port: 0 } };
}
