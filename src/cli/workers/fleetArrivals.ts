/**
 * The new parent's part in an online restart: between the old process and its workers.
 *
 * A client goes to the worker that its process id names. While that one is not there, what is said to it waits; a client
 * that a worker had not been given yet when it died stays with the old process.
 */

import { detach } from "../../base/detach.ts";
import type { Crew, Member } from "../../fleet/crew.ts";
import type { StreamHandle } from "../../pool/byteStream.ts";
import { workerOf } from "../../proxy/clientRegistry.ts";
import type { Peer, ToPredecessor, ToSuccessor } from "../../proxy/handover/messages.ts";
import { closeHandle } from "./sockets.ts";
import { FOLLOW, PREDECESSOR_GONE, PREDECESSOR_SAYS, TO_PREDECESSOR } from "./workerTopics.ts";

interface Coming {
  readonly index: number;
  /** Null: the worker has it. */
  handle: StreamHandle | null;
}

interface Waiting {
  readonly message: ToSuccessor;
  readonly handle: StreamHandle | undefined;
}

export class FleetArrivals {
  readonly #crew: Crew;
  readonly #size: number;
  #predecessor: Peer<ToPredecessor> | null = null;
  /** Clients that the old process has not let go of. */
  readonly #coming = new Map<number, Coming>();
  /** Workers that know of the old process. */
  readonly #following = new Set<Member>();
  /** What is to be said to the worker of a number when it is there. */
  readonly #waiting = new Map<number, Waiting[]>();

  constructor(crew: Crew, size: number) {
    this.#crew = crew;
    this.#size = size;
    crew.watch({
      onJoined: ({ channel }) => channel.serve(TO_PREDECESSOR, (message) => this.#onWorkerSays(message)),
      onLeft: (member) => this.#onLeft(member),
    });
  }

  /** Clients may arrive from `peer`, at workers that serve. */
  follow(peer: Peer<ToPredecessor>): void {
    this.#predecessor = peer;
    for (const member of this.#crew.members) this.onServing(member);
  }

  onServing(member: Member): void {
    if (this.#predecessor === null) return;
    this.#following.add(member);
    member.channel.tell(FOLLOW, null);
    const waiting = this.#waiting.get(member.index) ?? [];
    this.#waiting.delete(member.index);
    for (const { message, handle } of waiting) member.channel.tell(PREDECESSOR_SAYS, message, handle);
  }

  onPredecessorSays(message: ToSuccessor, handle: StreamHandle | undefined): void {
    switch (message.kind) {
      case "client": {
        if (handle === undefined) return;
        const index = workerOf(message.state.pid, this.#size);
        this.#coming.set(message.id, { index, handle });
        return this.#tell(index, message, handle);
      }
      case "go":
      case "withdrawn": {
        const coming = this.#coming.get(message.id);
        this.#coming.delete(message.id);
        if (coming !== undefined) this.#tell(coming.index, message);
        return;
      }
      case "cancel":
        return this.#tell(workerOf(message.pid, this.#size), message);
      default:
        return;
    }
  }

  /** With it those clients that it had not let go of are the workers'. */
  onPredecessorGone(): void {
    this.#predecessor = null;
    const handles = [...this.#coming.values()].flatMap(({ handle }) => handle ?? []);
    this.#coming.clear();
    this.#waiting.clear();
    const heard = this.#crew.askOthers(null, PREDECESSOR_GONE, null).catch(() => {});
    detach(
      heard.then(() => handles.forEach(closeHandle)),
      "the workers have their own by then",
    );
  }

  #tell(index: number, message: ToSuccessor, handle?: StreamHandle): void {
    const member = this.#crew.at(index);
    if (member !== undefined && this.#following.has(member)) {
      return member.channel.tell(PREDECESSOR_SAYS, message, handle);
    }
    const waiting = this.#waiting.get(index) ?? [];
    waiting.push({ message, handle });
    this.#waiting.set(index, waiting);
  }

  #onWorkerSays(message: ToPredecessor): void {
    if (message.kind === "taken" || message.kind === "refused") {
      const coming = this.#coming.get(message.id);
      if (coming?.handle) closeHandle(coming.handle);
      if (coming !== undefined) coming.handle = null;
      if (message.kind === "refused") this.#coming.delete(message.id);
    }
    this.#predecessor?.send(message);
  }

  #onLeft(member: Member): void {
    this.#following.delete(member);
    this.#waiting.delete(member.index);
    for (const [id, { index, handle }] of this.#coming) {
      if (index !== member.index) continue;
      this.#coming.delete(id);
      if (handle !== null) closeHandle(handle);
      this.#predecessor?.send({ kind: "refused", id, reason: "its worker has ended" });
    }
  }
}
