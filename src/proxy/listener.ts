/**
 * The door: accepts connections, sees them through the handshake, keeps the register of clients.
 *
 * Invariant: no more than `clients_max` clients are in or have proved that they may come in, and no more than
 * `handshakes_max` others are on the way; for one more of those the oldest of the greediest gives way.
 */
import { createServer, type Server, type Socket } from "node:net";
import { detach } from "../base/detach.ts";
import { Fault } from "../base/fault.ts";
import type { Config } from "../config/config.ts";
import type { Log } from "../observe/log.ts";
import { ByteStream } from "../pool/byteStream.ts";
import type { ClientLink } from "./clientLink.ts";
import type { ClientRegistry } from "./clientRegistry.ts";
import { CONSOLE_GREETING } from "./consoleSession.ts";
import type { Gate, Place } from "./gate.ts";
import type { Greetings } from "./greetings.ts";
import { Handshake, type HandshakeHost, type NewClient } from "./handshake.ts";
import { HandshakeRoom } from "./handshakeRoom.ts";
import type { Rest } from "./rest.ts";
import type { Session } from "./session.ts";

/** Reads of 8 KiB from clients: statements are short and clients many; a stream that fills it gets a larger one. */
const READ_BUFFER_BYTES = 8 * 1024;
const BACKLOG = 1_024;

export interface ListenerOptions {
  readonly gate: Gate;
  readonly registry: ClientRegistry;
  readonly rest: Rest;
  /** Of a database; null is the console. */
  greetings(place: Place): Greetings | null;
  readonly log: Log;
  createSession(client: NewClient): Session;
}

export class Listener implements HandshakeHost {
  readonly gate: Gate;
  readonly #options: ListenerOptions;
  readonly #server: Server;
  /** Whether new clients should be sent here. */
  isReady = true;
  #isDraining = false;
  readonly #handshakes = new HandshakeRoom<Handshake>();

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

  /**
   * After `delayMs`, ends every client with 57P01 when its transaction is over, or at once if it is in none, and lets
   * nobody else in; resolves when all are gone or `timeoutMs` more are over.
   */
  async drain({ delayMs, timeoutMs }: Config["shutdown"]): Promise<void> {
    const { registry, rest, log } = this.#options;
    const { clock } = this.gate;
    this.isReady = false;
    if (delayMs > 0) await new Promise<void>((resolve) => clock.after(delayMs, resolve));
    this.#isDraining = true;
    log.info("proxy.draining", { clients: registry.size });
    const fault = new Fault("login.shutting_down");
    rest.watch(registry.sessions, (session) => session.terminate(fault));
    await new Promise<void>((resolve) => {
      const timer = clock.after(timeoutMs, resolve);
      const empty = registry.whenEmpty().then(() => {
        timer.cancel();
        resolve();
      });
      detach(empty, "the timer runs besides");
    });
  }

  /** Closes the port and ends every connection with 57P01; resolves when all are gone. */
  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    const fault = new Fault("login.shutting_down");
    for (const handshake of this.#handshakes.guests) handshake.refuse(fault);
    for (const session of [...this.#options.registry.sessions]) session.terminate(fault);
    await this.#options.registry.whenEmpty();
    await closed;
  }

  // --- HandshakeHost ---

  newKey(minor: number) {
    return this.#options.registry.newKey(minor);
  }

  greeting(parameters: NewClient["parameters"], place: NewClient["place"]) {
    if (this.#isDraining) return Promise.reject(new Fault("login.shutting_down"));
    // This one is among those who have proved themselves.
    if (this.#options.registry.size + this.#handshakes.provenCount > this.gate.limits.clientsMax) {
      return Promise.reject(new Fault("login.too_many_clients"));
    }
    return this.#options.greetings(place)?.of(parameters) ?? Promise.resolve(CONSOLE_GREETING);
  }

  onCancel(pid: number, secret: Buffer): void {
    this.#options.registry.find(pid, secret)?.cancel();
  }

  onProven(handshake: Handshake): void {
    this.#handshakes.prove(handshake);
  }

  onClient(handshake: Handshake, client: NewClient, rest: Buffer): void {
    this.#handshakes.leave(handshake);
    const session = this.#options.createSession(client);
    this.#options.registry.add(client.key, session);
    if (this.#isDraining) return session.terminate(new Fault("login.shutting_down"));
    this.#options.log.debug("client.connected", { pid: client.key.pid, user: client.user });
    if (rest.length > 0) session.client.onChunk(rest, rest.length);
    else client.stream.resume();
  }

  onOver(handshake: Handshake, reason: string): void {
    this.#handshakes.leave(handshake);
    this.#options.log.debug("client.refused", { reason });
  }

  // --- inside ---

  #accept(socket: Socket): void {
    const stream = ByteStream.accept(socket, NOBODY_YET, READ_BUFFER_BYTES);
    const link = plainLink(stream.remoteAddress);
    const handshake = new Handshake(stream, link, this);
    const giveWay = (other: Handshake): void => other.refuse(new Fault("login.gave_way"));
    this.#handshakes.enter(handshake, link.remoteAddress, this.gate.limits, giveWay);
  }
}

const plainLink = (remoteAddress: string): ClientLink => ({
  kind: "tcp",
  remoteAddress,
  tls: null,
  peerUser: () => Promise.resolve(null),
});

const NOBODY_YET = { onChunk() {}, onDrain() {}, onClosed() {} };
