/**
 * The door: accepts connections, sees them through the handshake, keeps the register of clients.
 *
 * Invariant: no more than `clients_max` clients are in or have proved that they may come in, and no more than
 * `handshakes_max` others are on the way; for one more of those the oldest of the greediest gives way.
 */
import { chmodSync } from "node:fs";
import { createServer, type ListenOptions, type Server, type Socket } from "node:net";
import { Fault } from "../base/fault.ts";
import type { Log } from "../observe/log.ts";
import { ByteStream } from "../pool/byteStream.ts";
import { AcceptedLink } from "./acceptedLink.ts";
import type { ClientRegistry } from "./clientRegistry.ts";
import type { ClientTls } from "./clientTls.ts";
import { CONSOLE_GREETING } from "./consoleSession.ts";
import type { Gate, Place } from "./gate.ts";
import type { Greetings } from "./greetings.ts";
import { Handshake, type HandshakeHost, type NewClient } from "./handshake.ts";
import { HandshakeRoom } from "./handshakeRoom.ts";
import type { PeerUsers } from "./peerUsers.ts";
import type { Session } from "./session.ts";
import { clearSocketPath, socketPath } from "./unixSocket.ts";

/** Reads of 8 KiB from clients: statements are short and clients many; a stream that fills it gets a larger one. */
const READ_BUFFER_BYTES = 8 * 1024;
const BACKLOG = 1_024;

export interface ListenerOptions {
  readonly gate: Gate;
  readonly tls: ClientTls;
  readonly peers: PeerUsers;
  readonly registry: ClientRegistry;
  /** Of a database; null is the console. */
  greetings(place: Place): Greetings | null;
  readonly log: Log;
  createSession(client: NewClient): Session;
}

export class Listener implements HandshakeHost {
  readonly gate: Gate;
  readonly tls: ClientTls;
  readonly #options: ListenerOptions;
  readonly #server: Server;
  readonly #unixServer: Server;
  readonly #handshakes = new HandshakeRoom<Handshake>();

  constructor(options: ListenerOptions) {
    this.gate = options.gate;
    this.tls = options.tls;
    this.#options = options;
    this.#server = createServer({ pauseOnConnect: true }, (socket) => this.#accept(socket, "tcp"));
    this.#unixServer = createServer({ pauseOnConnect: true }, (socket) => this.#accept(socket, "unix"));
  }

  /** Opens the port; resolves with where it is. Rejects with the system's error, for example EADDRINUSE. */
  async listen(host: string, port: number): Promise<{ readonly host: string; readonly port: number }> {
    await open(this.#server, { host, port });
    const address = this.#server.address();
    return { host, port: typeof address === "object" && address !== null ? address.port : port };
  }

  /** Opens the Unix socket of `port` with the mode `mode`; resolves with its path. Rejects like `listen`, or with a Fault. */
  async listenUnix(directory: string, port: number, mode: number): Promise<string> {
    const path = socketPath(directory, port);
    await clearSocketPath(path);
    await open(this.#unixServer, { path });
    chmodSync(path, mode);
    return path;
  }

  /** Closes the port and ends every connection with 57P01; resolves when all are gone. */
  async stop(): Promise<void> {
    const closed = Promise.all([close(this.#server), close(this.#unixServer)]);
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
    this.#options.log.debug("client.connected", { pid: client.key.pid, user: client.user });
    if (rest.length > 0) session.client.onChunk(rest, rest.length);
    else client.stream.resume();
  }

  onOver(handshake: Handshake, reason: string): void {
    this.#handshakes.leave(handshake);
    this.#options.log.debug("client.refused", { reason });
  }

  // --- inside ---

  #accept(socket: Socket, kind: "tcp" | "unix"): void {
    const stream = ByteStream.accept(socket, NOBODY_YET, READ_BUFFER_BYTES);
    const link = new AcceptedLink(kind, stream, this.#options.peers);
    const handshake = new Handshake(stream, link, this);
    const giveWay = (other: Handshake): void => other.refuse(new Fault("login.gave_way"));
    this.#handshakes.enter(handshake, link.remoteAddress, this.gate.limits, giveWay);
  }
}

function open(server: Server, where: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ ...where, backlog: BACKLOG }, () => {
      server.removeListener("error", reject);
      resolve();
    });
  });
}

/** Resolves when it is closed, also if it never was open. The file of a Unix socket goes with it. */
const close = (server: Server): Promise<void> => new Promise((resolve) => server.close(() => resolve()));

const NOBODY_YET = { onChunk() {}, onDrain() {}, onClosed() {} };
