/**
 * The listening sockets of the workers, of which the parent keeps a copy without accepting.
 *
 * So who connects while a worker is dead waits for the one that follows it, and after an online restart the same sockets
 * go on. Where the system lets several sockets listen on one port (SO_REUSEPORT) each worker has its own; otherwise, and for
 * the Unix socket always, all share the one that the first has opened. One that a process without workers has opened lets
 * no other listen beside it, and is shared, too.
 */
import { createServer } from "node:net";
import type { Config } from "../../config/config.ts";
import type { StreamHandle } from "../../pool/byteStream.ts";
import { clientsPortName, unixPortName } from "../restartPorts.ts";

export interface NamedHandle {
  readonly name: string;
  readonly handle: StreamHandle;
}

/** Where the workers are to listen; port 0: where their inherited sockets do. */
export interface SharedPort {
  readonly port: number;
  readonly reusesPort: boolean;
}

/**
 * Sees that nobody listens there, and what the port is if the system chooses it. Rejects with the system's error, for
 * example EADDRINUSE, which a worker would not get from a socket of another pgxa that lets others listen beside it.
 */
export async function choosePort(
  config: Config,
  inherited: ReadonlyMap<string, StreamHandle>,
): Promise<SharedPort> {
  const name = clientsPortName(config);
  if (inherited.has(name)) return { port: 0, reusesPort: inherited.has(socketName(name, 1)) };
  const { host } = config.listen;
  const port = await tryListening(host, config.listen.port, false);
  try {
    await tryListening(host, port, true);
    return { port, reusesPort: true };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOTSUP") throw error;
    return { port, reusesPort: false };
  }
}

/** Resolves with the port. */
function tryListening(host: string, port: number, reusePort: boolean): Promise<number> {
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, reusePort }, () => {
      const address = server.address() as { readonly port: number };
      server.close(() => resolve(address.port));
    });
  });
}

/** What two parents call the clients' socket of a worker; the first one's has the name that it has without workers. */
const socketName = (clients: string, index: number): string =>
  index === 0 ? clients : `${clients} #${index}`;

export class Sockets {
  readonly #clients: string;
  readonly #reusesPort: boolean;
  /** Those of all workers, as two parents call them. */
  readonly names: readonly string[];
  readonly #handles = new Map<string, StreamHandle>();

  /** Takes those of `inherited` that the workers are to have. */
  constructor(
    config: Config,
    size: number,
    { reusesPort }: SharedPort,
    inherited: ReadonlyMap<string, StreamHandle>,
  ) {
    this.#clients = clientsPortName(config);
    this.#reusesPort = reusesPort;
    const indices = Array.from({ length: reusesPort ? size : 1 }, (_, index) => index);
    const { unixDirectory } = config.listen;
    this.names = [
      ...indices.map((index) => socketName(this.#clients, index)),
      ...(unixDirectory === undefined ? [] : [unixPortName(config)]),
    ];
    for (const name of this.names) {
      const handle = inherited.get(name);
      if (handle !== undefined) this.#handles.set(name, handle);
    }
  }

  get all(): readonly NamedHandle[] {
    return [...this.#handles].map(([name, handle]) => ({ name, handle }));
  }

  /** Worker `index` has opened what it calls `name`. */
  keep(index: number, name: string, handle: StreamHandle): void {
    const known = this.#nameFor(index, name);
    if (this.#handles.has(known)) closeHandle(handle);
    else this.#handles.set(known, handle);
  }

  /** What worker `index` is to accept on, as it calls it; the rest it opens. */
  of(index: number): readonly NamedHandle[] {
    const own = this.#nameFor(index, this.#clients);
    return this.all.flatMap(({ name, handle }) => {
      if (name === own) return [{ name: this.#clients, handle }];
      return name.startsWith(this.#clients) ? [] : [{ name, handle }];
    });
  }

  /** Worker `index` is not there for a while: who connects now is to come to another. */
  release(index: number): void {
    if (this.#reusesPort) this.#close(this.#nameFor(index, this.#clients));
  }

  /** Nobody accepts any more on any but `taken`. */
  keepOnly(taken: readonly string[]): void {
    for (const name of [...this.#handles.keys()]) if (!taken.includes(name)) this.#close(name);
  }

  close(): void {
    this.keepOnly([]);
  }

  #nameFor(index: number, name: string): string {
    return name === this.#clients && this.#reusesPort ? socketName(name, index) : name;
  }

  #close(name: string): void {
    const handle = this.#handles.get(name);
    this.#handles.delete(name);
    if (handle !== undefined) closeHandle(handle);
  }
}

/** Closes this process's own copy of it. */
export const closeHandle = (handle: StreamHandle): void => (handle as { close(): void }).close();
