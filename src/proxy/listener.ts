/**
 * The door: accepts connections, sees them through the handshake, keeps the register of clients.
 *
 * Invariant: no more than `clients_max` clients are in or have proved that they may come in, and no more than
 * `handshakes_max` others are on the way; for one more of those the oldest of the greediest gives way.
 */
import { createServer, type ListenOptions, type Server } from "node:net";
import { CONSOLE_GREETING } from "../admin/driverProbes.ts";
import { detach } from "../base/detach.ts";
import { Fault } from "../base/fault.ts";
import type { Config } from "../config/config.ts";
import type { Log } from "../observe/log.ts";
import { takeHandle, takeHandles } from "../pool/accepting.ts";
import { ByteStream, handleOf, type StreamHandle } from "../pool/byteStream.ts";
import { AcceptedLink } from "./acceptedLink.ts";
import type { Credentials } from "./auth/credentials.ts";
import type { ClientIdentity } from "./clientLimits.ts";
import type { ClientRegistry } from "./clientRegistry.ts";
import type { ClientTls } from "./clientTls.ts";
import type { Gate, Place } from "./gate.ts";
import { Greeting } from "./greeting.ts";
import type { Greetings } from "./greetings.ts";
import { Handshake, type HandshakeHost, type NewClient } from "./handshake.ts";
import { HandshakeRoom } from "./handshakeRoom.ts";
import type { PeerUsers } from "./peerUsers.ts";
import type { Rest } from "./rest.ts";
import type { Session } from "./session.ts";
import { StartupPackets } from "./startupPackets.ts";
import {
  adoptSocketFile,
  bindSocketFile,
  isInPlace,
  removeSocketFile,
  type SocketFile,
  socketPath,
} from "./unixSocket.ts";

/** Reads of 8 KiB from clients: statements are short and clients many; a stream that fills it gets a larger one. */
export const CLIENT_READ_BYTES = 8 * 1024;
const BACKLOG = 1_024;

export interface ListenerOptions {
  readonly gate: Gate;
  readonly tls: ClientTls;
  readonly peers: PeerUsers;
  readonly registry: ClientRegistry;
  readonly rest: Rest;
  /** Whether the file of the Unix socket is another process's to remove. */
  readonly leavesSocketFile: boolean;
  /** Of a database; null is the console. */
  greetings(place: Place, credentials: Credentials): Greetings | null;
  readonly log: Log;
  /** Somebody was not let in, or went away before. */
  noteRefusal(reason: string): void;
  createSession(client: NewClient): Session;
  /** A cancel request for a client that is not here. */
  onStrayCancel(pid: number, secret: Buffer): void;
}

export class Listener implements HandshakeHost {
  readonly gate: Gate;
  readonly tls: ClientTls;
  readonly #options: ListenerOptions;
  readonly #server: Server;
  /** Whether new clients should be sent here. */
  isReady = true;
  #isDraining = false;
  readonly #handshakes = new HandshakeRoom<Handshake>();
  readonly #consoleGreeting = new Greeting(CONSOLE_GREETING);
  readonly packets = new StartupPackets();
  readonly #unixServer: Server;
  /** Of the Unix socket; null while there is none, or another process has it. */
  #unixFile: SocketFile | null = null;

  constructor(options: ListenerOptions) {
    this.gate = options.gate;
    this.tls = options.tls;
    this.#options = options;
    this.#server = this.#serverOf("tcp");
    this.#unixServer = this.#serverOf("unix");
  }

