/**
 * The listening sockets of the workers, of which the parent keeps a copy without accepting.
 *
 * So who connects while a worker is dead waits for the one that follows it, and after an online restart the same sockets
 * go on. Where the system lets several sockets listen on one port (SO_REUSEPORT) each worker has its own; otherwise, and for
 * the Unix socket always, all share the one that the first has opened.
 */
import { createServer } from "node:net";
import type { Config } from "../../config/config.ts";
import type { StreamHandle } from "../../pool/byteStream.ts";
import { clientsPortName } from "../restartPorts.ts";

interface Closable {
  close(): void;
}

export interface SharedPort {
  readonly port: number;
  readonly reusesPort: boolean;
}

/**
 * Sees that nobody listens there, and what the port is if the system chooses it. Rejects with the system's error, for
 * example EADDRINUSE, which a worker would not get from a socket of another pgxa that lets others listen beside it.
 */
export async function choosePort({ host, port }: Config["listen"]): Promise<SharedPort> {
  const chosen = await tryListening(host, port, false);
  try {
    await tryListening(host, chosen, true);
    return { port: chosen, reusesPort: true };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOTSUP") throw error;
    return { port: chosen, reusesPort: false };
  }
}

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

export class Sockets {
  readonly #clients: string;
  readonly #reusesPort: boolean;
  readonly #own = new Map<number, StreamHandle>();
  readonly #shared = new Map<string, StreamHandle>();

  constructor(config: Config, { reusesPort }: SharedPort) {
    this.#clients = clientsPortName(config);
    this.#reusesPort = reusesPort;
  }

  /** Worker `index` has opened it. */
  keep(index: number, name: string, handle: StreamHandle): void {
    const isOwn = this.#reusesPort && name === this.#clients;
    if (isOwn && !this.#own.has(index)) this.#own.set(index, handle);
    else if (!isOwn && !this.#shared.has(name)) this.#shared.set(name, handle);
    else close(handle);
  }

  /** What worker `index` is to accept on; the rest it opens. */
  of(index: number): readonly { readonly name: string; readonly handle: StreamHandle }[] {
    const own = this.#own.get(index);
    const shared = [...this.#shared].map(([name, handle]) => ({ name, handle }));
    return own === undefined ? shared : [{ name: this.#clients, handle: own }, ...shared];
  }

  /** Worker `index` is not there for a while: who connects now is to come to another. */
  release(index: number): void {
    const own = this.#own.get(index);
    if (own !== undefined) close(own);
    this.#own.delete(index);
  }

  close(): void {
    for (const index of [...this.#own.keys()]) this.release(index);
    for (const handle of this.#shared.values()) close(handle);
    this.#shared.clear();
  }
}

const close = (handle: StreamHandle): void => (handle as Closable).close();
