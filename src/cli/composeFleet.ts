/**
 * Builds what a parent of workers has, and connects it with them: for `pgxa up`, with `workers` above one.
 *
 * The parent serves no clients. It keeps what there can be only one of, and what one worker is to know of another goes
 * through it. `startParent` is where its parts are made; a worker's parts find their way to it by `ProxyParts.membership`.
 */
import type { Environment } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import type { Config } from "../config/config.ts";
import type { RawConfig } from "../config/reader.ts";
import { Crew } from "../fleet/crew.ts";
import { createLog, type Log } from "../observe/log.ts";
import { createFleetView } from "./composeFleetView.ts";
import { type ConfigSource, Reloading } from "./reloading.ts";
import { systemEnvironment } from "./systemEnvironment.ts";
import { choosePort, Sockets } from "./workers/sockets.ts";
import { Workers } from "./workers/workers.ts";

/** What the parent's parts are made with. */
export interface ParentWorld {
  readonly environment: Environment;
  readonly log: Log;
  readonly source: ConfigSource;
  drain(): Promise<void>;
  onShutdown(): void;
}

/** The parent's own parts. */
export interface Parent {
  /** The configuration that is in force, and how it stands in its file. */
  readonly live: { readonly config: Config; readonly raw: RawConfig };
  /** Has all workers read the configuration again; rejects with a Fault. */
  reload(): Promise<void>;
  /** Every worker lets clients in. */
  onServing(): void;
  /** Clients are to go. */
  onDraining(): void;
  /** Resolves when they are closed; the workers are gone. */
  stop(): Promise<void>;
}

/**
 * Makes the parent's side of whatever the workers have in common, before the first of them is started. Rejects with a Fault
 * or the system's error.
 */
export async function startParent(crew: Crew, config: Config, world: ParentWorld): Promise<Parent> {
  const { log, source, drain, onShutdown } = world;
  const live = { config, raw: source.raw };
  const reloading = new Reloading(source, log, (changed) => {
    live.config = changed;
    log.setLevel(changed.log.level);
  });
  const view = createFleetView(crew, config, {
    clock: world.environment.clock,
    drain,
    onShutdown,
    onReloaded() {
      try {
        reloading.reload();
        live.raw = reloading.raw!;
      } catch (error) {
        if (!(error instanceof Fault)) throw error; // It has changed since, and the log says what is wrong.
      }
    },
  });
  await view.port?.open(null);
  return {
    live,
    reload: async () => void (await view.command.give({ verb: "reload" })),
    onServing: () => view.onServing(),
    onDraining: () => view.onDraining(),
    stop: () => view.endpoint.stop(), // last: a drain is to be watched to its end
  };
}

export interface RunningFleet {
  readonly host: string;
  readonly port: number;
  readonly log: Log;
  reload(): Promise<void>;
  drain(): Promise<void>;
  stop(): Promise<void>;
}

export interface FleetParts {
  readonly source: ConfigSource;
  onShutdown(): void;
}

/** Starts the parent and its workers; rejects with WorkerFailed, a Fault, or the system's error. */
export async function startFleet(
  config: Config,
  size: number,
  { source, onShutdown }: FleetParts,
): Promise<RunningFleet> {
  const log = createLog(config.log.level);
  const environment = systemEnvironment;
  const shared = await choosePort(config.listen);
  const crew = new Crew();
  const drain = (): Promise<void> => {
    parent.onDraining();
    return workers.drain();
  };
  const parent = await startParent(crew, config, { environment, log, source, drain, onShutdown });
  const sockets = new Sockets(config, shared);
  const { file } = source;
  const workers = new Workers({
    ...{ crew, size, sockets, log, onShutdown },
    clock: environment.clock,
    brief: (index) => ({ index, size, ...parent.live, file, generation: 0, follows: false, ...shared }),
  });
  const killAll = (): void => workers.kill();
  process.on("exit", killAll);
  try {
    const { host, port } = await workers.start(async () => {});
    parent.onServing();
    return {
      ...{ host, port, log },
      reload: () => parent.reload(),
      drain,
      async stop() {
        sockets.close();
        await workers.stop();
        process.off("exit", killAll);
        await parent.stop();
      },
    };
  } catch (error) {
    sockets.close();
    await parent.stop();
    throw error;
  }
}
