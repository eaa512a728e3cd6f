/**
 * A parent's part in an online restart, in the place of a lone process's Handover: to the process before or after it, it
 * looks like one. So any of them may have workers or not, and as many as it likes.
 */
import type { Config } from "../../config/config.ts";
import type { Crew, Member } from "../../fleet/crew.ts";
import type { Log } from "../../observe/log.ts";
import type { StreamHandle } from "../../pool/byteStream.ts";
import type { Handover, Port } from "../../proxy/handover/handover.ts";
import type { Peer, ToPredecessor, ToSuccessor } from "../../proxy/handover/messages.ts";
import { FleetArrivals } from "./fleetArrivals.ts";
import { FleetDeparture } from "./fleetDeparture.ts";
import type { NamedHandle, Sockets } from "./sockets.ts";
import type { Workers } from "./workers.ts";
import { HANDLE, LATEST_EPOCH, STAY } from "./workerTopics.ts";

/** What an online restart takes of the process before and after it. */
export type HandoverSide = Pick<
  Handover,
  "leave" | "onSuccessorSays" | "stay" | "follow" | "onPredecessorSays" | "onPredecessorGone" | "portNames"
> & {
  invitation(): Promise<{
    readonly epoch: number | null;
    readonly logDirectory: string;
    readonly generation: number;
    readonly ports: readonly { readonly name: string; readonly handle: StreamHandle | null }[];
  }>;
};

export interface FleetHandoverOptions {
  readonly crew: Crew;
  readonly size: number;
  readonly workers: Workers;
  readonly sockets: Sockets;
  /** The parent's own. */
  readonly ports: readonly Port[];
  readonly config: Config;
  readonly generation: number;
  readonly log: Log;
  /** The new process has the workers' sockets, or some. */
  onLeaving(taken: readonly string[]): void;
}

export class FleetHandover implements HandoverSide {
  readonly #options: FleetHandoverOptions;
  readonly #departure: FleetDeparture;
  readonly #arrivals: FleetArrivals;

  constructor(options: FleetHandoverOptions) {
    this.#options = options;
    this.#departure = new FleetDeparture(options.crew, options.size);
    this.#arrivals = new FleetArrivals(options.crew, options.size);
  }

  // --- as the old process ---

  async invitation() {
    const { crew, config, generation, sockets, ports } = this.#options;
    const answers = await crew.askOthers(null, LATEST_EPOCH, null);
    const epochs = answers.flatMap(({ answer }) => answer ?? []);
    const own: NamedHandle[] = ports.flatMap(({ name, handle }) => (handle === null ? [] : { name, handle }));
    return {
      epoch: epochs.length === 0 ? null : Math.max(...epochs),
      logDirectory: config.transaction.logDirectory,
      generation: generation + 1,
      ports: [...sockets.all, ...own],
    };
  }

  async leave(peer: Peer<ToSuccessor>, movesClients: boolean, taken: readonly string[]): Promise<number> {
    const { workers, sockets, ports, onLeaving } = this.#options;
    workers.endStarting();
    // What is accepted ends by itself.
    for (const port of ports) void port.close(taken.includes(port.name)).catch(() => {});
    sockets.keepOnly(taken);
    onLeaving(taken);
    return this.#departure.leave(peer, movesClients);
  }

  onSuccessorSays(message: ToPredecessor): void {
    this.#departure.onSuccessorSays(message);
  }

  async stay(): Promise<void> {
    const { crew, sockets, workers, ports, log } = this.#options;
    this.#departure.stop();
    for (const member of crew.members) {
      for (const { name, handle } of sockets.of(member.index)) member.channel.tell(HANDLE, { name }, handle);
      member.channel.tell(STAY, null);
    }
    workers.goOn();
    for (const port of ports) {
      if (port.handle !== null) continue;
      await port.open(null).catch((error: Error) => {
        log.error("restart.failed", { reason: `its port is not open again: ${error.message}` });
      });
    }
  }

  // --- as the new process ---

  get portNames(): readonly string[] {
    const { sockets, ports } = this.#options;
    return [...sockets.names, ...ports.map(({ name }) => name)];
  }

  follow(peer: Peer<ToPredecessor>): void {
    this.#arrivals.follow(peer);
  }

  onServing(member: Member): void {
    this.#arrivals.onServing(member);
  }

  onPredecessorSays(message: ToSuccessor, handle: StreamHandle | undefined): void {
    this.#arrivals.onPredecessorSays(message, handle);
  }

  onPredecessorGone(): void {
    this.#arrivals.onPredecessorGone();
  }
}
