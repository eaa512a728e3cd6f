/**
 * The door: accepts connections, sees them through the handshake, keeps the register of clients.
 *
 * Invariant: no more than `clients_max` clients are in, and no more than that many and a fixed number of others
 * are on the way in; whatever comes beyond is closed before it costs anything.
 */
import { createServer, type Server, type Socket } from "node:net";
import { CONSOLE_GREETING } from "../admin/driverProbes.ts";
import { Fault } from "../base/fault.ts";
import type { Log } from "../observe/log.ts";
import { ByteStream } from "../pool/byteStream.ts";
import type { ClientRegistry } from "./clientRegistry.ts";
import type { Gate, Place } from "./gate.ts";
import type { Greetings } from "./greetings.ts";
import { Handshake, type HandshakeHost, type NewClient } from "./handshake.ts";
import type { Session } from "./session.ts";

/** Reads of 8 KiB from clients: statements are short and clients many; a stream that fills it gets a larger one. */
const READ_BUFFER_BYTES = 8 * 1024;
/** How many connections may be on their way in. */
const HANDSHAKES_MAX = 1_000;
const BACKLOG = 1_024;

export interface ListenerOptions {
  readonly gate: Gate;
  readonly registry: ClientRegistry;
  /** Of a database; null is the console. */
  greetings(place: Place): Greetings | null;
  readonly log: Log;
  /** Somebody was not let in, or went away before. */
  noteRefusal(reason: string): void;
  createSession(client: NewClient): Session;
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

  /** Opens the port; resolves with where it is. Rejects with the system's error, for example EADDRINUSE. */
  listen(host: string, port: number): Promise<{ readonly host: string; readonly port: number }> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ host, port, backlog: BACKLOG }, () => {
        this.#server.removeListener("error", reject);
        const address = this.#server.address();
        const bound = typeof address === "object" && address !== null ? address.port : port;
        resolve({ host, port: bound });
      });
    });
  }

  /** How many connections are on their way in. */
  get handshakes(): number {
    return this.#handshakes.size;
  }

  /** Closes the port and ends every connection with 57P01; resolves when all are gone. */
  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
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
    this.#options.registry.find(pid, secret)?.cancel();
  }

  onClient(handshake: Handshake, client: NewClient, rest: Buffer): void {
    this.#handshakes.delete(handshake);
    const session = this.#options.createSession(client);
    this.#options.registry.add(client, session);
    this.#options.log.debug("client.connected", { pid: client.key.pid, user: client.user });
    if (rest.length > 0) session.client.onChunk(rest, rest.length);
    else client.stream.resume();
  }

  onOver(handshake: Handshake, reason: string): void {
    this.#handshakes.delete(handshake);
    this.#options.noteRefusal(reason);
    this.#options.log.debug("client.refused", { reason });
  }

  // --- inside ---

  #accept(socket: Socket): void {
    if (this.#handshakes.size >= HANDSHAKES_MAX) {
      socket.destroy();
      return;
    }
    const stream = ByteStream.accept(socket, NOBODY_YET, READ_BUFFER_BYTES);
    this.#handshakes.add(new Handshake(stream, this));
  }
}

const NOBODY_YET = { onChunk() {}, onDrain() {}, onClosed() {} };
