/**
 * The parent's end of a load process, and the messages between the two: one order, one reply.
 */
import { once } from "node:events";
import { join } from "node:path";
import type { Belongings, Child } from "./belongings.ts";
import { complaint } from "./complaint.ts";
import type { ConserveOrder, ConserveReport } from "./conserveLoad.ts";
import type { Measurement } from "./stats.ts";
import type { Ending } from "./transferClients.ts";
import type { TransferOrder } from "./transferLoad.ts";

export type LoadOrder =
  | { readonly kind: "open"; readonly transfers: TransferOrder }
  | { readonly kind: "run"; readonly seconds: number; readonly ending: Ending }
  | { readonly kind: "conserve"; readonly order: ConserveOrder };

export type LoadReply =
  | { readonly kind: "opened" }
  | { readonly kind: "measured"; readonly measurement: Measurement }
  | { readonly kind: "conserved"; readonly report: ConserveReport }
  | { readonly kind: "failed"; readonly message: string };

export class LoadProcess {
  readonly #child: Child;

  constructor(belongings: Belongings) {
    this.#child = belongings.spawn(process.execPath, [join(import.meta.dirname, "loadMain.ts")], {
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      serialization: "advanced",
    });
  }

  async open(transfers: TransferOrder): Promise<void> {
    await this.#ask({ kind: "open", transfers });
  }

  async run(seconds: number, ending: Ending = "commit"): Promise<Measurement> {
    const reply = await this.#ask({ kind: "run", seconds, ending });
    if (reply.kind !== "measured") throw new Error(`a load process answered ${reply.kind} to run`);
    return reply.measurement;
  }

  async conserve(order: ConserveOrder): Promise<ConserveReport> {
    const reply = await this.#ask({ kind: "conserve", order });
    if (reply.kind !== "conserved") throw new Error(`a load process answered ${reply.kind} to conserve`);
    return reply.report;
  }

  /** Logs its clients out. */
  stop(): Promise<void> {
    return this.#child.stop();
  }

  async #ask(order: LoadOrder): Promise<LoadReply> {
    const answered = new AbortController();
    const reply = once(this.#child.process, "message", { signal: answered.signal });
    reply.catch(() => {}); // aborted below, when the process ended instead
    this.#child.process.send(order);
    const ended = this.#child.ended().then(() => {
      throw new Error(`a load process ended: ${complaint("it", this.#child.words())}`);
    });
    try {
      const [message] = (await Promise.race([reply, ended])) as [LoadReply];
      if (message.kind === "failed") throw new Error(message.message);
      return message;
    } finally {
      answered.abort();
    }
  }
}
