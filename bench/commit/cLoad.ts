/** The parent's end of a client written in C (`bench/c/commitClient.c`): one order, one reply. */
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { AccountsByShard } from "../bank.ts";
import type { Belongings, Child } from "../belongings.ts";
import { complaint } from "../complaint.ts";
import type { Endpoint } from "../endpoint.ts";
import type { Measurement } from "../stats.ts";

export type CWay = "sequential" | "parallel" | "anchor" | "plain" | "proxied";

export interface COrder {
  readonly program: string;
  readonly clients: number;
  /** Unique among those of the run. */
  readonly name: string;
  readonly accounts: AccountsByShard;
  /** Every shard, or the one endpoint in front of them. */
  readonly endpoints: readonly Endpoint[];
  /** Where its files go. */
  readonly directory: string;
}

export class CLoad {
  readonly #child: Child;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: Child) {
    this.#child = child;
    this.#lines = createInterface({ input: child.process.stdout! })[Symbol.asyncIterator]();
  }

  /** Resolves when every client is logged in. */
  static async open(order: COrder, belongings: Belongings): Promise<CLoad> {
    const accounts = join(order.directory, `accounts-${order.name}`);
    await writeFile(accounts, order.accounts.map((ids) => `${ids.join(" ")}\n`).join(""));
    const decisions = join(order.directory, `decisions-${order.name}`);
    const servers = order.endpoints.flatMap(({ port, database }) => [String(port), database]);
    const { user } = order.endpoints[0]!;
    const words = [String(order.clients), user, decisions, order.name, accounts, ...servers];
    const child = belongings.spawn(order.program, words, { stdio: ["pipe", "pipe", "pipe"] });
    child.process.stdin!.on("error", () => {}); // it has ended, which its next answer tells
    const load = new CLoad(child);
    await load.#line(); // "ready"
    return load;
  }

  async run(way: CWay, seconds: number): Promise<Measurement> {
    this.#child.process.stdin!.write(`run ${way} ${seconds}\n`);
    const [transactions = 0, elapsedUs = 0, cpuUs = 0] = (await this.#line()).split(" ").map(Number);
    const latenciesMs: number[] = [];
    for (let i = 0; i < transactions; i++) latenciesMs.push(Number(await this.#line()) / 1000);
    return { transactions, elapsedSeconds: elapsedUs / 1e6, latenciesMs, loadCpuUs: cpuUs };
  }

  /** Logs its clients out. */
  stop(): Promise<void> {
    return this.#child.stop();
  }

  async #line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done !== true) return value;
    if (this.#child.process.exitCode === null) await once(this.#child.process, "close");
    throw new Error(`the client in C ended: ${complaint("it", this.#child.words())}`);
  }
}
