/** The listening sockets that an online restart hands on, named after where the configuration says they are. */
import type { MetricsEndpoint } from "../admin/metricsEndpoint.ts";
import type { Config } from "../config/config.ts";
import { handleOf, type StreamHandle } from "../pool/byteStream.ts";
import type { Port } from "../proxy/handover/handover.ts";
import type { Listener } from "../proxy/listener.ts";
import { socketPath } from "../proxy/unixSocket.ts";

/** What two processes call the clients' port. */
export const clientsPortName = ({ listen: { host, port } }: Config): string => `clients ${host} ${port}`;

export const unixPortName = ({ listen: { unixDirectory, port } }: Config): string =>
  `unix ${unixDirectory} ${port}`;

/** How ports are opened. */
export interface Doors {
  /** Listening sockets of another process, by name. */
  readonly handles: ReadonlyMap<string, StreamHandle>;
  /** The clients' port; 0: as the configuration says. */
  readonly port: number;
  /** Whether other processes may listen there, too. */
  readonly reusesPort: boolean;
}

/** Of a process that opens everything itself. */
export const OWN_DOORS: Doors = { handles: new Map(), port: 0, reusesPort: false };

/** The ports of a process, and where clients find it. */
export class Ports {
  readonly all: readonly Port[];
  readonly #config: Config;
  readonly #listener: Listener;
  #where = { host: "", port: 0 };
  #reusesPort = false;

  constructor(config: Config, listener: Listener, endpoint: MetricsEndpoint, isWorker: boolean) {
    this.#config = config;
    this.#listener = listener;
    const hasUnix = config.listen.unixDirectory !== undefined;
    // That of workers is their parent's.
    const hasMetrics = config.metrics.port !== 0 && !isWorker;
    this.all = [
      ...(hasMetrics ? [metricsPort(config, endpoint)] : []),
      this.#clients(),
      ...(hasUnix ? [this.#unix()] : []),
    ];
  }

  /**
   * Opens all, or accepts on those handles that have the names of these; resolves with where they are. Rejects with a
   * Fault or the system's error.
   */
  async open({ handles, port: given, reusesPort }: Doors) {
    this.#where = { host: "", port: given };
    this.#reusesPort = reusesPort;
    const names = new Set(this.all.map(({ name }) => name));
    for (const port of this.all) await port.open(handles.get(port.name) ?? null);
    // Whoever connected there would wait for ever.
    for (const [name, handle] of handles) if (!names.has(name)) (handle as Closable).close();
    const { unixDirectory } = this.#config.listen;
    if (unixDirectory === undefined) return this.#where;
    return { ...this.#where, unixSocket: socketPath(unixDirectory, this.#where.port) };
  }

  #clients(): Port {
    const { host, port } = this.#config.listen;
    const listener = this.#listener;
    return {
      name: clientsPortName(this.#config),
      get handle() {
        return listener.handle;
      },
      open: async (handle) => {
        // After a pause it is the port that it was, also if the system chose it.
        this.#where = await listener.listen(host, this.#where.port || port, handle, this.#reusesPort);
      },
      close: () => listener.close(),
    };
  }

  /** Opened after the clients' port, whose number is part of its name. */
  #unix(): Port {
    const { unixDirectory, unixMode } = this.#config.listen;
    const listener = this.#listener;
    return {
      name: unixPortName(this.#config),
      get handle() {
        return listener.unixHandle;
      },
      open: async (handle) =>
        void (await listener.listenUnix(unixDirectory!, this.#where.port, unixMode, handle)),
      close: (isHandedOn) => listener.closeUnix(isHandedOn),
    };
  }
}

/** Where Prometheus reads. */
export const metricsPort = ({ metrics: { host, port } }: Config, endpoint: MetricsEndpoint): Port => ({
  name: `metrics ${host} ${port}`,
  get handle() {
    return handleOf(endpoint.server);
  },
  open: async (handle) => void (await endpoint.listen(host, port, handle)),
  close: () => endpoint.close(),
});

interface Closable {
  close(): void;
}
