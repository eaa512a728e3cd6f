/** The listening sockets that an online restart hands on, named after where the configuration says they are. */
import type { MetricsEndpoint } from "../admin/metricsEndpoint.ts";
import type { Config } from "../config/config.ts";
import { handleOf, type StreamHandle } from "../pool/byteStream.ts";
import type { Port } from "../proxy/handover/handover.ts";
import type { Listener } from "../proxy/listener.ts";
import { socketPath } from "../proxy/unixSocket.ts";
import type { SharedPort } from "./workers/sockets.ts";

/** What two processes call the clients' port. */
export const clientsPortName = ({ listen: { host, port } }: Config): string => `clients ${host} ${port}`;

/** The ports of a process, and where clients find it. */
export class Ports {
  readonly all: readonly Port[];
  readonly #config: Config;
  readonly #listener: Listener;
  readonly #endpoint: MetricsEndpoint;
  /** Null: no other process listens beside this one. */
  readonly #shared: SharedPort | null;
  #where: { readonly host: string; readonly port: number };

  constructor(config: Config, listener: Listener, endpoint: MetricsEndpoint, shared: SharedPort | null) {
    this.#config = config;
    this.#listener = listener;
    this.#endpoint = endpoint;
    this.#shared = shared;
    this.#where = { host: "", port: shared?.port ?? 0 };
    const hasUnix = config.listen.unixDirectory !== undefined;
    // That of workers is their parent's.
    const hasMetrics = config.metrics.port !== 0 && shared === null;
    this.all = [
      ...(hasMetrics ? [this.#metrics()] : []),
      this.#clients(),
      ...(hasUnix ? [this.#unix()] : []),
    ];
  }

  /**
   * Opens all, or accepts on those of `inherited` that have the names of these; resolves with where they are. Rejects with a
   * Fault or the system's error.
   */
  async open(inherited: ReadonlyMap<string, StreamHandle>) {
    const names = new Set(this.all.map(({ name }) => name));
    for (const port of this.all) await port.open(inherited.get(port.name) ?? null);
    // Whoever connected there would wait for ever.
    for (const [name, handle] of inherited) if (!names.has(name)) (handle as Closable).close();
    const { unixDirectory } = this.#config.listen;
    if (unixDirectory === undefined) return this.#where;
    return { ...this.#where, unixSocket: socketPath(unixDirectory, this.#where.port) };
  }

  #clients(): Port {
    const { host, port } = this.#config.listen;
    const listener = this.#listener;
    const reusesPort = this.#shared?.reusesPort ?? false;
    return {
      name: clientsPortName(this.#config),
      get handle() {
        return listener.handle;
      },
      open: async (handle) => {
        // After a pause it is the port that it was, also if the system chose it.
        this.#where = await listener.listen(host, this.#where.port || port, handle, reusesPort);
      },
      close: () => listener.close(),
    };
  }

  /** Opened after the clients' port, whose number is part of its name. */
  #unix(): Port {
    const { unixDirectory, unixMode, port } = this.#config.listen;
    const listener = this.#listener;
    return {
      name: `unix ${unixDirectory} ${port}`,
      get handle() {
        return listener.unixHandle;
      },
      open: async (handle) =>
        void (await listener.listenUnix(unixDirectory!, this.#where.port, unixMode, handle)),
      close: (isHandedOn) => listener.closeUnix(isHandedOn),
    };
  }

  #metrics(): Port {
    const { host, port } = this.#config.metrics;
    const endpoint = this.#endpoint;
    return {
      name: `metrics ${host} ${port}`,
      get handle() {
        return handleOf(endpoint.server);
      },
      open: async (handle) => void (await endpoint.listen(host, port, handle)),
      close: () => endpoint.close(),
    };
  }
}

interface Closable {
  close(): void;
}
