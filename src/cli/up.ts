/** `pgxa up`: runs the proxy on the user's own shards until it is told to stop. */
import { detach } from "../base/detach.ts";
import { Fault } from "../base/fault.ts";
import type { Config } from "../config/config.ts";
import { type Inheritance, type ProxyParts, startProxy } from "./compose.ts";
import { type RunningFleet, startFleet } from "./composeFleet.ts";
import { loadOrComplain } from "./configFile.ts";
import { readConfigOptions } from "./configOption.ts";
import { collectYoungAlone } from "./garbage.ts";
import type { ConfigSource } from "./reloading.ts";
import { removePidFile, writePidFile } from "./restartPidFile.ts";
import { Predecessor } from "./restartPredecessor.ts";
import { Restarts } from "./restartSuccessor.ts";
import { explainStart } from "./startFailure.ts";
import { StopRequested } from "./stopRequest.ts";
import { workerCount } from "./workers/count.ts";
import { isWorker, runWorker } from "./workers/worker.ts";
import { WorkerFailed } from "./workers/workerProcess.ts";

const HELP = `Usage: pgxa up --config FILE

Runs pgxa with the configuration in FILE until it gets SIGINT or SIGTERM. SIGTERM lets
transactions end first (shutdown.timeout), SIGINT does not. A second signal ends it at
once; what was in doubt is settled at the next start. SIGHUP reads FILE again, SIGUSR2
restarts pgxa without dropping clients: see docs/operations.md.

Options:
  --config FILE, -c FILE  the YAML file; config/pgxa.yaml is an example with every option
  --help, -h              show this help
`;

const SAME_SIGNAL_MS = 500;

type UpParts = Partial<Pick<ProxyParts, "faultPoint" | "handoverPoint">>;
type StartParts = UpParts & { readonly source: ConfigSource; onShutdown(): void };
/** Why a process stops: transactions are to end first, or not; or its successor has all its clients. */
type Stop = "drain" | "now" | "over";

/** Resolves with the exit code: 0 after a stop, 1 if it could not run, 2 for a wrong command line or configuration. */
export async function runUp(args: readonly string[], parts: UpParts = {}): Promise<number> {
  const options = readConfigOptions("up", args, false);
  if (options.kind === "help") {
    console.log(HELP);
    return 0;
  }
  if (options.kind === "wrong") {
    console.error(options.says);
    return 2;
  }
  collectYoungAlone();
  if (isWorker()) return runWorker(parts);
  const stop = signalToStop();
  const restart = new RestartSignal();
  const predecessor = await Predecessor.meet(parts.handoverPoint ?? (() => {}));
  try {
    const loaded = loadOrComplain(options.file);
    if (loaded === null) return 2;
    const { raw, config } = loaded;
    const source = { file: options.file, variables: process.env, raw };
    return await run(config, { ...parts, source }, { stop, restart, predecessor });
  } finally {
    predecessor?.close();
  }
}

interface Turns {
  /** Resolves when the process is to stop. */
  readonly stop: Promise<Stop>;
  readonly restart: RestartSignal;
  readonly predecessor: Predecessor | null;
}

async function run(
  config: Config,
  parts: Omit<StartParts, "onShutdown">,
  { stop, restart, predecessor }: Turns,
): Promise<number> {
  let onShutdown = (): void => {};
  const shutdown = new Promise<Stop>((resolve) => {
    onShutdown = () => resolve("now");
  });
  const proxy = await start(config, { ...parts, onShutdown }, predecessor?.inheritance(stop));
  if (proxy === null) return 1;
  if (config.pidFile !== undefined) writePidFile(config.pidFile);
  predecessor?.serve(proxy.handover);
  const onReload = (): void => detach(proxy.reload().catch(complain), "the log has said why not");
  process.on("SIGHUP", onReload);
  const shards = config.shards.length === 1 ? "1 shard" : `${config.shards.length} shards`;
  console.log(`pgxa is listening on ${proxy.host}:${proxy.port}, database ${config.database}, ${shards}`);
  const ended = new Promise<Stop>((resolve) => {
    void stop.then(resolve);
    void shutdown.then(resolve);
    restart.restarts = new Restarts({
      handover: proxy.handover,
      log: proxy.log,
      startTimeoutMs: config.restart.startTimeoutMs,
      handoverPoint: parts.handoverPoint ?? (() => {}),
      onStop: (drains) => resolve(drains ? "drain" : "now"),
      onOver: () => resolve("over"),
    });
  });
  const { restarts } = restart;
  const how = await ended;
  if (how !== "over") predecessor?.send({ kind: "stopping", drains: how === "drain" });
  await restarts!.giveUp();
  if (how === "drain") await Promise.all([proxy.drain(), predecessor?.gone]);
  await proxy.stop();
  restarts!.close();
  if (config.pidFile !== undefined) removePidFile(config.pidFile);
  return 0;
}

/** Null if it could not start, or was told to stop before; the user knows why. */
async function start(
  config: Config,
  parts: StartParts,
  inheritance: Inheritance | undefined,
): Promise<RunningFleet | null> {
  const workers = workerCount(config);
  try {
    if (workers > 1) return await startFleet(config, workers, parts, inheritance);
    const proxy = await startProxy(config, parts, inheritance ?? null);
    return { ...proxy, reload: () => proxy.operations.reload() };
  } catch (error) {
    if (error instanceof StopRequested) return null;
    console.error(error instanceof WorkerFailed ? error.message : explainStart(error, config.listen));
    return null;
  }
}

/** A reload that was refused is told in the log. */
function complain(error: unknown): void {
  if (!(error instanceof Fault)) throw error;
}

/** SIGUSR2, also while the process starts, when it must not end it. */
class RestartSignal {
  restarts: Restarts | null = null;

  constructor() {
    process.on("SIGUSR2", () => this.restarts?.begin());
  }
}

/**
 * Resolves with the first signal to stop, also with one that comes during the start. A later one ends the process at
 * once; one that comes together with the first is the same Ctrl-C, which reaches a process under npm from the terminal
 * and again from npm.
 */
function signalToStop(): Promise<Stop> {
  return new Promise((resolve) => {
    let firstMs: number | null = null;
    const onSignal = (signal: NodeJS.Signals): void => {
      firstMs ??= performance.now();
      if (performance.now() - firstMs > SAME_SIGNAL_MS) process.exit(130);
      resolve(signal === "SIGTERM" ? "drain" : "now");
    };
    process.on("SIGINT", onSignal);
    process.on("SIGTERM", onSignal);
  });
}
