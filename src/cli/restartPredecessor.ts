/**
 * The new process's side of an online restart: what it is told by the old one, and when its turn is.
 *
 * If the old process dies meanwhile, this one goes on with what it has: the listening socket is open here, too, so that
 * whoever connects waits and is not refused.
 */
import type { HandoverPointListener } from "../base/faultPoint.ts";
import type { StreamHandle } from "../pool/byteStream.ts";
import {
  HANDOVER_VERSION,
  type Peer,
  type ToPredecessor,
  type ToSuccessor,
} from "../proxy/handover/messages.ts";
import type { Inheritance } from "./compose.ts";
import { OWN_DOORS } from "./restartPorts.ts";
import { StopRequested } from "./stopRequest.ts";
import type { HandoverSide } from "./workers/fleetHandover.ts";

/** Names the old process to the new one. */
export const PREDECESSOR_VARIABLE = "PGXA_PREDECESSOR";

type Welcome = Extract<ToSuccessor, { kind: "welcome" }>;

export class Predecessor implements Peer<ToPredecessor> {
  /** Resolves when it has ended. */
  readonly gone: Promise<void>;
  readonly #handoverPoint: HandoverPointListener;
  readonly #handles = new Map<string, StreamHandle>();
  #welcome: Welcome | null = null;
  #handover: HandoverSide | null = null;
  #isGone = false;
  #onChange = (): void => {};
  #mayServe = false;

  private constructor(handoverPoint: HandoverPointListener) {
    this.#handoverPoint = handoverPoint;
    process.on("message", (message, handle) =>
      this.#onMessage(message as ToSuccessor, handle as StreamHandle),
    );
    this.gone = new Promise((resolve) => {
      process.once("disconnect", () => {
        this.#isGone = true;
        this.#handover?.onPredecessorGone();
        this.#onChange();
        resolve();
      });
    });
  }

  /** The process that started this one as its successor; null in an ordinary start. */
  static async meet(handoverPoint: HandoverPointListener): Promise<Predecessor | null> {
    const isSuccessor = process.env[PREDECESSOR_VARIABLE] !== undefined && process.send !== undefined;
    delete process.env[PREDECESSOR_VARIABLE];
    if (!isSuccessor) return null;
    const predecessor = new Predecessor(handoverPoint);
    predecessor.send({ kind: "hello", version: HANDOVER_VERSION });
    await predecessor.#until(() => predecessor.#hasAll);
    // If it has died meanwhile, some of its listening sockets may be missing; what there is goes on.
    return predecessor.#welcome === null ? null : predecessor;
  }

  /** What this process gets; `stop` resolves when it is to stop before its turn. */
  inheritance(stop: Promise<unknown>): Inheritance {
    const { epoch, logDirectory, generation } = this.#welcome!;
    let isStopped = false;
    void stop.then(() => {
      isStopped = true;
      this.#onChange();
    });
    const ready = async (): Promise<void> => {
      this.#handoverPoint("arrival.before-ready");
      this.send({ kind: "ready" });
      await this.#until(() => this.#mayServe || isStopped);
      if (isStopped) throw new StopRequested();
      this.#handoverPoint("arrival.before-accepting");
    };
    const handles = this.#handles;
    return { follows: true, epoch, logDirectory, generation, ...OWN_DOORS, handles, ready };
  }

  /** This process accepts connections; from now on clients come. */
  serve(handover: HandoverSide): void {
    this.#handover = handover;
    if (this.#isGone) return;
    handover.follow(this);
    this.send({ kind: "accepting", ports: handover.portNames });
    this.#handoverPoint("arrival.accepting");
  }

  send(message: ToPredecessor): void {
    // What the old process does not hear any more, its end answers.
    if (process.connected) process.send?.(message, () => {});
  }

  close(): void {
    if (process.connected) process.disconnect?.();
  }

  get #hasAll(): boolean {
    return this.#welcome !== null && this.#handles.size === this.#welcome.handles;
  }

  #onMessage(message: ToSuccessor, handle: StreamHandle | undefined): void {
    if (message.kind === "welcome") this.#welcome = message;
    else if (message.kind === "handle" && handle !== undefined) this.#handles.set(message.name, handle);
    else if (message.kind === "takeOver") this.#mayServe = true;
    else this.#handover?.onPredecessorSays(message, handle);
    this.#onChange();
  }

  /** Resolves when `isSo`, or the old process is gone. */
  #until(isSo: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#onChange = () => {
        if (isSo() || this.#isGone) resolve();
      };
      this.#onChange();
    });
  }
}