  /** The listening socket, to be passed on; null while there is none. */
  get handle(): StreamHandle | null {
    return handleOf(this.#server);
  }

  /** The same of the Unix socket; null also if its file has gone, for then nobody finds it. */
  get unixHandle(): StreamHandle | null {
    return this.#unixFile !== null && isInPlace(this.#unixFile) ? handleOf(this.#unixServer) : null;
  }

  /** Where it listens; 0 while it does not. */
  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  /**
   * Opens the port, or accepts on `handle`, a listening socket of another process; resolves with where it is. Rejects
   * with the system's error, for example EADDRINUSE. `reusePort`: others may listen there, too.
   */
  async listen(
    host: string,
    port: number,
    handle: StreamHandle | null = null,
    reusePort = false,
  ): Promise<{ readonly host: string; readonly port: number }> {
    await open(this.#server, handle ?? { host, port, reusePort });
    return { host, port: this.port };
  }

  /**
   * Opens the Unix socket of `port` with the mode `mode`, or accepts on `handle`, which another process opened; resolves
   * with its path. Rejects like `listen`, or with a Fault.
   */
  async listenUnix(
    directory: string,
    port: number,
    mode: number,
    handle: StreamHandle | null = null,
  ): Promise<string> {
    const path = socketPath(directory, port);
    if (handle === null) {
      this.#unixFile = await bindSocketFile(path, mode, (own) => open(this.#unixServer, { path: own }));
    } else {
      await open(this.#unixServer, handle);
      this.#unixFile = adoptSocketFile(path, mode);
    }
    return path;
  }

  /** Accepts no more at the port; those who are in or on their way in stay. */
  close(): Promise<void> {
    return close(this.#server);
  }

  /** The same of the Unix socket; its file goes with it unless another process accepts there. */
  closeUnix(isHandedOn = false): Promise<void> {
    const isLeft = isHandedOn || this.#options.leavesSocketFile;
    if (this.#unixFile !== null && !isLeft) removeSocketFile(this.#unixFile);
    this.#unixFile = null;
    return close(this.#unixServer);
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

  /** How many connections are on their way in. */
  get handshakes(): number {
    return this.#handshakes.count;
  }

  /** Closes the port and ends every connection with 57P01; resolves when all are gone. */
  async stop(): Promise<void> {
    const closed = Promise.all([this.close(), this.closeUnix()]);
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

  checkRoom(client: ClientIdentity): void {
    const { registry } = this.#options;
    registry.limits.check(client);
    // This one is among those who have proved themselves; the console has places of its own.
    const isFull = registry.size + this.#handshakes.provenCount > this.gate.limits.clientsMax;
    if (isFull && client.database !== null) throw new Fault("login.too_many_clients");
  }

  findRoom(client: ClientIdentity): Promise<void> | null {
    this.checkRoom(client);
    return this.#options.registry.limits.ask(client);
  }

  greeting(parameters: NewClient["parameters"], place: NewClient["place"], credentials: Credentials) {
    if (this.#isDraining) throw new Fault("login.shutting_down");
    return this.#options.greetings(place, credentials)?.of(parameters) ?? this.#consoleGreeting;
  }

  onCancel(pid: number, secret: Buffer): void {
    const session = this.#options.registry.find(pid, secret);
    if (session === null) this.#options.onStrayCancel(pid, secret);
    else session.cancel();
  }

  onProven(handshake: Handshake): void {
    this.#handshakes.prove(handshake);
  }

  onClient(handshake: Handshake, client: NewClient, rest: Buffer): void {
    this.#handshakes.leave(handshake);
    const session = this.#options.createSession(client);
    this.#options.registry.add(client, session);
    if (this.#isDraining) return session.terminate(new Fault("login.shutting_down"));
    this.#options.log.debug("client.connected", { pid: client.key.pid, user: client.user });
    if (rest.length > 0) session.client.onChunk(rest, rest.length);
    else client.stream.resume();
  }

  onOver(handshake: Handshake, reason: string): void {
    this.#handshakes.leave(handshake);
    this.#options.noteRefusal(reason);
    this.#options.log.debug("client.refused", { reason });
  }

  // --- inside ---

  #serverOf(kind: "tcp" | "unix"): Server {
    const server = createServer({ pauseOnConnect: true }, (socket) => this.#accept(takeHandle(socket), kind));
    return server.on("listening", () => takeHandles(server, (handle) => this.#accept(handle, kind)));
  }

  #accept(handle: StreamHandle | null, kind: "tcp" | "unix"): void {
    if (handle === null) return; // gone already
    const stream = ByteStream.accept(handle, NOBODY_YET, CLIENT_READ_BYTES);
    const link = new AcceptedLink(kind, stream, this.#options.peers);
    const handshake = new Handshake(stream, link, this);
    const giveWay = (other: Handshake): void => other.refuse(new Fault("login.gave_way"));
    this.#handshakes.enter(handshake, link.remoteAddress, this.gate.limits, giveWay);
  }
}

function open(server: Server, where: ListenOptions | StreamHandle): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(where, BACKLOG, () => {
      server.removeListener("error", reject);
      resolve();
    });
  });
}

/** Resolves when it is closed, also if it never was open. */
const close = (server: Server): Promise<void> => new Promise((resolve) => server.close(() => resolve()));

const NOBODY_YET = { onChunk() {}, onDrain() {}, onClosed() {} };
