/**
 * The door: accepts connections, sees them through the handshake, keeps the register of clients.
 *
 * Invariant: no more than `clients_max` clients are in, and no more than that many and a fixed number of others
 * are on the way in; whatever comes beyond is closed before it costs anything.
 */
import { createServer, type Server, type Socket } from "node:net";
import { Fault } from "../base/fault.ts";
import type { Log } from "../observe/log.ts";
import { ByteStream, handleOf, type StreamHandle } from "../pool/byteStream.ts";
import type { ClientRegistry } from "./clientRegistry.ts";
import { CONSOLE_GREETING } from "./consoleSession.ts";
import type { Gate, Place } from "./gate.ts";
import type { Greetings } from "./greetings.ts";
import { Handshake, type HandshakeHost, type NewClient } from "./handshake.ts";
import type { Session } from "./session.ts";

/** Reads of 8 KiB from clients: statements are short and clients many; a stream that fills it gets a larger one. */
export const CLIENT_READ_BYTES = 8 * 1024;
/** How many connections may be on their way in. */
const HANDSHAKES_MAX = 1_000;
const BACKLOG = 1_024;

export interface ListenerOptions {
  readonly gate: Gate;
  readonly registry: ClientRegistry;
  /** Of a database; null is the console. */
  greetings(place: Place): Greetings | null;
  readonly log: Log;
  createSession(client: NewClient): Session;
  /** A cancel request for a client that is not here. */
  onStrayCancel(pid: number, secret: Buffer): void;
}

export class Listener implements HandshakeHost {
  readonly gate: Gate;
  readonly #options: ListenerOptions;
  readonly #server: Server;
  readonly #handshakes = new Set<Handshake>();

  constructor(options: ListenerOptions) {
    this.gate = options.gate;
    this.#options = options;
    this.#server = createServer({ pauseOnConnect: true }, (socket) => this.#accept(socket));
  }

  /** The listening socket, to be passed on; null while there is none. */
  get handle(): StreamHandle | null {
    return handleOf(this.#server);
  }

  /** Where it listens; 0 while it does not. */
  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  /** How many connections are on their way in. */
  get handshakes(): number {
    return this.#handshakes.size;
  }

  /** Accepts no more; those who are in or on their way in stay. */
  close(): Promise<void> {
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  /**
   * Opens the port, or accepts on `handle`, a listening socket of another process; resolves with where it is. Rejects
   * with the system's error, for example EADDRINUSE.
   */
  listen(
    host: string,
    port: number,
    handle: StreamHandle | null = null,
  ): Promise<{ readonly host: string; readonly port: number }> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(handle ?? { host, port, backlog: BACKLOG }, () => {
        this.#server.removeListener("error", reject);
        resolve({ host, port: this.port });
      });
    });
  }

  /** Closes the port and ends every connection with 57P01; resolves when all are gone. */
  async stop(): Promise<void> {
    const closed = this.close();
    const fault = new Fault("login.shutting_down");
    for (const handshake of [...this.#handshakes]) handshake.refuse(fault);
    for (const session of [...this.#options.registry.sessions]) session.terminate(fault);
    await this.#options.registry.whenEmpty();
    await closed;
  }

  // --- HandshakeHost ---

  newKey(minor: number) {
    return this.#options.registry.newKey(minor);
  }

  greeting(parameters: NewClient["parameters"], place: NewClient["place"]) {
    if (this.#options.registry.size >= this.gate.limits.clientsMax) {
      return Promise.reject(new Fault("login.too_many_clients"));
    }
    return this.#options.greetings(place)?.of(parameters) ?? Promise.resolve(CONSOLE_GREETING);
  }

  onCancel(pid: number, secret: Buffer): void {
    const session = this.#options.registry.find(pid, secret);
    if (session === null) this.#options.onStrayCancel(pid, secret);
    else session.cancel();
  }

  onClient(handshake: Handshake, client: NewClient, rest: Buffer): void {
    this.#handshakes.delete(handshake);
    const session = this.#options.createSession(client);
    this.#options.registry.add(client.key, session, client.parameters);
    this.#options.log.debug("client.connected", { pid: client.key.pid, user: client.user });
    if (rest.length > 0) session.client.onChunk(rest, rest.length);
    else client.stream.resume();
  }

  onOver(handshake: Handshake, reason: string): void {
    this.#handshakes.delete(handshake);
    this.#options.log.debug("client.refused", { reason });
  }

  // --- inside ---

  #accept(socket: Socket): void {
    if (this.#handshakes.size >= HANDSHAKES_MAX) {
      socket.destroy();
      return;
    }
    const stream = ByteStream.accept(socket, NOBODY_YET, CLIENT_READ_BYTES);
    this.#handshakes.add(new Handshake(stream, this));
  }
}

const NOBODY_YET = { onChunk() {}, onDrain() {}, onClosed() {} };
