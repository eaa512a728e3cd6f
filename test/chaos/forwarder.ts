/**
 * A TCP forwarder in which a test breaks connections: between clients and pgxa, or between pgxa and a shard.
 *
 * Nothing it does is more than a network may do: connections end, bytes of one direction or of both arrive late, or the
 * connection ends before they have arrived.
 */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { Channel } from "./channel.ts";

/** `requests`: what goes to the server does not arrive; `replies`: what comes back does not. */
export type Silence = "requests" | "replies" | "both";
/** What becomes of what was held: it arrives after all, or the connection is reset. */
export type Heal = "deliver" | "reset";
export type Cut = "rst" | "fin";

interface Pair {
  readonly downstream: Socket;
  readonly upstream: Socket;
  readonly requests: Channel;
  readonly replies: Channel;
}

export class Forwarder {
  /** What it connects, for the protocol of faults. */
  readonly name: string;
  readonly #targetPort: number;
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  /** Those that are silent or slow now. */
  readonly #afflicted = new Set<Pair>();
  /** What is done to connections that open now. */
  #onOpen: ((pair: Pair) => void) | null = null;

  private constructor(name: string, targetPort: number) {
    this.name = name;
    this.#targetPort = targetPort;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket));
  }

  static async open(name: string, targetPort: number): Promise<Forwarder> {
    const forwarder = new Forwarder(name, targetPort);
    forwarder.#server.listen(0, "127.0.0.1");
    await once(forwarder.#server, "listening");
    return forwarder;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Ends connections that are open; which of them, `isChosen` says. */
  cut(how: Cut, isChosen: () => boolean): number {
    const chosen = [...this.#pairs].filter(isChosen);
    for (const pair of chosen) end(pair, how);
    return chosen.length;
  }

  /** Holds back bytes of the chosen connections; with `isNewToo`, of those that open meanwhile. */
  silence(which: Silence, isChosen: () => boolean, isNewToo: boolean): void {
    const hold = ({ requests, replies }: Pair): void => {
      if (which !== "replies") requests.hold();
      if (which !== "requests") replies.hold();
    };
    this.#afflict(hold, isChosen, isNewToo);
  }

  /** Delays bytes of the chosen connections in both directions. */
  slow(delayMs: number, isChosen: () => boolean): void {
    const delay = ({ requests, replies }: Pair): void => {
      requests.delay(delayMs);
      replies.delay(delayMs);
    };
    this.#afflict(delay, isChosen, true);
  }

  /** Ends silence and slowness; `how` says what becomes of what was held. */
  heal(how: Heal): void {
    this.#onOpen = null;
    for (const pair of this.#afflicted) {
      if (how === "reset") end(pair, "rst");
      pair.requests.release();
      pair.replies.release();
    }
    this.#afflicted.clear();
  }

  async close(): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.cut("rst", () => true);
    for (const { downstream, upstream } of this.#pairs) {
      downstream.destroy();
      upstream.destroy();
    }
    await closed;
  }

  #afflict(change: (pair: Pair) => void, isChosen: () => boolean, isNewToo: boolean): void {
    const afflict = (pair: Pair): void => {
      this.#afflicted.add(pair);
      change(pair);
    };
    for (const pair of this.#pairs) if (isChosen()) afflict(pair);
    if (isNewToo) this.#onOpen = (pair) => isChosen() && afflict(pair);
  }

  #accept(downstream: Socket): void {
    const upstream = connect({
      host: "127.0.0.1",
      port: this.#targetPort,
      allowHalfOpen: true,
      noDelay: true,
    });
    const pair: Pair = {
      downstream,
      upstream,
      requests: new Channel(downstream, upstream),
      replies: new Channel(upstream, downstream),
    };
    this.#pairs.add(pair);
    for (const socket of [downstream, upstream]) socket.unref(); // none of them keeps the run from ending
    this.#onOpen?.(pair);
    upstream.on("error", () => {
      if (!this.#afflicted.has(pair)) downstream.resetAndDestroy();
    });
    downstream.on("error", () => {}); // its end goes upstream in its turn
    const forget = (): void => {
      if (!upstream.destroyed || !downstream.destroyed) return;
      this.#pairs.delete(pair);
      this.#afflicted.delete(pair);
    };
    upstream.on("close", forget);
    downstream.on("close", forget);
  }
}

function end({ downstream, upstream }: Pair, how: Cut): void {
  for (const socket of [downstream, upstream]) {
    if (how === "rst") socket.resetAndDestroy();
    else socket.end(() => socket.destroy());
  }
}
