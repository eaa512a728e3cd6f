/**
 * The old parent's part in an online restart: between its workers and the new process.
 *
 * Each worker lets its clients go as a process of its own does (proxy/handover/departure.ts). Here the numbers of what they
 * say are made different, and a connection is kept open until the other side has it. Of a worker that dies meanwhile the
 * clients that had been told of are the new process's.
 */
import type { Crew, Member } from "../../fleet/crew.ts";
import type { StreamHandle } from "../../pool/byteStream.ts";
import { workerOf } from "../../proxy/clientRegistry.ts";
import type { Peer, ToPredecessor, ToSuccessor } from "../../proxy/handover/messages.ts";
import { closeHandle } from "./sockets.ts";
import { LEAVE, SUCCESSOR_SAYS, TO_SUCCESSOR } from "./workerTopics.ts";

/** More than there can be workers. */
const INDICES = 256;

interface UnderWay {
  readonly member: Member;
  /** Null: the new process has it. */
  handle: StreamHandle | null;
}

export class FleetDeparture {
  readonly #crew: Crew;
  readonly #size: number;
  /** Null: there is no new process. */
  #successor: Peer<ToSuccessor> | null = null;
  /** Clients that have been told of and not let go of, by the number that the new process knows. */
  readonly #underWay = new Map<number, UnderWay>();

  constructor(crew: Crew, size: number) {
    this.#crew = crew;
    this.#size = size;
    crew.watch({
      onJoined: (member) =>
        member.channel.serve(TO_SUCCESSOR, (message, handle) => this.#onWorkerSays(member, message, handle)),
      onLeft: (member) => this.#onLeft(member),
    });
  }

  /** Resolves when no worker has a client any more, with how many have gone over. */
  async leave(successor: Peer<ToSuccessor>, movesClients: boolean): Promise<number> {
    this.#successor = successor;
    const answers = await this.#crew.askOthers(null, LEAVE, { movesClients });
    return answers.reduce((sum, { answer }) => sum + answer, 0);
  }

  onSuccessorSays(message: ToPredecessor): void {
    if (message.kind === "cancel") {
      const member = this.#crew.at(workerOf(message.pid, this.#size));
      return member?.channel.tell(SUCCESSOR_SAYS, message);
    }
    if (message.kind !== "taken" && message.kind !== "refused") return;
    const { id } = message;
    const one = this.#underWay.get(id);
    if (one === undefined) return;
    if (one.handle !== null) closeHandle(one.handle);
    one.handle = null;
    if (message.kind === "refused") this.#underWay.delete(id);
    const isAlive = this.#crew.at(one.member.index) === one.member;
    if (isAlive) one.member.channel.tell(SUCCESSOR_SAYS, { ...message, id: Math.trunc(id / INDICES) });
    else if (message.kind === "taken") this.#letGo(id);
  }

  /** The new process is gone. */
  stop(): void {
    this.#successor = null;
    for (const { handle } of this.#underWay.values()) if (handle !== null) closeHandle(handle);
    this.#underWay.clear();
  }

  #onWorkerSays(member: Member, message: ToSuccessor, handle: StreamHandle | undefined): void {
    const successor = this.#successor;
    if (successor === null) {
      if (handle !== undefined) closeHandle(handle);
      return;
    }
    if (message.kind === "client") {
      if (handle === undefined) return; // closed by the client on the way
      const id = message.id * INDICES + member.index;
      this.#underWay.set(id, { member, handle });
      successor.send({ ...message, id }, handle);
    } else if (message.kind === "go" || message.kind === "withdrawn") {
      const id = message.id * INDICES + member.index;
      this.#underWay.delete(id);
      successor.send({ ...message, id });
    } else if (message.kind === "cancel") successor.send(message);
  }

  #onLeft(member: Member): void {
    for (const [id, one] of this.#underWay) if (one.member === member && one.handle === null) this.#letGo(id);
  }

  /** In the place of a worker that is gone. */
  #letGo(id: number): void {
    this.#underWay.delete(id);
    this.#successor?.send({ kind: "go", id });
  }
}
