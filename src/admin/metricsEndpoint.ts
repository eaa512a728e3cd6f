/**
 * What is asked by HTTP: `/metrics` by Prometheus, `/health`, `/ready` and `/startup` by whoever keeps pgxa running.
 *
 * It is the first to open and the last to close, so that a start and a drain can be watched.
 */
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Scrape } from "./workers/scraping.ts";

const REQUEST_TIMEOUT_MS = 10_000;

export interface ShardReadiness {
  readonly name: string;
  /** `unknown`: nobody watches it. */
  readonly state: "up" | "suspect" | "down" | "unknown";
  readonly reason: string | null;
}

export interface Readiness {
  readonly ready: boolean;
  readonly draining: boolean;
  readonly shards: readonly ShardReadiness[];
}

export interface Probes {
  /** Whether clients have been let in since the start. */
  isStarted(): boolean;
  readiness(): Readiness | Promise<Readiness>;
}

const PATHS = "there are /metrics, /health, /ready and /startup\n";

export class MetricsEndpoint {
  readonly #server: Server;
  readonly #scrape: Scrape;
  readonly #probes: Probes;

  constructor(scrape: Scrape, probes: Probes) {
    this.#scrape = scrape;
    this.#probes = probes;
    this.#server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS }, async (request, response) => {
      const path = request.url?.split("?", 1)[0] ?? "";
      if (request.method !== "GET" && request.method !== "HEAD") response.writeHead(405).end(PATHS);
      else await this.#answer(path, response);
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

  async #answer(path: string, response: ServerResponse): Promise<void> {
    switch (path) {
      case "/metrics": {
        const text = await this.#scrape.metrics();
        response.writeHead(200, { "content-type": this.#scrape.contentType }).end(text);
        return;
      }
      case "/health":
        return say(response, true, { alive: true });
      case "/startup":
        return say(response, this.#probes.isStarted(), { started: this.#probes.isStarted() });
      case "/ready": {
        const readiness = await this.#probes.readiness();
        return say(response, readiness.ready, readiness);
      }
      default:
        response.writeHead(404).end(PATHS);
    }
  }
}

function say(response: ServerResponse, isWell: boolean, what: object): void {
  const headers = { "content-type": "application/json", "cache-control": "no-store" };
  response.writeHead(isWell ? 200 : 503, headers).end(`${JSON.stringify(what)}\n`);
}
