/**
 * One process of an online restart: its listening sockets, and the process before and after it.
 *
 *     alone -> inviting -> leaving -> over
 *       ^         |           |
 *       '---------'-----------'   the new process is gone
 *
 * A process may have a predecessor that still has clients and a successor at once, when restarts follow each other fast.
 * It ends when its own clients are gone and its predecessor is, whose late clients go through it to the successor.
 *
 * What happens between two processes goes through messages.ts; who starts processes is `cli/restartSuccessor.ts`.
 */
import type { Environment } from "../../base/environment.ts";
import type { HandoverPointListener } from "../../base/faultPoint.ts";
import type { Config } from "../../config/config.ts";
import type { Log } from "../../observe/log.ts";
import type { StreamHandle } from "../../pool/byteStream.ts";
import type { ClientRegistry } from "../clientRegistry.ts";
import type { NewClient } from "../handshake.ts";
import type { Listener } from "../listener.ts";
import type { Rest } from "../rest.ts";
import type { Session } from "../session.ts";
import { Arrivals } from "./arrivals.ts";
import { Departure } from "./departure.ts";
import type { CancelMessage, Peer, ToPredecessor, ToSuccessor } from "./messages.ts";

/** A listening socket, by a name that both processes know it by; `at` is where the configuration says it is. */
export interface Port {
  readonly name: string;
  readonly handle: StreamHandle | null;
  /** Accepts no more here; what was accepted goes on. `isHandedOn`: another process accepts there. */
  close(isHandedOn: boolean): Promise<void>;
  /** Opens it, again perhaps, or accepts on `handle`, another process's. Rejects with the system's error, or a Fault. */
  open(handle: StreamHandle | null): Promise<void>;
}

export interface HandoverOptions {
  readonly config: Config;
  readonly registry: ClientRegistry;
  readonly rest: Rest;
  readonly listener: Listener;
  readonly ports: readonly Port[];
  createSession(client: NewClient): Session;
  readonly environment: Environment;
  readonly log: Log;
  readonly faultPoint: HandoverPointListener;
  /** Which of the processes that followed each other this is, from 0. */
  readonly generation: number;
  /** The latest epoch of the decision log; null with one shard. */
  latestEpoch(): Promise<number | null>;
  /** The other process is gone: what it was committing may be in doubt. */
  onOtherGone(): void;
}

export class Handover {
  readonly #options: HandoverOptions;
  #predecessor: Peer<ToPredecessor> | null = null;
  #arrivals: Arrivals | null = null;
  #successor: Peer<ToSuccessor> | null = null;
  #departure: Departure | null = null;

  constructor(options: HandoverOptions) {
    this.#options = options;
  }

  // --- as the old process ---

  /** What a new process is told first, and the listening sockets it gets. */
  async invitation() {
    const { generation, ports, latestEpoch, config } = this.#options;
    const open = ports.filter(({ handle }) => handle !== null);
    const { logDirectory } = config.transaction;
    return { epoch: await latestEpoch(), logDirectory, generation: generation + 1, ports: open };
  }

  latestEpoch(): Promise<number | null> {
    return this.#options.latestEpoch();
  }

  /**
   * The new process accepts, on `taken` of the ports: nothing is accepted here any more, and clients go over, unless the new
   * process would not understand what it is told of them. Resolves when none is left, with how many have gone over.
   */
  async leave(peer: Peer<ToSuccessor>, movesClients: boolean, taken: readonly string[]): Promise<number> {
    const { ports, registry, rest, listener, environment, log, faultPoint, config } = this.#options;
    this.#successor = peer;
    // What is accepted ends by itself.
    for (const port of ports) void port.close(taken.includes(port.name)).catch(() => {});
    faultPoint("handover.stopped-accepting");
    this.#departure = new Departure({
      peer,
      movesClients,
      registry,
      rest,
      expectsMore: () => listener.handshakes > 0 || this.#predecessor !== null,
      environment,
      log,
      timeoutMs: config.restart.timeoutMs,
      faultPoint,
    });
    this.#departure.begin();
    const departure = this.#departure;
    await departure.over;
    return departure.moved;
  }

  onSuccessorSays(message: ToPredecessor): void {
    if (message.kind === "taken") this.#departure?.onTaken(message.id);
    else if (message.kind === "refused") this.#departure?.onRefused(message.id, message.reason);
    else if (message.kind === "cancel") this.#cancelFor(message, this.#predecessor);
  }

  /** The new process is gone: this one goes on as it did before, on its ports or on `handles`. */
  async stay(handles: ReadonlyMap<string, StreamHandle> = new Map()): Promise<void> {
    this.#successor = null;
    this.#departure?.stop();
    this.#departure = null;
    this.#options.onOtherGone();
    for (const port of this.#options.ports) {
      if (port.handle !== null) continue;
      await port.open(handles.get(port.name) ?? null).catch((error: Error) => {
        this.#options.log.error("restart.failed", { reason: `its port is not open again: ${error.message}` });
      });
    }
  }

  /** The process stops: nobody comes or goes any more. */
  close(): void {
    this.#arrivals?.close();
    this.#arrivals = null;
    this.#departure?.stop();
    this.#departure = null;
    this.#predecessor = null;
    this.#successor = null;
  }

  // --- as the new process ---

  get ports(): readonly Port[] {
    return this.#options.ports;
  }

  get portNames(): readonly string[] {
    return this.#options.ports.map(({ name }) => name);
  }

  /** Clients may arrive from `peer`. */
  follow(peer: Peer<ToPredecessor>): void {
    this.#predecessor = peer;
    const { gate } = this.#options.listener;
    this.#arrivals = new Arrivals({ ...this.#options, peer, gate });
  }

  onPredecessorSays(message: ToSuccessor, handle: StreamHandle | undefined): void {
    if (message.kind === "client" && handle !== undefined) {
      this.#arrivals?.onClient(message.id, message.state, handle);
    } else if (message.kind === "go") this.#arrivals?.onGo(message.id);
    else if (message.kind === "withdrawn") this.#arrivals?.onWithdrawn(message.id);
    else if (message.kind === "cancel") this.#cancelFor(message, this.#successor);
  }

  onPredecessorGone(): void {
    this.#arrivals?.close();
    this.#arrivals = null;
    this.#predecessor = null;
    this.#options.onOtherGone();
  }

  // --- cancel requests ---

  /** A cancel request for a client that is not here. */
  passCancel(pid: number, secret: Buffer): void {
    const message: CancelMessage = { kind: "cancel", pid, secret: secret.toString("base64") };
    this.#predecessor?.send(message);
    this.#successor?.send(message);
  }

  /** One that came from the process on the other side of `next`. */
  #cancelFor(message: CancelMessage, next: Peer<CancelMessage> | null): void {
    const session = this.#options.registry.find(message.pid, Buffer.from(message.secret, "base64"));
    if (session === null) next?.send(message);
    else session.cancel();
  }
}
