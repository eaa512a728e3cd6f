/**
 * Builds what a parent of workers has, and connects it with them: for `pgxa up`, with `workers` above one.
 *
 * The parent serves no clients. It keeps what there can be only one of, and what one worker is to know of another goes
 * through it. `startParent` is where its parts are made; a worker's parts find their way to it by `ProxyParts.membership`.
 */
import { lstatSync } from "node:fs";
import type { Environment } from "../base/environment.ts";
import type { Config } from "../config/config.ts";
import { relaySignals } from "../fleet/clientSignals.ts";
import { Crew } from "../fleet/crew.ts";
import { DeadlockDesk } from "../fleet/deadlockDesk.ts";
import { LogTurns } from "../fleet/logTurns.ts";
import { QuotaDesk } from "../fleet/quotaDesk.ts";
import { relayCommits } from "../fleet/siblingCommits.ts";
import { createLog, type Log } from "../observe/log.ts";
import type { StreamHandle } from "../pool/byteStream.ts";
import type { Port } from "../proxy/handover/handover.ts";
import { removeSocketFile, type SocketFile } from "../proxy/unixSocket.ts";
import type { Inheritance, Where } from "./compose.ts";
import { createFleetView } from "./composeFleetView.ts";
import { type ConfigSource, Reloading } from "./reloading.ts";
import { unixPortName } from "./restartPorts.ts";
import { relayResolve } from "./siblings.ts";
import { systemEnvironment } from "./systemEnvironment.ts";
import { workerCount } from "./workers/count.ts";
import { FleetHandover, type HandoverSide } from "./workers/fleetHandover.ts";
import { choosePort, closeHandle, Sockets } from "./workers/sockets.ts";
import { Workers } from "./workers/workers.ts";

/** What the parent's parts are made with. */
export interface ParentWorld {
  readonly environment: Environment;
  readonly log: Log;
  /** The configuration that a worker gets that is started from now on, to be changed with those of the others. */
  readonly reloading: Reloading;
  /** The latest epoch of the decision log of the process before this one; null: there is none. */
  readonly epoch: number | null;
  /** From now on a worker that ends is not followed by another, and with the last one pgxa ends. */
  letEnd(): void;
}

/** The parent's own parts. */
export interface Parent {
  /** What it listens on; opened when the workers are about to, and handed on in an online restart. */
  readonly ports: readonly Port[];
  /** Every worker lets clients in. */
  onServing(): void;
  /** Clients are to go. */
  onDraining(): void;
  /** Reads the configuration again, for all. Rejects with a Fault. */
  reload(): Promise<void>;
  /** Resolves when they are closed; the workers are gone. */
  stop(): Promise<void>;
}

/**
 * Makes the parent's side of whatever the workers have in common, before the first of them is started. Rejects with a Fault
 * or the system's error.
 */
export async function startParent(crew: Crew, config: Config, world: ParentWorld): Promise<Parent> {
  const { environment, reloading, letEnd } = world;
  const view = createFleetView(crew, config, {
    clock: environment.clock,
    letEnd,
    onReloaded: () => reloading.reload(),
  });
  new LogTurns(world.environment.clock, world.epoch).serve(crew);
  relayCommits(crew);
  relayResolve(crew);
  relaySignals(crew);
  const quotas = new QuotaDesk(crew, workerCount(config), environment.clock);
  const deadlocks = new DeadlockDesk(crew, environment.clock);
  return {
    ports: view.port === null ? [] : [view.port],
    onServing: () => view.onServing(),
    onDraining: () => view.onDraining(),
    reload: async () => void (await view.command.give({ verb: "reload" })),
    async stop() {
      quotas.stop();
      deadlocks.close();
      await view.endpoint.stop(); // last: a drain is to be watched to its end
    },
  };
}

/** What serves clients: one process, or its workers. */
export interface RunningFleet {
  readonly host: string;
  readonly port: number;
  readonly log: Log;
  readonly handover: HandoverSide;
  reload(): Promise<void>;
  /** As RunningProxy's. */
  drain(): Promise<void>;
  stop(): Promise<void>;
}

export interface FleetParts {
  readonly source: ConfigSource;
  onShutdown(): void;
}

const NOTHING: Pick<Inheritance, "follows" | "epoch" | "logDirectory" | "generation" | "handles"> = {
  follows: false,
  epoch: null,
  logDirectory: "",
  generation: 0,
  handles: new Map(),
};

/** Starts the parent and its workers; rejects with WorkerFailed, a Fault, or the system's error. */
export async function startFleet(
  config: Config,
  size: number,
  { source, onShutdown }: FleetParts,
  inheritance: Inheritance | undefined,
): Promise<RunningFleet> {
  const log = createLog(config.log.level);
  const environment = systemEnvironment;
  const { follows, epoch, logDirectory, generation, handles } = inheritance ?? NOTHING;
  const shared = await choosePort(config, handles);
  const { reusesPort } = shared;
  let live = config;
  const reloading = new Reloading(source, log, (next) => {
    live = next;
    log.setLevel(next.log.level);
  });
  const crew = new Crew();
  const sockets = new Sockets(config, size, shared, handles);
  const workers = new Workers({
    ...{ crew, size, sockets, log, onShutdown },
    clock: environment.clock,
    brief: (index, isFirst) => ({
      ...{ index, size, config: live, file: source.file, raw: reloading.raw ?? source.raw },
      ...{ follows: follows && isFirst, epoch, logDirectory, generation, reusesPort },
    }),
    onServing: (member) => handover.onServing(member),
  });
  const letEnd = (): void => workers.letEnd();
  const parent = await startParent(crew, config, { environment, log, reloading, epoch, letEnd });
  const { ports } = parent;
  let socketFile: SocketFile | null = null;
  const onLeaving = (taken: readonly string[]): void => {
    if (socketFile !== null && !taken.includes(unixPortName(config))) removeSocketFile(socketFile);
    socketFile = null;
  };
  const own = { ports, config, generation, log, onLeaving };
  const handover = new FleetHandover({ crew, size, workers, sockets, ...own });
  const killAll = (): void => workers.kill();
  process.on("exit", killAll);
  const stop = async (): Promise<void> => {
    sockets.close();
    await workers.stop();
    process.off("exit", killAll);
    onLeaving([]);
    await parent.stop();
  };
  try {
    const where = await workers.start(shared.port, async () => {
      await inheritance?.ready();
      await openAll(ports, sockets.names, handles);
    });
    socketFile = fileOf(where);
    parent.onServing();
    const drain = (): Promise<void> => {
      parent.onDraining();
      return workers.drain();
    };
    return { ...where, log, handover, reload: () => parent.reload(), drain, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Opens the parent's own ports, and closes what nobody of this process listens on: who connected there would wait for ever. */
async function openAll(
  ports: readonly Port[],
  others: readonly string[],
  handles: ReadonlyMap<string, StreamHandle>,
): Promise<void> {
  for (const port of ports) await port.open(handles.get(port.name) ?? null);
  const names = new Set([...others, ...ports.map(({ name }) => name)]);
  for (const [name, handle] of handles) if (!names.has(name)) closeHandle(handle);
}

/** The Unix socket's, which no worker removes. */
function fileOf({ unixSocket: path }: Where): SocketFile | null {
  const file = path === undefined ? undefined : lstatSync(path, { throwIfNoEntry: false });
  return file === undefined ? null : { path: path!, inode: file.ino };
}
