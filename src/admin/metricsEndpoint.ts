/** Where Prometheus reads: `GET /metrics`, and nothing else. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Metrics } from "../observe/metrics.ts";

const REQUEST_TIMEOUT_MS = 10_000;

export class MetricsEndpoint {
  readonly #server: Server;

  constructor(metrics: Metrics) {
    this.#server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS }, async (request, response) => {
      if (request.method !== "GET" || request.url !== "/metrics") {
        response.writeHead(404).end("there is /metrics\n");
        return;
      }
      const text = await metrics.registry.metrics();
      response.writeHead(200, { "content-type": metrics.registry.contentType }).end(text);
    });
  }

  /** The server, whose listening socket can be passed on. */
  get server(): Server {
    return this.#server;
  }

  /** Accepts no more; requests that are here are answered. */
  close(): Promise<void> {
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  /**
   * Opens the port, or accepts on `handle`, a listening socket of another process; resolves with it. Rejects with the
   * system's error, for example EADDRINUSE.
   */
  listen(host: string, port: number, handle: object | null = null): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(handle ?? { host, port }, () => {
        this.#server.removeListener("error", reject);
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }
}
