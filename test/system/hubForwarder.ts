/**
 * Stands between pgxa and a shard, and holds back what the shard says to the session that listens for all clients, so
 * that a server connection is faster than the hub.
 */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

const HUB = "pgxa notifications";

export class HubForwarder {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** The shard's side of the hub's sessions. */
  readonly #hubs = new Set<Socket>();
  #isHolding = false;

  private constructor(shard: { readonly host: string; readonly port: number }) {
    this.#server = createServer((near) => {
      const far = connect(shard.port, shard.host);
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
      }
      far.on("close", () => this.#hubs.delete(far));
      near.on("data", (chunk: Buffer) => {
        if (chunk.includes(HUB)) this.#hubs.add(far);
        far.write(chunk);
      });
      far.on("data", (chunk: Buffer) => near.write(chunk));
    });
  }

  static async open(shard: { readonly host: string; readonly port: number }): Promise<HubForwarder> {
    const forwarder = new HubForwarder(shard);
    forwarder.#server.listen(0, "127.0.0.1");
    await once(forwarder.#server, "listening");
    return forwarder;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The hub hears nothing until `release`. */
  hold(): void {
    this.#isHolding = true;
    for (const hub of this.#hubs) hub.pause();
  }

  release(): void {
    if (!this.#isHolding) return;
    this.#isHolding = false;
    for (const hub of this.#hubs) hub.resume();
  }

  /** Ends the hub's session, with all that is held back. */
  cut(): void {
    this.#isHolding = false;
    for (const hub of this.#hubs) hub.destroy();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}
