/** `pgxa up`: runs the proxy on the user's own shards until it is told to stop. */
import { detach } from "../base/detach.ts";
import { Fault } from "../base/fault.ts";
import type { Config } from "../config/config.ts";
import { loadRaw } from "../config/load.ts";
import { type ProxyParts, type RunningProxy, startProxy } from "./compose.ts";
import { explain, loadOrComplain } from "./configFile.ts";
import { readConfigOptions } from "./configOption.ts";

const HELP = `Usage: pgxa up --config FILE

Runs pgxa with the configuration in FILE until it gets SIGINT or SIGTERM. SIGTERM lets
transactions end first (shutdown.timeout), SIGINT does not. SIGHUP reads FILE again. A second signal ends it at
once; what was in doubt is settled at the next start.

Options:
  --config FILE, -c FILE  the YAML file; config/pgxa.yaml is an example with every option
  --help, -h              show this help
`;

const SAME_SIGNAL_MS = 500;

/** Resolves with the exit code: 0 after a stop, 1 if it could not run, 2 for a wrong command line or configuration. */
export async function runUp(args: readonly string[]): Promise<number> {
  const options = readConfigOptions("up", args, false);
  if (options.kind === "help") {
    console.log(HELP);
    return 0;
  }
  if (options.kind === "wrong") {
    console.error(options.says);
    return 2;
  }
  const config = loadOrComplain(options.file);
  if (config === null) return 2;
  const stop = signalToStop();
  const proxy = await start(config, {
    source: { file: options.file, variables: process.env, raw: loadRaw(options.file, process.env) },
    onShutdown: stop.now,
  });
  if (proxy === null) return 1;
  const shards = config.shards.length === 1 ? "1 shard" : `${config.shards.length} shards`;
  console.log(`pgxa is listening on ${proxy.host}:${proxy.port}, database ${config.database}, ${shards}`);
  const onReload = (): void => detach(proxy.operations.reload().catch(complain), "the log has said why not");
  process.on("SIGHUP", onReload);
  if ((await stop.signal) === "SIGTERM") await proxy.drain();
  await proxy.stop();
  return 0;
}

async function start(config: Config, parts: Partial<ProxyParts>): Promise<RunningProxy | null> {
  const { host, port } = config.listen;
  try {
    return await startProxy(config, parts);
  } catch (error) {
    if (error instanceof Fault) console.error(explain(error));
    else console.error(explainSystemError(error, host, port));
    return null;
  }
}

function explainSystemError(error: unknown, host: string, port: number): string {
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case "EADDRINUSE":
      return `port ${port} on ${host} is taken by another process.\nStop it, or set listen.port to another port.`;
    case "EACCES":
      return `${message}\nPorts below 1024 and foreign directories need rights that this process does not have.`;
    case "EADDRNOTAVAIL":
      return `${host} is no address of this machine.\nSet listen.host to one of its addresses, 127.0.0.1 or 0.0.0.0.`;
    default:
      return `pgxa could not start: ${message}`;
  }
}

interface StopSignal {
  /** Null: somebody else has seen to it that nobody is left. */
  readonly signal: Promise<NodeJS.Signals | null>;
  now(): void;
}

/** A reload that was refused is told in the log. */
function complain(error: unknown): void {
  if (!(error instanceof Fault)) throw error;
}

/**
 * Resolves with the first signal to stop, also with one that comes during the start. A later one ends the process at
 * once; one that comes together with the first is the same Ctrl-C, which reaches a process under npm from the terminal
 * and again from npm.
 */
function signalToStop(): StopSignal {
  let now = (): void => {};
  const signal = new Promise<NodeJS.Signals | null>((resolve) => {
    now = () => resolve(null);
    let firstMs: number | null = null;
    const onSignal = (signal: NodeJS.Signals): void => {
      firstMs ??= performance.now();
      if (performance.now() - firstMs > SAME_SIGNAL_MS) process.exit(130);
      resolve(signal);
    };
    process.on("SIGINT", onSignal);
    process.on("SIGTERM", onSignal);
  });
  return { signal, now };
}
