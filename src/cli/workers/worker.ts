/**
 * A worker's side of its life: a whole proxy that is told by its parent when to begin and when to end.
 *
 * Signals are for the parent, although a terminal or a supervisor may send them to all; the end of the parent is the end of
 * its workers.
 */
import type { SendHandle } from "node:child_process";
import { Fault } from "../../base/fault.ts";
import { Channel, type Envelope } from "../../fleet/channel.ts";
import { createLog } from "../../observe/log.ts";
import type { StreamHandle } from "../../pool/byteStream.ts";
import { type Inheritance, type ProxyParts, type RunningProxy, startProxy } from "../compose.ts";
import { explainStart } from "../startFailure.ts";
import { StopRequested } from "../stopRequest.ts";
import { joinRestarts } from "./workerHandover.ts";
import { WORKER_VARIABLE } from "./workerProcess.ts";
import {
  type Brief,
  BUILT,
  DRAIN,
  FAILED,
  HANDLE,
  HELLO,
  OPENED,
  SERVING,
  SHUTDOWN,
  STOP,
} from "./workerTopics.ts";

export type WorkerParts = Partial<Pick<ProxyParts, "faultPoint" | "handoverPoint">>;

const NOT_FOR_WORKERS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR2"] as const;

export const isWorker = (): boolean =>
  process.env[WORKER_VARIABLE] !== undefined && process.send !== undefined;

/** Resolves with the exit code when the worker is told to stop, or its parent is gone. */
export async function runWorker(parts: WorkerParts): Promise<number> {
  delete process.env[WORKER_VARIABLE];
  for (const signal of NOT_FOR_WORKERS) process.on(signal, () => {});
  const parent = new Channel((envelope, handle) => {
    // What the parent does not hear any more does not matter.
    if (process.connected) process.send?.(envelope, handle as SendHandle, {}, () => {});
  });
  process.on("message", (message, handle) => parent.receive(message as Envelope, handle as object));
  const stopped = new Promise<void>((resolve) => {
    parent.serve(STOP, () => resolve());
    process.once("disconnect", () => {
      parent.close();
      resolve();
    });
  });
  const handles = new Map<string, StreamHandle>();
  parent.serve(HANDLE, ({ name }, handle) => void handles.set(name, handle!));
  try {
    const proxy = await start(parent, parts, stopped, handles);
    if (proxy === null) return 1;
    parent.serve(DRAIN, () => proxy.drain());
    joinRestarts(parent, proxy.handover, handles);
    for (const { name, handle } of proxy.handover.ports) {
      if (!handles.has(name)) parent.tell(OPENED, { name }, handle ?? undefined);
    }
    handles.clear();
    const { host, port, unixSocket } = proxy;
    parent.tell(SERVING, { host, port, ...(unixSocket === undefined ? {} : { unixSocket }) });
    await stopped;
    if (!process.connected) proxy.handover.disown();
    await proxy.stop();
    return 0;
  } finally {
    if (process.connected) process.disconnect?.();
  }
}

async function start(
  parent: Channel,
  parts: WorkerParts,
  stopped: Promise<void>,
  handles: ReadonlyMap<string, StreamHandle>,
): Promise<RunningProxy | null> {
  let brief: Brief | null = null;
  try {
    brief = await parent.ask(HELLO, null);
    const { index, size, config, file, raw, ...inherited } = brief;
    let port = 0;
    const ready = async (): Promise<void> => {
      const place = await Promise.race([stopped, parent.ask(BUILT, null)]);
      if (place === undefined) throw new StopRequested();
      port = place.port;
    };
    const inheritance: Inheritance = {
      ...inherited,
      handles,
      ready,
      get port() {
        return port;
      },
    };
    const all: Partial<ProxyParts> = {
      ...parts,
      log: createLog(config.log.level, process.stderr, { worker: index }),
      source: { file, variables: process.env, raw },
      membership: { index, size, parent },
      onShutdown: () => parent.tell(SHUTDOWN, null),
    };
    return await startProxy(config, all, inheritance);
  } catch (error) {
    const isWanted =
      !(error instanceof StopRequested) && !(error instanceof Fault && error.id === "fleet.gone");
    if (isWanted) parent.tell(FAILED, { text: explainStart(error, brief?.config.listen) });
    return null;
  }
}
