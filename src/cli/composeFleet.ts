/**
 * Builds what a parent of workers has, and connects it with them: for `pgxa up`, with `workers` above one.
 *
 * The parent serves no clients. It keeps what there can be only one of, and what one worker is to know of another goes
 * through it. `startParent` is where its parts are made; a worker's parts find their way to it by `ProxyParts.membership`.
 */
import type { Environment } from "../base/environment.ts";
import type { Config } from "../config/config.ts";
import { Crew } from "../fleet/crew.ts";
import { LogTurns } from "../fleet/logTurns.ts";
import { relayCommits } from "../fleet/siblingCommits.ts";
import { createLog, type Log } from "../observe/log.ts";
import type { ConfigSource } from "./reloading.ts";
import { relayResolve } from "./siblings.ts";
import { systemEnvironment } from "./systemEnvironment.ts";
import { choosePort, Sockets } from "./workers/sockets.ts";
import { Workers } from "./workers/workers.ts";

/** What the parent's parts are made with. */
export interface ParentWorld {
  readonly environment: Environment;
  readonly log: Log;
  readonly source: ConfigSource;
}

/** The parent's own parts. */
export interface Parent {
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
export async function startParent(crew: Crew, _config: Config, world: ParentWorld): Promise<Parent> {
  new LogTurns(world.environment.clock).serve(crew);
  relayCommits(crew);
  relayResolve(crew);
  return {
    onServing() {},
    onDraining() {},
    async stop() {},
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
  const parent = await startParent(crew, config, { environment, log, source });
  const sockets = new Sockets(config, shared);
  const { file, raw } = source;
  const workers = new Workers({
    ...{ crew, size, sockets, log, onShutdown },
    clock: environment.clock,
    brief: (index) => ({ index, size, config, file, raw, generation: 0, follows: false, ...shared }),
  });
  const killAll = (): void => workers.kill();
  process.on("exit", killAll);
  try {
    const { host, port } = await workers.start(async () => {});
    parent.onServing();
    return {
      ...{ host, port, log },
      reload: () => workers.reload(),
      drain() {
        parent.onDraining();
        return workers.drain();
      },
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
