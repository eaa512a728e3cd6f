/**
 * Cancel requests, and what clients do to each other by their process ids, where the client is another worker's.
 *
 * A process id tells the worker, so one is asked and not all. What is passed on is not passed on again.
 */
import type { Clock } from "../base/environment.ts";
import { topic } from "./channel.ts";
import type { Crew, Membership } from "./crew.ts";
import { waitBounded } from "./waitBounded.ts";

/** How long another worker may take over an answer, in ms. */
const ANSWER_MAX_MS = 2_000;

/** From the network, with the secret that proves the right to it. */
interface CancelRequest {
  readonly worker: number;
  readonly pid: number;
  readonly secret: Uint8Array;
}

/** From another client. */
interface Signal {
  readonly worker: number;
  readonly pid: number;
  readonly kind: "cancel" | "terminate";
}

const CANCEL = topic<CancelRequest>("client.cancel");
/** Answered by whether there is such a client. */
const SIGNAL = topic<Signal, boolean>("client.signal");

/** The parent's part: to the worker whose client it is. */
export function relaySignals(crew: Crew): void {
  crew.watch({
    onJoined({ channel }) {
      channel.serve(CANCEL, (request) => crew.at(request.worker)?.channel.tell(CANCEL, request));
      channel.serve(SIGNAL, (signal) => crew.at(signal.worker)?.channel.ask(SIGNAL, signal) ?? false);
    },
  });
}

/** What a worker does when another passes something on. */
export interface SignalReceiver {
  cancel(pid: number, secret: Buffer): void;
  signal(kind: Signal["kind"], pid: number): boolean;
}

/** A worker's part. */
export class ClientSignals {
  readonly #membership: Membership;
  readonly #clock: Clock;
  readonly #workerOf: (pid: number, size: number) => number;

  /** `workerOf`: which of `size` workers has told a client that process id. */
  constructor(membership: Membership, clock: Clock, workerOf: (pid: number, size: number) => number) {
    this.#membership = membership;
    this.#clock = clock;
    this.#workerOf = workerOf;
  }

  serve(receiver: SignalReceiver): void {
    const { parent } = this.#membership;
    parent.serve(CANCEL, ({ pid, secret }) => receiver.cancel(pid, Buffer.from(secret)));
    parent.serve(SIGNAL, ({ kind, pid }) => receiver.signal(kind, pid));
  }

  /** Passes a cancel request on that is for no client here; false if it is for no other worker's either. */
  cancel(pid: number, secret: Buffer): boolean {
    const worker = this.#otherOf(pid);
    if (worker === null) return false;
    this.#membership.parent.tell(CANCEL, { worker, pid, secret });
    return true;
  }

  /**
   * Does it to another worker's client; resolves with whether there is one that can be reached. Null: it would be no
   * other's.
   */
  signal(kind: Signal["kind"], pid: number): Promise<boolean> | null {
    const worker = this.#otherOf(pid);
    if (worker === null) return null;
    const asked = this.#membership.parent.ask(SIGNAL, { worker, pid, kind });
    return waitBounded(this.#clock, ANSWER_MAX_MS, asked).then((answer) => answer === true);
  }

  #otherOf(pid: number): number | null {
    const worker = this.#workerOf(pid, this.#membership.size);
    return worker === this.#membership.index ? null : worker;
  }
}
